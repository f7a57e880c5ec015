"""Reading the lake: what screens, training and health know of it. Writing is `workers.curator`'s alone.

A snapshot id names one state of a table for ever, provided it is pinned: reading the same snapshot twice gives the
same rows, whatever was written since.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

import pyarrow as pa

from services.errors import NotFound
from services.lake_schema import LABELS_TABLE, LABELS_TOPIC, QUARANTINE_ROOT, TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC

_FED = ((TRANSACTIONS_TABLE.name, TRANSACTIONS_TOPIC), (LABELS_TABLE.name, LABELS_TOPIC))


@dataclass(frozen=True, slots=True)
class TableState:
    """The newest snapshot of a table.

    `position`: per raw topic a place (`workers.curator_places`): {partitions, next_offset, cluster_time, folded,
    quarantined, reasons, refused_in, epoch}; for the rollup {transactions_snapshot, current_to,
    layout, dimensions}.
    """

    snapshot_id: int
    committed_at: datetime
    rows: int
    position: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record the curator refused: where it is (`line` from 0 in the raw `object`; `offset` None when unreadable) and
    why. `at` is the change's time in MongoDB, or the hour of its object when the record does not say."""

    object: str
    line: int
    offset: int | None
    reason: str
    topic: str
    at: datetime | None


class StoredPartition(Protocol):
    """The files of one partition; the same paths hold the same rows for ever."""

    @property
    def start(self) -> date: ...

    @property
    def paths(self) -> frozenset[str]: ...

    @property
    def rows(self) -> int: ...


class LakeReader(Protocol):
    """What the lake needs of its storage. Every call raises Unavailable(dependency="S3") when that does not answer."""

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

    def partitions(
        self, name: str, *, snapshot_id: int | None = None, starts: Sequence[date] | None = None
    ) -> Mapping[date, Any]: ...

    def read_partitions(self, name: str, partitions: Sequence[Any], columns: Sequence[str]) -> pa.Table: ...

    def tag(self, name: str, snapshot_id: int, tag: str) -> None: ...

    def object(self, key: str) -> bytes: ...

    def snapshot_at(self, name: str, moment: datetime) -> int: ...


class Lake:
    """Times are aware UTC; ranges are start <= time < end; None leaves a side open."""

    def __init__(self, reader: LakeReader) -> None:
        self.reader = reader

    def current_to(self) -> datetime | None:
        """Commit time in MongoDB of the newest change that is in `transactions`; None while the lake is empty."""
        place = self._place(TRANSACTIONS_TABLE.name, TRANSACTIONS_TOPIC)
        moment = place.get("cluster_time")
        return datetime.fromisoformat(moment) if moment else None

    def rows(self) -> int:
        """Transactions in the lake. Reads one snapshot summary, no data."""
        state = self.reader.state(TRANSACTIONS_TABLE.name)
        return state.rows if state else 0

    def newest_offsets(self) -> Mapping[str, int]:
        """Per raw topic the next offset that is not folded yet."""
        return {topic: int(self._place(table, topic).get("next_offset", 0)) for table, topic in _FED}

    def quarantine(self, limit: int = 100) -> tuple[Quarantined, ...]:
        """The newest refused records, newest object first: at most `limit`, of the objects the position still names.

        Reads as few objects as fill the limit. An object that was deleted from the quarantine is left out.
        """
        found: list[Quarantined] = []
        places = [(topic, self._place(table, topic).get("refused_in", ())) for table, topic in _FED]
        for suffix, topic in sorted(((suffix, topic) for topic, kept in places for suffix in kept), reverse=True):
            if len(found) >= limit:
                break
            try:
                body = gzip.decompress(self.reader.object(f"{QUARANTINE_ROOT}/{topic}/{suffix}"))
            except NotFound:
                continue
            records = map(json.loads, body.splitlines()[: limit - len(found)])
            found += [_quarantined(record, topic) for record in records]
        return tuple(found)

    def quarantine_reasons(self) -> dict[str, int]:
        """How many records were refused for each reason, of all topics, most first. Reads no objects.

        Records refused before reasons were counted are under "not recorded".
        """
        counts: dict[str, int] = {}
        for table, topic in _FED:
            place = self._place(table, topic)
            reasons = place.get("reasons", {})
            unexplained = int(place.get("quarantined", 0)) - sum(reasons.values())
            for reason, count in (*reasons.items(), *([("not recorded", unexplained)] if unexplained > 0 else [])):
                counts[reason] = counts.get(reason, 0) + int(count)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def snapshot(self, table: str = TRANSACTIONS_TABLE.name) -> int:
        """The current snapshot of a table. Raises NotFound while nothing was folded into it."""
        state = self.reader.state(table)
        if state is None:
            raise NotFound(f"The lake has no {table} yet.")
        return state.snapshot_id

    def snapshot_at(self, moment: datetime, table: str = TRANSACTIONS_TABLE.name) -> int:
        """The snapshot that was current at a moment. Of the last quarter of an hour every one is kept, of the last day
        one an hour, and those that are pinned. Raises NotFound when nothing that old is kept."""
        return self.reader.snapshot_at(table, moment)

    def pin(self, snapshot_id: int, tag: str, table: str = TRANSACTIONS_TABLE.name) -> None:
        """Keep the snapshot under a name (`experiment-...`) for good. Repeating it changes nothing.

        Raises NotFound when it is not kept any more, Conflict when the name keeps another one.
        """
        self.reader.tag(table, snapshot_id, tag)

    def read_transactions(
        self,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Latest state of each transaction by event_time, columns of `services.lake_schema.TRANSACTIONS`; unordered."""
        return self.reader.read(TRANSACTIONS_TABLE.name, snapshot_id=snapshot_id, start=start, end=end, columns=columns)

    def read_labels(
        self,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Every verdict ever given, by labelled_at, columns of `services.lake_schema.LABELS`; unordered."""
        return self.reader.read(LABELS_TABLE.name, snapshot_id=snapshot_id, start=start, end=end, columns=columns)

    def _place(self, table: str, topic: str) -> Mapping[str, Any]:
        state = self.reader.state(table)
        place: Mapping[str, Any] = state.position.get(topic, {}) if state else {}
        return place


def _quarantined(record: Mapping[str, Any], topic: str) -> Quarantined:
    at = record.get("at")
    moment = datetime.fromisoformat(at) if at else None
    return Quarantined(record["object"], record["line"], record["offset"], record["reason"], topic, moment)
