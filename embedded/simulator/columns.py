"""Transactions as columns: what the behaviours produce, the fraud scenarios alter, and documents are built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

POS, ECOM, ATM, MOTO = 0, 1, 2, 3
CHANNELS = ("pos", "ecom", "atm", "moto")
CHIP, CONTACTLESS, SWIPE, KEYED, STORED = 0, 1, 2, 3, 4
ENTRY_MODES = ("chip", "contactless", "swipe", "keyed", "stored")


class Scenario(IntEnum):
    """Why a transaction is what it is: the ground truth, known to the simulator alone."""

    GENUINE = 0
    OVER_220 = 1
    COMPROMISED_TERMINAL = 2
    COMPROMISED_CUSTOMER = 3
    CARD_TESTING = 4
    ACCOUNT_TAKEOVER = 5
    RING = 6


@dataclass(slots=True)
class Columns:
    """Rows in no particular order unless said. `time_ms` is Unix time (UTC, ms), `amount` minor units, `device` -1
    where no device takes part; `address` numbers the network address the device used."""

    time_ms: NDArray[np.int64]
    customer: NDArray[np.int32]
    terminal: NDArray[np.int32]
    channel: NDArray[np.int8]
    entry: NDArray[np.int8]
    amount: NDArray[np.int64]
    device: NDArray[np.int32]
    address: NDArray[np.int64]
    scenario: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Columns:
        return Columns(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def concat(parts: Sequence[Columns]) -> Columns:
        return Columns(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Columns)))
