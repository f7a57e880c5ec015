"""Whole columns as the offline driver takes them: times and amounts as int64, names as codes.

Canonical columns: transaction_id, event_ms, received_ms (when it arrived; left out: as it happened), amount_minor,
`entity.<kind>`, `feature.<name>`, place.merchant_lon, place.merchant_lat, place.home_lon, place.home_lat. Labels:
transaction_id or row (its place among the transactions), labelled_ms, and value (fraud, genuine, inconclusive) or
label (1, 0, null). A pyarrow table or a mapping of arrays, numpy or pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.features.inputs import Event, LabelEvent
from services.features.memory import AMOUNT_MAX
from services.features.plan import Plan

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Source = Any  # pa.Table | Mapping[str, array]
_LOCATION = (("place.merchant_lon", "place.merchant_lat"), ("place.home_lon", "place.home_lat"))


@dataclass(slots=True)
class Names:
    """A kind's names: `code` per row, -1 where absent, and the `words` that codes stand for."""

    code: NDArray[np.int32]
    words: pa.Array


@dataclass(slots=True)
class Transactions:
    """In the order of arrival; `given` is the place of each among the rows as they were given."""

    given: Ints
    at: Ints
    arrival: Ints
    amount: Ints
    names: list[Names]
    numbers: list[Floats]
    place: tuple[Floats, Floats] | None
    home: tuple[Floats, Floats] | None

    def __len__(self) -> int:
        return len(self.at)

    def event(self, row: int, *, coded: bool = False) -> Event:
        """`coded`: with codes in place of names, which serves as well where names are only compared."""

        def point(columns: tuple[Floats, Floats] | None) -> tuple[float, float] | None:
            if columns is None or np.isnan(columns[0][row]) or np.isnan(columns[1][row]):
                return None
            return float(columns[0][row]), float(columns[1][row])

        return Event(
            str(row),
            int(self.at[row]),
            int(self.amount[row]),
            tuple(self._name(n, row, coded) for n in self.names),
            tuple(float(column[row]) for column in self.numbers),
            point(self.place),
            point(self.home),
        )

    @staticmethod
    def _name(names: Names, row: int, coded: bool) -> Any:
        code = int(names.code[row])
        return None if code < 0 else code if coded else names.words[code].as_py()


@dataclass(slots=True)
class Labels:
    """In the order in which they became known; `row` is the place of the transaction among `Transactions`."""

    row: Ints
    fraud: NDArray[np.bool_]
    known: Ints

    def __len__(self) -> int:
        return len(self.row)

    def event(self, place: int, transactions: Transactions) -> LabelEvent:
        event = transactions.event(int(self.row[place]))
        value = "fraud" if self.fraud[place] else "genuine"
        known = int(self.known[place])
        return LabelEvent(event.transaction_id, event.names, event.at_ms, event.amount_minor, value, known)


def read_transactions(plan: Plan, source: Source, each: Callable[..., Iterable[Any]] = map) -> Transactions:
    """KeyError when a column of the plan is missing. `each`: a map, which may be a pool's."""
    at = _ints(source["event_ms"])
    arrival = _ints(source["received_ms"]) if _has(source, "received_ms") else at
    ordered = bool((arrival[1:] >= arrival[:-1]).all())
    order = None if ordered else np.argsort(arrival, kind="stable")

    def turned(column: Any) -> Any:
        return column if order is None else column[order]

    def point(columns: tuple[str, str]) -> tuple[Floats, Floats]:
        return turned(_floats(source[columns[0]])), turned(_floats(source[columns[1]]))

    names = list(each(_names, [source[kind.column] for kind in plan.kinds]))
    return Transactions(
        np.arange(len(at)) if order is None else order,
        turned(at),
        turned(arrival),
        turned(_ints(source["amount_minor"])),
        [Names(turned(found.code), found.words) for found in names],
        [turned(_floats(source[number.column])) for number in plan.numbers],
        point(_LOCATION[0]) if plan.places else None,
        point(_LOCATION[1]) if plan.homes else None,
    )


def read_labels(source: Source | None, transactions: Transactions, ids: Any) -> Labels:
    """`ids`: the transaction ids as they were given. Labels on transactions that are not there are left out."""
    if source is None or not len(source["labelled_ms"]):
        return Labels(np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.int64))
    if _has(source, "row"):
        row = _ints(source["row"])
    else:
        row = _ints(pc.fill_null(pc.index_in(_arrow(source["transaction_id"]), _arrow(ids)), -1))
    if _has(source, "value"):
        value = _arrow(source["value"])
        fraud, kept = pc.equal(value, "fraud").to_numpy(zero_copy_only=False), np.ones(len(row), np.bool_)
    else:
        value = pc.fill_null(_arrow(source["label"]).cast(pa.int8()), -1).to_numpy(zero_copy_only=False)
        fraud, kept = value == 1, value >= 0
    known, there = _known(source["labelled_ms"])
    kept &= (row >= 0) & there
    place = np.empty(len(transactions), np.int64)
    place[transactions.given] = np.arange(len(transactions))
    row, fraud, known = place[row[kept]], fraud[kept].astype(np.bool_), known[kept]
    order = np.argsort(known, kind="stable")
    return Labels(row[order], fraud[order], known[order])


def _known(column: Any) -> tuple[Ints, NDArray[np.bool_]]:
    array = _arrow(column)
    there = array.is_valid().to_numpy(zero_copy_only=False)
    return pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), there


def _has(source: Source, name: str) -> bool:
    return name in (source.column_names if isinstance(source, pa.Table) else source)


def _arrow(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if isinstance(column, pa.Array) else pa.array(column)


def _ints(column: Any) -> Ints:
    if isinstance(column, np.ndarray):
        return column.astype(np.int64, copy=False)
    return np.asarray(_arrow(column).cast(pa.int64()).to_numpy(zero_copy_only=False))


def _floats(column: Any) -> Floats:
    """nan where there is nothing; flags are 0 and 1."""
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.astype(np.float64, copy=False)
    array = _arrow(column)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _names(column: Any) -> Names:
    array = _arrow(column)
    if not pa.types.is_string(array.type) and not pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    code = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return Names(code, array.dictionary)


def clipped(amount: Ints) -> Ints:
    return np.minimum(amount, AMOUNT_MAX)
