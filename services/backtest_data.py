"""What is walked through: a portfolio of transactions with their labels, and the features of each as of its moment.

Rows come in the canonical columns of `services.mapped_file` (docs/contracts.md): transaction_id, event_ms,
amount_minor, currency, entity.<kind>, place.*, feature.*, label (1, 0, null), labelled_ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.domain.mapping_parts import Mapping
from services.errors import InvalidData

DAY_MS = 86_400_000
UNKNOWN = -1


class Engine(Protocol):
    """The feature engine as a backtest uses it."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def version(self) -> str: ...

    def matrix(self, table: pa.Table, labels: NDArray[np.int8], known_ms: NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, f] float32, nan for missing: each row's features as they were at its moment. `table` in the order of
        Portfolio; a label (1 or 0; UNKNOWN never) counts from `known_ms` on."""
        ...


@dataclass(frozen=True)
class Portfolio:
    """Rows by (event_ms, transaction_id). `labels` [n] int8: 1 fraud, 0 genuine, UNKNOWN. `cards` [n] codes of the
    payer, `days` [n] since 1970 (UTC), `amounts` [n] minor units, of one currency."""

    table: pa.Table
    labels: NDArray[np.int8]
    mapping: Mapping | None = None
    payer: str = "entity.customer"
    times: NDArray[np.int64] = field(init=False)
    days: NDArray[np.int64] = field(init=False)
    cards: NDArray[np.int64] = field(init=False)
    amounts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("times", _numbers(self.table, "event_ms"))
        put("days", self.times // DAY_MS)
        put("amounts", _numbers(self.table, "amount_minor"))
        put("cards", codes(self.table.column(self.payer)))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def before(self, moment_ms: int) -> Portfolio:
        """The rows before a moment, as if nothing had been recorded since."""
        count = int(np.searchsorted(self.times, moment_ms, side="left"))
        return replace(self, table=self.table.slice(0, count), labels=self.labels[:count])

    def since(self, moment_ms: int) -> Portfolio:
        start = int(np.searchsorted(self.times, moment_ms, side="left"))
        return replace(self, table=self.table.slice(start), labels=self.labels[start:])

    def labelled(self, labels: NDArray[np.int8]) -> Portfolio:
        """The same transactions with other labels."""
        return replace(self, labels=labels)


def portfolio(table: pa.Table, mapping: Mapping | None) -> Portfolio:
    """Rows in canonical columns, in any order. InvalidData where nothing can be tested with them."""
    if not table.num_rows:
        raise InvalidData("There are no transactions.")
    if "label" not in table.column_names or table.column("label").null_count == table.num_rows:
        raise InvalidData("No transaction has a label: say in the mapping ([label]) which column says fraud.")
    currencies = pc.unique(table.column("currency")).drop_null().to_pylist()
    if len(currencies) > 1:
        named = ", ".join(sorted(currencies)[:5])
        raise InvalidData(f"The transactions are in {len(currencies)} currencies ({named}); amounts need one.")
    payer = f"entity.{next(iter(mapping.entities))}" if mapping else "entity.customer"
    if table.column(payer).null_count:
        raise InvalidData(f"{table.column(payer).null_count:,} transactions do not say who pays.")
    table = table.sort_by([("event_ms", "ascending"), ("transaction_id", "ascending")])
    labels = pc.fill_null(table.column("label"), UNKNOWN).to_numpy().astype(np.int8)
    if not (labels == 1).any():
        raise InvalidData("No transaction is labelled fraud: see which values mean fraud in the mapping ([label]).")
    return Portfolio(table, labels, mapping, payer)


def known_moments(data: Portfolio, label_days: float) -> NDArray[np.int64]:
    """[n] when each row's label becomes known to the features: `label_days` after the transaction."""
    return data.times + round(label_days * DAY_MS)


def codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Whole numbers that are equal where the texts are; nulls are -1."""
    encoded = (
        column.combine_chunks().dictionary_encode() if column.num_chunks != 1 else column.chunk(0).dictionary_encode()
    )
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return np.asarray(pc.fill_null(encoded.indices, -1)).astype(np.int64)


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    numbers: NDArray[Any] = table.column(name).to_numpy()
    return numbers
