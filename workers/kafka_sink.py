"""Kafka -> raw zone, as a managed S3 sink does it: `python -m workers.stream --from kafka`. Any number of processes.

Invariants:
- An object holds consecutive offsets of one partition and one hour, and is named after the first.
- An object is stored before its offsets are committed. After a crash the next reader begins at the same offset and so
  meets the object under its own name: it goes on after it, or replaces it by one with more.
- What was not stored when a partition goes to another member of the group is read by that one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.adapters.kafka import Cluster, Receiver, Record
from services.adapters.mongo import client
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.s3 import ObjectStore
from services.errors import Conflict, ServiceError, Unavailable
from services.settings import Settings
from services.worker_status import Reporter, WorkerState
from workers.kafka_records import cluster_time, line
from workers.stream_loop import TOPICS, Limits
from workers.stream_objects import object_key
from workers.stream_patience import keep_trying
from workers.stream_targets import gunzip, gzip

NAME = "sink"
_KEPT = "Nothing is lost: Kafka keeps the records and they are read again."
_RECORDS, _WAIT_SECONDS = 1000, 0.25
Partition = tuple[str, int]


@dataclass(slots=True)
class _Open:
    """The object of one partition that is being filled."""

    first_time: datetime
    start_offset: int
    opened_at: float
    lines: list[bytes] = field(default_factory=list)
    bytes: int = 0

    @property
    def next_offset(self) -> int:
        return self.start_offset + len(self.lines)

    def takes(self, record: Record, at: datetime) -> bool:
        return record.offset == self.next_offset and _hour(at) == _hour(self.first_time)


class Sink:
    """One member of the group, until `stop` is set or something fails."""

    def __init__(
        self,
        receiver: Callable[[Callable[[Sequence[Partition], bool], None]], Receiver],
        objects: ObjectStore,
        reporter: Reporter,
        limits: Limits,
        *,
        stop: threading.Event,
        after_put: Callable[[str], None] = lambda _key: None,
    ) -> None:
        """`receiver` makes one, given what to call when partitions are taken away."""
        self._objects, self._reporter, self._limits = objects, reporter, limits
        self._stop, self._after_put = stop, after_put
        self._receiver = receiver(self._revoked)
        self._open: dict[Partition, _Open] = {}
        # The first offset of each partition that is not yet in an object.
        self._next: dict[Partition, int] = {}

    def run(self) -> None:
        """Raises Unavailable, Conflict or HistoryLost; what was received but not stored is received again."""
        with closing(self._receiver):
            while not self._stop.is_set():
                for record in self._receiver.receive(_RECORDS, _WAIT_SECONDS):
                    self._add(record)
                self._store(self._due())
                self._reporter.beat(lag_seconds=self._lag())
            self._store(list(self._open))

    def _add(self, record: Record) -> None:
        partition = (record.topic, record.partition)
        if record.offset < self._next.get(partition, 0):
            return  # in an object that was met under its name
        at = cluster_time(record)
        filling = self._open.get(partition)
        if filling is not None and not filling.takes(record, at):
            self._store([partition])
            if record.offset < self._next[partition]:
                return
            filling = None
        if filling is None:
            filling = self._open[partition] = _Open(at, record.offset, time.monotonic())
        filling.lines.append(line(record))
        filling.bytes += len(filling.lines[-1])
        if len(filling.lines) >= self._limits.events:
            self._store([partition])

    def _due(self) -> list[Partition]:
        now = time.monotonic()
        if sum(filling.bytes for filling in self._open.values()) >= self._limits.bytes:
            return list(self._open)
        return [name for name, filling in self._open.items() if now - filling.opened_at >= self._limits.seconds]

    def _store(self, partitions: Sequence[Partition]) -> None:
        """Objects first, then their offsets."""
        stored: dict[Partition, int] = {}
        for partition in partitions:
            filling = self._open.pop(partition)
            stored[partition] = self._next[partition] = self._put(partition, filling)
            self._reporter.beat(counts={partition[0].removeprefix("fraud."): len(filling.lines)})
        if stored:
            self._receiver.commit(stored)

    def _put(self, partition: Partition, filling: _Open) -> int:
        """Write the object; the offset after it. One that is there already under its name stays when it has more."""
        key = object_key(partition[0], filling.first_time, filling.start_offset, partition[1])
        body = b"\n".join(filling.lines) + b"\n"
        try:
            self._objects.put_if(key, gzip(body), former_etag=None)
        except Conflict:
            packed, etag = self._objects.get(key)
            there = gunzip(packed)
            if there.startswith(body):
                return filling.start_offset + there.count(b"\n")
            if not body.startswith(there):
                raise Conflict(
                    f"The raw zone has another object under the name {key}: give this topic a raw zone of its own."
                ) from None
            self._objects.put_if(key, gzip(body), former_etag=etag)
        self._after_put(key)
        return filling.next_offset

    def _revoked(self, partitions: Sequence[Partition], lost: bool) -> None:
        mine = [partition for partition in partitions if partition in self._open]
        try:
            if not lost:
                self._store(mine)
        except (Unavailable, Conflict):
            pass  # not committed: whoever gets the partition reads it again
        for partition in partitions:
            self._open.pop(partition, None)
            self._next.pop(partition, None)

    def _lag(self) -> float:
        """Seconds since the oldest change that was received and is not stored; 0 when there is none."""
        if not self._open:
            return 0.0
        oldest = min(filling.first_time for filling in self._open.values())
        return max(0.0, (datetime.now(UTC) - oldest).total_seconds())


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // 3600


def run(
    settings: Settings,
    cluster: Cluster,
    stop: threading.Event,
    *,
    after_gap: bool = False,
    after_put: Callable[[str], None] = lambda _key: None,
) -> None:
    """Store records until `stop` is set. Raises HistoryLost when only a person can decide how to go on."""
    db = client.connect(settings, timeout_seconds=10.0, app="fraud-desk-sink")
    reporter = Reporter(NAME, MongoStatusStore(db))
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=5.0)
    limits = Limits(settings.stream_flush_events, settings.stream_flush_bytes, settings.stream_flush_seconds)

    def receiver(on_revoked: Callable[[Sequence[Partition], bool], None]) -> Receiver:
        topics = tuple(TOPICS.values())
        return Receiver(cluster, settings.kafka_group, topics, on_revoked=on_revoked, after_gap=after_gap)

    try:
        reporter.beat(WorkerState.STARTING)
        keep_trying(
            lambda: Sink(receiver, objects, reporter, limits, stop=stop, after_put=after_put).run(),
            reporter,
            stop,
            _KEPT,
        )
        reporter.beat(WorkerState.STOPPED, force=True)
    except ServiceError as error:
        reporter.beat(WorkerState.FAILED, error=error.message, force=True)
        raise
    finally:
        db.client.close()
