"""How the truth becomes known, late and not always.

Of the frauds, a third are reported by the customer within 1-10 days, most of the rest come back as a chargeback after
20-90 days, and some never. A few honest web purchases are charged back too ("friendly fraud"): the label says fraud,
and is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedded.simulator.columns import DAY_MS, ECOM, Columns, Scenario

CUSTOMER_SHARE = 0.35
CHARGEBACK_SHARE = 0.54
FRIENDLY_SHARE = 0.0014
SOURCES = ("customer", "chargeback")


@dataclass(frozen=True, slots=True)
class Reports:
    """Columns, in order of `at_ms`: the row reported, when the report arrives, and 0 (customer) or 1 (chargeback)."""

    row: NDArray[np.intp]
    at_ms: NDArray[np.int64]
    source: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.row)


def reports(rng: np.random.Generator, rows: Columns) -> Reports:
    """Every report there will ever be about `rows`, whether due yet or not; at most one a row."""
    count = len(rows)
    u = rng.random(count)
    fraud = rows.scenario != Scenario.GENUINE
    by_customer = fraud & (u < CUSTOMER_SHARE)
    charged_back = fraud & ~by_customer & (u < CUSTOMER_SHARE + CHARGEBACK_SHARE)
    charged_back |= ~fraud & (rows.channel == ECOM) & (u < FRIENDLY_SHARE)
    picked = np.flatnonzero(by_customer | charged_back)
    source = np.where(by_customer[picked], 0, 1).astype(np.int8)
    delay = np.where(source == 0, rng.integers(DAY_MS, 10 * DAY_MS, len(picked)), _chargeback_delays(rng, len(picked)))
    at = rows.time_ms[picked] + delay
    order = np.argsort(at, kind="stable")
    return Reports(picked[order], at[order], source[order])


def _chargeback_delays(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """20-90 days, most after a month or so (a beta distribution with mean 0.36 of the range)."""
    return (DAY_MS * (20 + 70 * rng.beta(1.8, 3.2, count))).astype(np.int64)
