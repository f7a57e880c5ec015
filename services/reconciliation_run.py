"""What a reconciliation reads, and what it found so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import pyarrow as pa

from services.domain.states import RunState
from services.errors import ServiceError
from services.lake import TableState
from services.reconciliation_compare import Difference, Side


class Gone(ServiceError):
    """MongoDB does not remember the moment asked for."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that cannot be a row of the lake: a value of another type; the curator quarantines it."""

    transaction_id: str
    field: str
    kind: str


@dataclass(frozen=True, slots=True)
class Rows:
    table: pa.Table
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """`offsets`: next per raw topic, committed at `at`; `copying`: a copy of everything is under way."""

    offsets: Mapping[str, int]
    at: datetime
    copying: bool


class Source(Protocol):
    """MongoDB. Every call raises Unavailable when it does not answer."""

    def count(self, start: datetime, end: datetime) -> int: ...

    def read(self, start: datetime, end: datetime, at: datetime | None, *, tick: Callable[[], None]) -> Rows: ...

    def latest(self, ids: Sequence[str]) -> pa.Table: ...

    def stream_place(self) -> StreamPlace | None: ...


class LakeSource(Protocol):
    """The lake's tables. Every call raises Unavailable when S3 does not answer."""

    def state(self, name: str) -> TableState | None: ...

    def read(
        self,
        name: str,
        *,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table: ...


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of event time. `differing` counts transactions; `under_way` are in neither side."""

    day: date
    mongo: Side
    lake: Side
    under_way: int
    differing: int

    @property
    def equal(self) -> bool:
        return self.differing == 0 and self.mongo == self.lake


@dataclass(frozen=True, slots=True)
class Run:
    """One reconciliation, as far as it has come. `differences` holds at most MOST_DIFFERENCES.

    `lake_to` is the commit time of the newest change compared. `exact` is False when MongoDB could not be read as it
    was at that moment (too long ago, or the topic has several partitions): whatever is newer there is under way then.
    """

    run_id: str
    state: RunState
    started_by: str
    started_at: datetime
    first: date
    last: date
    finished_at: datetime | None = None
    days: tuple[Day, ...] = ()
    differences: tuple[Difference, ...] = ()
    rows_read: int = 0
    fraction: float = 0.0
    lake_to: datetime | None = None
    snapshot_id: int | None = None
    exact: bool = True
    failure: str | None = None

    @property
    def differing(self) -> int:
        return sum(day.differing for day in self.days)

    @property
    def under_way(self) -> int:
        return sum(day.under_way for day in self.days)
