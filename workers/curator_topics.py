"""Folding one raw topic into its table."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from services.adapters.iceberg import IcebergLake
from services.adapters.s3 import ObjectInfo, ObjectStore
from services.errors import NotFound
from services.lake import TableState
from services.lake_schema import QUARANTINE_ROOT, RAW_ROOT, LakeTable
from workers import curator_merge
from workers.curator_fold import latest
from workers.curator_formats import records
from workers.curator_places import Listing, Place, advance, begun, ended_epoch, hour_of, mark, name_of
from workers.curator_rows import Parsed, Refusal, changes_schema, parse

log = logging.getLogger(__name__)

# Records folded in one commit; at about 400 bytes a row this bounds memory whatever the backlog.
CHUNK_EVENTS = 80_000
_READ_AHEAD = 4
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Folded:
    """What one commit did. Counts are of records not counted before; `cluster_time` is of the newest one folded."""

    folded: int
    quarantined: int
    next_offset: int
    cluster_time: datetime | None
    more: bool


class TopicFolder:
    def __init__(
        self,
        lake: IcebergLake,
        objects: ObjectStore,
        topic: str,
        table: LakeTable,
        *,
        chunk_events: int = CHUNK_EVENTS,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`progress` is called every second or so of work, for the heartbeat."""
        self.name, self.table = topic, table
        self.next_offset = 0
        self._lake, self._objects, self._chunk = lake, objects, chunk_events
        self._listing = Listing(objects, topic)
        self._progress = progress

    def fold(self) -> Folded | None:
        """Fold the next objects in one commit. None when there is nothing new.

        Raises Conflict when another curator committed first, Unavailable when S3 does not answer; nothing is folded
        then and the next call begins where the last commit ended.
        """
        state = self._lake.state(self.table.name)
        place = begun(state.position.get(self.name, {}) if state else {})
        self.next_offset = place.get("next_offset", 0)
        if state is not None and (since := ended_epoch(place)) is not None:
            return self._clear(place, datetime.fromisoformat(since), state)
        parsed: list[pa.Table] = []
        folded = quarantined = lines = 0
        more = False
        for info, content in self._contents(self._listing.pending(place)):
            self._progress()
            if lines >= self._chunk:
                more = True
                break
            if content is None:  # written again while it was read: the next cycle sees what it became
                break
            lines += content.count
            self._quarantine(info.key, content.refusals)
            counted = advance(place, self.name, info, content.count, content.refusals)
            folded, quarantined = folded + counted[0], quarantined + counted[1]
            mark(place, content.markers)
            parsed.append(content.changes)
        if not lines:
            return None
        changes = latest(pa.concat_tables([changes_schema(self.table).empty_table(), *parsed]), str(self.table.key))
        parsed.clear()
        newest = self._commit(changes, place, state)
        return Folded(folded, quarantined, self.next_offset, newest, more or ended_epoch(place) is not None)

    def _commit(self, changes: pa.Table, place: Place, state: TableState | None) -> datetime | None:
        """Returns the newest cluster time among the changes."""
        former = datetime.fromisoformat(place["cluster_time"]) if "cluster_time" in place else None
        newest = pc.max(changes["cluster_time"]).as_py()
        if newest == _UNIX:  # copies by the source connector do not say when
            newest = max(filter(None, (_time_of(at["last_key"]) for at in place["partitions"].values())), default=None)
        if newest is not None:
            place["cluster_time"] = max(filter(None, (former, newest))).isoformat()
        snapshot_id = state.snapshot_id if state else None
        pieces = curator_merge.pieces(self._lake, self.table, changes, snapshot_id, former, self._progress)
        self._lake.replace(self.table.name, pieces, {self.name: place}, expected_snapshot=snapshot_id)
        self.next_offset = place["next_offset"]
        return newest

    def _clear(self, place: Place, since: datetime, state: TableState) -> Folded:
        """After the copy of a new epoch: rows it did not bring are of documents that are not in MongoDB any more."""
        place["epoch"] = place["epoch"] | {"cleared": True}
        pieces = curator_merge.older_than(self._lake, self.table, since, state.snapshot_id)
        self._lake.replace(self.table.name, pieces, {self.name: place}, expected_snapshot=state.snapshot_id)
        after = self._lake.state(self.table.name)
        gone = state.rows - (after.rows if after else 0)
        log.info(
            "curator.epoch %s of %s: %d rows are not in MongoDB any more", place["epoch"]["number"], self.name, gone
        )
        return Folded(0, 0, self.next_offset, None, more=True)

    def _contents(self, pending: Iterator[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Parsed | None]]:
        """Read some objects ahead; parse in the order given."""
        with ThreadPoolExecutor(_READ_AHEAD, thread_name_prefix="raw") as pool:
            ahead = []
            for info in pending:
                ahead.append((info, pool.submit(self._body, info)))
                if len(ahead) >= _READ_AHEAD:
                    info, reading = ahead.pop(0)
                    yield info, self._parse(info, reading.result())
            for info, reading in ahead:
                yield info, self._parse(info, reading.result())

    def _body(self, info: ObjectInfo) -> bytes | None:
        try:
            body, etag = self._objects.get(info.key)
        except NotFound:
            return None
        return body if etag == info.etag else None

    def _parse(self, info: ObjectInfo, body: bytes | None) -> Parsed | None:
        if body is None:
            return None
        name = name_of(info.key, self.name)
        return parse(records(body), self.table, name.start if name else 0)

    def _quarantine(self, key: str, refusals: tuple[Refusal, ...]) -> None:
        """Keep why, and where to look: never the record itself, which may hold card data where none belongs."""
        if not refusals:
            return
        hour = hour_of(key)
        lines = [
            orjson.dumps(
                {
                    "object": key,
                    "line": refusal.line,
                    "offset": refusal.offset,
                    "reason": refusal.reason,
                    "at": refusal.at or hour,
                }
            )
            for refusal in refusals
        ]
        self._objects.put(_quarantine_key(key), gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
        log.warning("curator.quarantined %d records of %s", len(lines), key)


def _quarantine_key(key: str) -> str:
    return key.replace(RAW_ROOT, QUARANTINE_ROOT, 1)


def _time_of(key: str) -> datetime | None:
    hour = hour_of(key)
    return datetime.fromisoformat(hour) if hour else None
