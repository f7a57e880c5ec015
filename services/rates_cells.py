"""The part of the rollup that charts were asked for, in memory: read once, again only for days that changed.

A chart by `category` with a filter on `channel` needs sums by these two and nothing else: such a set of sums is a view.
Days are read when a chart first covers them; views not used for long make room when LIMIT_BYTES are reached. A small
rollup needs one view only: its cells, from which any chart can be made.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa

from services import lake_queries
from services.domain import dimensions
from services.domain.dimensions import Dimension
from services.domain.local_time import DAY_SECONDS, EPOCH, offsets
from services.lake import Lake, StoredPartition
from services.lake_engine import Engine
from services.lake_queries import LakeQuery
from services.lake_schema import CUBOID_DIMENSIONS, CUBOID_ROWS, RATES_TABLE

LIMIT_BYTES = 256 * 2**20
# Up to so many rows a chart is made from cells in time, whatever it asks for.
SMALL_ROWS = 400_000
# Rows of the lake read at once.
_BATCH_ROWS = 2_000_000
_COUNTS = frozenset(("transactions", "alerted", "fraud", "genuine", "matured"))


@dataclass(frozen=True, slots=True)
class RollupState:
    """The newest snapshot of the rollup: what it can be asked, and the files of its days."""

    snapshot_id: int | None = None
    current_to: datetime | None = None
    dimensions: tuple[Dimension, ...] = dimensions.DEFAULT
    days: Mapping[date, StoredPartition] = field(default_factory=dict)
    rows: int = 0

    @property
    def small(self) -> bool:
        return self.rows <= SMALL_ROWS

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dimension.key for dimension in self.dimensions)


@dataclass(frozen=True, slots=True)
class View:
    """Sums of some days. `rows` has texts as codes: positions in `values[column]`."""

    rows: pa.Table
    values: Mapping[str, tuple[str, ...]]


class Cells:
    """Safe to share between threads: of those that need the same view one reads it, and the others wait."""

    def __init__(self, lake: Lake, engine: Engine, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lake, self._engine, self._monotonic = lake, engine, monotonic
        self._lock = threading.Lock()
        self._state = RollupState()
        self._checked_at = float("-inf")
        self._views: OrderedDict[tuple[object, ...], _Pieces] = OrderedDict()

    def state(self) -> RollupState:
        """The state of the lake, at most a little old. Raises Unavailable without S3."""
        with self._lock:
            if self._monotonic() - self._checked_at >= self._engine.recheck_seconds:
                self._refresh()
                self._checked_at = self._monotonic()
            return self._state

    def quarters(self, state: RollupState, keys: Sequence[str], first: date, last: date) -> View:
        """Sums by quarter hour (`moment`: UTC second at which it begins) of the UTC days first..last."""
        wanted = state.keys if state.small else tuple(keys)

        def query(start: date, end: date, _dense: bool) -> LakeQuery:
            return lake_queries.cells(wanted, start, end, None)

        return self._view(state, ("quarters", *wanted), query, first, last)

    def all_quarters(self, state: RollupState) -> View:
        """The whole of a small rollup, from which charts are made too."""
        return self.quarters(state, state.keys, min(state.days, default=EPOCH), max(state.days, default=EPOCH))

    def local_days(self, state: RollupState, keys: Sequence[str], zone: str, first: date, last: date) -> View:
        """Sums by local date of the zone (`moment`: days since 1970) of the UTC days first..last."""
        wanted = tuple(keys)
        cuboid = lake_queries.day_cuboid(wanted if len(wanted) <= CUBOID_DIMENSIONS else state.keys)

        def query(start: date, end: date, dense: bool) -> LakeQuery:
            moves = offsets(zone, *_seconds(start, end))
            if dense:
                return lake_queries.daily_cells(wanted, cuboid, start, end, moves)
            return lake_queries.cells(wanted, start, end, moves)

        return self._view(state, ("days", zone, *wanted), query, first, last)

    def counted_values(self, state: RollupState) -> View:
        """day, dimension, value, transactions of all days."""

        def query(start: date, end: date, dense: bool) -> LakeQuery:
            return lake_queries.values(state.keys, start, end, dense=dense)

        first, last = min(state.days, default=EPOCH), max(state.days, default=EPOCH)
        return self._view(state, ("values", *state.keys), query, first, last)

    def held_bytes(self) -> int:
        """Memory of everything that was read."""
        with self._lock:
            return sum(view.nbytes for view in self._views.values())

    def _refresh(self) -> None:
        stored = self._lake.reader.state(RATES_TABLE.name)
        if stored is None:
            self._state = RollupState()
            return
        moment = stored.position.get("current_to")
        current_to = datetime.fromisoformat(moment) if moment else None
        days = self._state.days
        if stored.snapshot_id != self._state.snapshot_id:
            days = self._lake.reader.partitions(RATES_TABLE.name, snapshot_id=stored.snapshot_id)
        kept = stored.position.get("dimensions")
        by = dimensions.from_json(kept) if kept else dimensions.DEFAULT
        if by != self._state.dimensions:
            self._views.clear()
        rows = sum(part.rows for part in days.values())
        self._state = RollupState(stored.snapshot_id, current_to, by, days, rows)

    def _view(
        self,
        state: RollupState,
        key: tuple[object, ...],
        query: Callable[[date, date, bool], LakeQuery],
        first: date,
        last: date,
    ) -> View:
        with self._lock:
            pieces = self._views.setdefault(key, _Pieces())
            self._views.move_to_end(key)
        with pieces.lock:
            for run in _runs(pieces.stale(state.days, first, last)):
                pieces.put(run, self._run(query, run, state))
            view = pieces.view()
        with self._lock:
            while len(self._views) > 1 and sum(held.nbytes for held in self._views.values()) > LIMIT_BYTES:
                self._views.popitem(last=False)
        return view

    def _run(
        self, query: Callable[[date, date, bool], LakeQuery], run: Sequence[StoredPartition], state: RollupState
    ) -> pa.Table:
        assert state.snapshot_id is not None, "days are of a snapshot"
        asked = query(run[0].start, run[-1].start, _dense(run[0]))
        return self._engine.run(asked, run, state.snapshot_id)


class _Pieces:
    """The days of one view. The same files hold the same rows for ever, so their paths say whether a day is stale."""

    def __init__(self) -> None:
        # Whoever holds it may read and change the rest.
        self.lock = threading.Lock()
        self._paths: dict[date, frozenset[str]] = {}
        self._rows: dict[date, pa.Table] = {}
        self._codes: dict[str, dict[str, int]] = {}
        self._view: View | None = None
        self.nbytes = 0

    def stale(self, days: Mapping[date, StoredPartition], first: date, last: date) -> list[StoredPartition]:
        """The days of first..last to be read, in order. Days that are no more are forgotten."""
        for gone in [day for day in self._paths if day not in days]:
            del self._paths[gone]
            self._rows.pop(gone, None)
            self._view = None
        wanted = (part for day, part in days.items() if first <= day <= last)
        return sorted((p for p in wanted if self._paths.get(p.start) != p.paths), key=lambda part: part.start)

    def put(self, run: Sequence[StoredPartition], rows: pa.Table) -> None:
        """`rows` are those of these days, all of them."""
        coded = self._coded(rows)
        days = coded["day"].to_numpy()
        order = np.argsort(days, kind="stable")
        coded, days = coded.take(pa.array(order)), days[order]
        for part in run:
            number = (part.start - EPOCH).days
            low, high = np.searchsorted(days, [number, number + 1])
            # A copy: a slice would keep all the rows it was cut from alive.
            self._rows[part.start] = coded.slice(low, high - low).take(pa.array(np.arange(high - low)))
            self._paths[part.start] = part.paths
        self._view = None

    def view(self) -> View:
        if self._view is None:
            rows = pa.concat_tables(self._rows.values()).combine_chunks() if self._rows else pa.table({})
            values = {name: tuple(codes) for name, codes in self._codes.items()}
            self._view, self.nbytes = View(rows, values), 2 * rows.nbytes
        return self._view

    def _coded(self, rows: pa.Table) -> pa.Table:
        columns = {}
        for name in rows.column_names:
            column = rows[name].combine_chunks()
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                codes = self._codes.setdefault(name, {})
                encoded = column.dictionary_encode()
                numbers = [codes.setdefault(value, len(codes)) for value in encoded.dictionary.to_pylist()]
                column = pa.array(np.array(numbers, dtype=np.int32)[encoded.indices.to_numpy()])
            elif name in _COUNTS or name == "day":
                column = column.cast(pa.int32())
            columns[name] = column
        return pa.table(columns)


def _dense(part: StoredPartition) -> bool:
    """Whether a day has cuboids."""
    return part.rows >= CUBOID_ROWS


def _runs(parts: Sequence[StoredPartition]) -> Iterator[list[StoredPartition]]:
    """Days that one query can read: neighbours, with or without cuboids alike, and not too many rows."""
    run: list[StoredPartition] = []
    rows = 0
    for before, part in pairwise([None, *parts]):
        assert part is not None
        apart = before is not None and (
            part.start - before.start > timedelta(days=1) or _dense(part) != _dense(before) or rows > _BATCH_ROWS
        )
        if apart:
            yield run
            run, rows = [], 0
        run.append(part)
        rows += part.rows
    if run:
        yield run


def _seconds(first: date, last: date) -> tuple[int, int]:
    return (first - EPOCH).days * DAY_SECONDS, ((last - EPOCH).days + 1) * DAY_SECONDS
