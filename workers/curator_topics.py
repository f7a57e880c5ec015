"""Folding one raw topic into its table."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from services.adapters.iceberg import IcebergLake, Partition
from services.adapters.iceberg_catalog import midnight, partition_end, partition_start
from services.adapters.s3 import ObjectInfo, ObjectStore
from services.errors import NotFound
from services.lake_schema import (
    LABELS_TABLE,
    QUARANTINE_ROOT,
    RAW_ROOT,
    TRANSACTIONS_TABLE,
    LakeTable,
)
from workers.curator_fold import append_new, latest, merge
from workers.curator_rollup import in_groups
from workers.curator_rows import Parsed, Refusal, changes_schema, parse

log = logging.getLogger(__name__)

# Lines folded in one commit; at about 400 bytes a row this bounds memory whatever the backlog.
CHUNK_EVENTS = 80_000
_START_OFFSET = re.compile(r"\+\d+\+(\d{10,})\.json\.gz$")
_READ_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Folded:
    """What one commit did. Counts are of lines not counted before; `cluster_time` is of the newest line folded."""

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
        self._progress = progress

    def fold(self) -> Folded | None:
        """Fold the next objects in one commit. None when there is nothing new.

        Raises Conflict when another curator committed first, Unavailable when S3 does not answer; nothing is folded
        then and the next call begins where the last commit ended.
        """
        state = self._lake.state(self.table.name)
        place: dict[str, Any] = dict(state.position.get(self.name, {})) if state else {}
        self.next_offset = place.get("next_offset", 0)
        parsed: list[pa.Table] = []
        folded = quarantined = lines = 0
        more = False
        for info, content in self._contents(self._pending(place)):
            self._progress()
            if lines >= self._chunk:
                more = True
                break
            if content is None:  # written again while it was read: the next cycle sees what it became
                break
            lines += content.count
            self._quarantine(info.key, content.refusals)
            start = _start_offset(info.key)
            new = max(0, start + content.count - max(place.get("next_offset", 0), start))
            refused = sum(1 for refusal in content.refusals if start + refusal.line >= place.get("next_offset", 0))
            folded, quarantined = folded + new - refused, quarantined + refused
            parsed.append(content.changes)
            place |= {"last_key": info.key, "etag": info.etag, "size": info.size}
            place["next_offset"] = max(place.get("next_offset", 0), start + content.count)
        if not lines:
            return None
        changes = latest(pa.concat_tables([changes_schema(self.table).empty_table(), *parsed]), str(self.table.key))
        parsed.clear()
        newest = pc.max(changes["cluster_time"]).as_py() if changes.num_rows else None
        if newest is not None:
            place["cluster_time"] = newest.isoformat()
        place["folded"] = place.get("folded", 0) + folded
        place["quarantined"] = place.get("quarantined", 0) + quarantined
        self._commit(changes, {self.name: place}, state.snapshot_id if state else None)
        self.next_offset = place["next_offset"]
        return Folded(folded, quarantined, place["next_offset"], newest, more)

    def _pending(self, place: Mapping[str, Any]) -> Iterator[ObjectInfo]:
        """Objects to fold, in order: the last one again if it changed or ends before the next begins, then new ones."""
        prefix = f"{RAW_ROOT}/{self.name}/"
        last = place.get("last_key")
        if last is None:
            yield from self._objects.list(prefix)
            return
        # One listing shows the last object and those after it, as they are at the same moment.
        listed = self._objects.list(prefix, start_after=last[:-1])
        first = next(listed, None)
        if first is None or first.key != last:
            log.warning("curator.last_object_gone %s", last)
            if first is not None:
                yield first
            yield from listed
            return
        second = next(listed, None)
        gap = second is not None and _start_offset(second.key) != place["next_offset"]
        if (first.etag, first.size) != (place.get("etag"), place.get("size")) or gap:
            yield first
        if second is not None:
            yield second
        yield from listed

    def _contents(self, pending: Iterator[ObjectInfo]) -> Iterator[tuple[ObjectInfo, Parsed | None]]:
        """Read some objects ahead; parse in the order given."""
        with ThreadPoolExecutor(_READ_AHEAD, thread_name_prefix="raw") as pool:
            ahead = []
            for info in pending:
                ahead.append((info, pool.submit(self._lines, info)))
                if len(ahead) >= _READ_AHEAD:
                    info, reading = ahead.pop(0)
                    yield info, self._parse(reading.result())
            for info, reading in ahead:
                yield info, self._parse(reading.result())

    def _lines(self, info: ObjectInfo) -> list[bytes] | None:
        try:
            body, etag = self._objects.get(info.key)
        except NotFound:
            return None
        return _unpack(body).splitlines() if etag == info.etag else None

    def _parse(self, lines: list[bytes] | None) -> Parsed | None:
        return None if lines is None else parse(lines, self.table)

    def _commit(self, changes: pa.Table, position: Mapping[str, Any], snapshot_id: int | None) -> None:
        starts = sorted(self._touched(changes, snapshot_id))
        stored = self._lake.partitions(self.table.name, snapshot_id=snapshot_id, starts=starts)
        self._lake.replace(
            self.table.name, self._pieces(changes, starts, stored), position, expected_snapshot=snapshot_id
        )

    def _pieces(
        self, changes: pa.Table, starts: Sequence[date], stored: Mapping[date, Partition]
    ) -> Iterator[tuple[list[Partition], pa.Table]]:
        """What each group of neighbouring partitions becomes; every change belongs to exactly one group."""
        combine = append_new if self.table is LABELS_TABLE else merge
        removed = changes.filter(changes["removed"])
        placed = changes.filter(pc.invert(changes["removed"]))
        time = placed[self.table.time_column]
        for group in in_groups(starts, stored):
            inside = pc.and_(
                pc.greater_equal(time, midnight(group[0])),
                pc.less(time, partition_end(self.table, group[-1])),
            )
            former = [stored[start] for start in group if start in stored]
            existing = self._lake.read_partitions(self.table.name, former, self.table.schema.names)
            here = pa.concat_tables([placed.filter(inside), removed])
            self._progress()
            yield former, combine(existing, here, self.table)

    def _touched(self, changes: pa.Table, snapshot_id: int | None) -> set[date]:
        """Partitions that the changes can alter: those they fall into, and those where a removed row lies."""
        touched = {
            partition_start(self.table, moment)
            for moment in pc.unique(pc.floor_temporal(changes[self.table.time_column], unit="day")).to_pylist()
            if moment is not None
        }
        if self.table is TRANSACTIONS_TABLE and snapshot_id is not None:
            removed = changes.filter(changes["removed"])["transaction_id"].to_pylist()
            touched |= self._lake.days_of(self.table.name, removed)
        return touched

    def _quarantine(self, key: str, refusals: tuple[Refusal, ...]) -> None:
        """Keep why, and where to look: never the record itself, which may hold card data where none belongs."""
        if not refusals:
            return
        records = [
            {"object": key, "line": refusal.line, "offset": refusal.offset, "reason": refusal.reason}
            for refusal in refusals
        ]
        body = b"\n".join(orjson.dumps(record) for record in records) + b"\n"
        self._objects.put(key.replace(RAW_ROOT, QUARANTINE_ROOT, 1), gzip.compress(body, mtime=0))
        log.warning("curator.quarantined %d records of %s", len(records), key)


def _start_offset(key: str) -> int:
    found = _START_OFFSET.search(key)
    return int(found[1]) if found else 0


def _unpack(body: bytes) -> bytes:
    """The lines of an object; of a damaged one, those before the damage and a last one that is refused."""
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(body)
        if unpacker.eof:
            return text
    except zlib.error:
        text = b""
    return text[: text.rfind(b"\n") + 1] + b"damaged object"
