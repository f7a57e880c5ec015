"""One uninterrupted run of the stream: changes in, objects and committed places out, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from services.adapters.change_reader import Change
from services.adapters.change_stream import ChangeSource
from services.adapters.stream_place import Controls, Place, PlaceStore
from services.lake_schema import LABELS_TOPIC, TRANSACTIONS_TOPIC
from services.worker_status import Reporter, WorkerState
from workers.stream_objects import Batch, encode, iso
from workers.stream_targets import Target

TOPICS = {"transactions": TRANSACTIONS_TOPIC, "labels": LABELS_TOPIC}
# An idle stream saves its mark this often, so that history is never lost for want of traffic, and keeps its lease.
IDLE_SAVE_SECONDS = 2.0
_CONTROL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When objects are closed: at `events` lines, `bytes` of all their lines together, or `seconds` after the first."""

    events: int
    bytes: int
    seconds: float


class Stream:
    """One run from the committed place until `stop` is set or something fails."""

    def __init__(
        self,
        source: ChangeSource,
        places: PlaceStore,
        controls: Controls,
        target: Target,
        reporter: Reporter,
        limits: Limits,
        *,
        stop: threading.Event,
    ) -> None:
        self._source, self._places, self._controls = source, places, controls
        self._target, self._reporter = target, reporter
        self._limits, self._stop = limits, stop
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._pending: Future[dict[str, int]] | None = None
        self._place = Place()
        self._committed = Place()
        self._committed_at = 0.0
        # The stream's mark and cluster time of the last change added; taken into the place when objects are closed.
        self._read_to: tuple[Mapping[str, Any] | None, datetime | None] = (None, None)
        self._batches: dict[str, Batch] = {}
        self._open_hour: int | None = None
        self._opened_at = 0.0
        self._bytes = 0
        self._beat_at = 0.0
        self._asked_at = 0.0
        self._paused: str | None = None
        self._clock: tuple[datetime | None, str, int] = (None, "", 0)

    def run(self) -> None:
        """Raises Unavailable, Conflict (fenced off) or HistoryLost; what was read but not stored is read again."""
        self._place = self._committed = self._places.claim()
        self._read_to = (self._place.token, self._place.cluster_time)
        self._begin_batches()
        try:
            while not self._stop.is_set():
                self._wait_while_paused()
                if self._place.started_at is None:
                    self._begin_epoch()
                elif self._place.copying is not None:
                    self._copy()
                else:
                    self._follow()
                self._flush()
                self._settle()
        finally:
            self._uploads.shutdown(wait=True, cancel_futures=True)

    def _begin_epoch(self) -> None:
        """Choose the time the copy speaks for; after the first epoch, in a later second than all that was written."""
        before = self._source.now()
        begin = {"collection": next(iter(TOPICS)), "after": None}
        while True:
            started = self._source.now()
            if self._place.epoch == 1 or started.time > before.time:
                break
            if self._stop.wait(0.1):
                return
            self._commit_place(self._place)  # an idle database's time moves when something is written
        self._place = replace(self._place, started_at=started, copying=begin)
        self._commit_place(self._place)

    def _copy(self) -> None:
        for change, place in self._source.copy(self._place):
            self._add(change)
            self._place = replace(self._place, copying=place.copying)
            self._close_if_due()
            if self._interrupted():
                return
        if self._place.epoch > 1:
            self._add_markers()
        self._place = replace(self._place, copying=None)
        self._flush()
        self._settle()
        self._commit_place(self._place)

    def _add_markers(self) -> None:
        """End the snapshot: what has no copy before these is not in MongoDB any more (docs/contracts.md)."""
        assert self._place.started_at is not None
        at, epoch = self._place.started_at.as_datetime(), self._place.epoch
        for collection in TOPICS:
            partitions = self._target.partitions(TOPICS[collection])
            for partition in range(partitions):
                batch = self._batches[TOPICS[collection]]
                batch.pinned[len(batch.lines)] = partition
                told = {"epoch": epoch, "partition": partition, "partitions": partitions}
                self._add(Change(collection, "epoch", at, f"epoch:{epoch}", told))

    def _follow(self) -> None:
        with self._source.changes(self._place) as reader:
            while not self._interrupted():
                changes = reader.next()
                for change in changes.events:
                    self._add(change)
                    self._read_to = (change.token, change.cluster_time)
                    self._close_if_due()
                if changes.token is not None:
                    self._read_to = (changes.token, self._read_to[1])
                if not changes.events:
                    self._close_if_due()
                    self._save_if_idle()
                    self._reporter.beat(lag_seconds=self._lag())

    def _interrupted(self) -> bool:
        """Stopped, or paused: in MongoDB's collection `controls`, looked at once a second."""
        if time.monotonic() - self._asked_at >= _CONTROL_SECONDS:
            self._asked_at = time.monotonic()
            self._paused = self._controls.paused()
        return self._paused is not None or self._stop.is_set()

    def _wait_while_paused(self) -> None:
        """Keep the lease and the place, all that was read being stored, until somebody resumes or `stop` is set."""
        while self._interrupted() and not self._stop.is_set():
            if self._place != self._committed:
                self._commit_place(self._place)
            self._places.require_held()
            self._reporter.beat(WorkerState.WAITING, error=self._paused)
            self._stop.wait(_CONTROL_SECONDS)

    def _current(self) -> Place:
        """The place after the last change that was added."""
        token, cluster_time = self._read_to
        return replace(self._place, token=token, cluster_time=cluster_time)

    def _add(self, change: Change) -> None:
        at = self._clock
        if change.cluster_time is not at[0]:
            hour = int(change.cluster_time.timestamp()) // 3600
            at = self._clock = (change.cluster_time, iso(change.cluster_time), hour)
        if self._open_hour is not None and at[2] != self._open_hour:
            self._flush()
        if self._open_hour is None:
            self._open_hour, self._opened_at = at[2], time.monotonic()
        batch = self._batches[TOPICS[change.collection]]
        if batch.first_time is None:
            batch.first_time = change.cluster_time
        offset = batch.next_offset if self._target.numbered else None
        line = encode(change.operation, at[1], change.document_id, change.document, offset)
        batch.lines.append(line)
        batch.keys.append(change.document_id)
        self._bytes += len(line)

    def _close_if_due(self) -> None:
        if self._open_hour is None:
            return
        if time.monotonic() - self._beat_at >= 1.0:
            self._beat_at = time.monotonic()
            self._reporter.beat(lag_seconds=self._lag())
        full = any(len(batch.lines) >= self._limits.events for batch in self._batches.values())
        if full or self._bytes >= self._limits.bytes or time.monotonic() - self._opened_at >= self._limits.seconds:
            self._flush()

    def _flush(self) -> None:
        """Hand the filled objects over. Waits for those before them, so that they are committed in order."""
        filled = [batch for batch in self._batches.values() if batch.lines]
        if not filled:
            return
        self._settle()
        offsets = {batch.topic: batch.next_offset for batch in self._batches.values()}
        self._place = replace(self._current(), offsets=offsets)
        self._pending = self._uploads.submit(self._store, filled, self._place)
        self._begin_batches()

    def _begin_batches(self) -> None:
        self._batches = {topic: Batch(topic, self._place.offsets.get(topic, 0)) for topic in TOPICS.values()}
        self._open_hour, self._bytes = None, 0

    def _settle(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            counts = pending.result()  # counted once stored: what failed is read, and would be counted, again
            self._reporter.beat(counts=counts, lag_seconds=self._lag(), position=dict(self._committed.offsets))

    def _store(self, batches: Sequence[Batch], place: Place) -> dict[str, int]:
        """The lines stored, by topic without its prefix."""
        self._target.store(batches, self._committed)
        self._commit_place(place)
        return {batch.topic.removeprefix("fraud."): len(batch.lines) for batch in batches}

    def _commit_place(self, place: Place) -> None:
        self._places.commit(place)
        self._committed, self._committed_at = place, time.monotonic()

    def _save_if_idle(self) -> None:
        if self._open_hour is not None or time.monotonic() - self._committed_at < IDLE_SAVE_SECONDS:
            return
        self._settle()
        self._place = self._current()
        self._commit_place(self._place)

    def _lag(self) -> float:
        """Seconds since the oldest change that is read but not stored; 0 when there is none."""
        seen = self._read_to[1]
        if self._open_hour is None or seen is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - seen.replace(tzinfo=UTC)).total_seconds())
