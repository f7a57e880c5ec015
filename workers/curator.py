"""Raw zone -> lake: `python -m workers.curator`.

Invariants:
- The position (by partition: last object, its etag, next offset) is in the summary of the snapshot that holds its
  rows: a crash anywhere leaves both or neither, and folding an object twice gives the same rows.
- The last folded objects are looked at again each time: a stream that crashed may write one again with more in it.
- After a new epoch's copy, rows it did not bring go in a commit of their own, which a crash before it only delays.
- in = folded + quarantined, counted by offset, also over crashes.
- `rates_hourly` names the snapshot of `transactions` it was computed from; whatever differs since is computed again.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import FrameType

from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_maintenance import expire, maintain
from services.adapters.mongo import client
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.s3 import ObjectStore
from services.domain.dimensions import DEFAULT, Dimension
from services.errors import Conflict, Unavailable
from services.lake_schema import LABELS_TABLE, LABELS_TOPIC, TABLES, TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC
from services.settings import Settings
from services.worker_status import Reporter, WorkerState
from workers import entry
from workers.curator_rollup import mapped_dimensions, roll_up
from workers.curator_topics import Folded, TopicFolder

log = logging.getLogger(__name__)

NAME = "curator"
MAINTENANCE_SECONDS = 3600.0
_EXPIRY_SECONDS = 300.0
# While there is a backlog, charts still move on this often.
_ROLLUP_SECONDS = 30.0
# Rollups may take this share of a core, except that they need not hold back while each is less work than that many
# seconds, and no chart waits longer for one than that.
_ROLLUP_SHARE, _ROLLUP_FREE_SECONDS, _ROLLUP_REST_SECONDS = 0.1, 0.5, 20.0
_MAX_BACKOFF_SECONDS = 15.0


class Curator:
    """One process; a second one is harmless (one of two commits wins) but useless."""

    def __init__(
        self,
        lake: IcebergLake,
        objects: ObjectStore,
        reporter: Reporter,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        after_fold: Callable[[str], None] = lambda _table: None,
        dimensions: Sequence[Dimension] = DEFAULT,
    ) -> None:
        """`after_fold` is called with the table between its commit and the rollup: where a crash leaves old rates.

        `dimensions` are what the rollup is by.
        """
        self._lake, self._objects, self._reporter, self._clock = lake, objects, reporter, clock
        self._after_fold = after_fold
        self._dimensions = dimensions
        self._topics = (
            TopicFolder(lake, objects, TRANSACTIONS_TOPIC, TRANSACTIONS_TABLE, progress=self._beat),
            TopicFolder(lake, objects, LABELS_TOPIC, LABELS_TABLE, progress=self._beat),
        )
        self._rolled_up_at = self._roll_up_from = float("-inf")
        self._maintained_at: float | None = None
        self._expired_at = 0.0

    def cycle(self) -> bool:
        """Fold what there is, at most one chunk a topic. True when more is waiting."""
        more = False
        for topic in self._topics:
            folded = topic.fold()
            if folded is not None:
                more = more or folded.more
                self._after_fold(topic.table.name)
                self._report(topic, folded)
        if time.monotonic() >= self._roll_up_from and (
            not more or time.monotonic() - self._rolled_up_at >= _ROLLUP_SECONDS
        ):
            self._roll_up()
        if not more:
            self._reporter.beat(lag_seconds=0.0)
            self._maintain_if_due()
        return more

    def _roll_up(self) -> None:
        """Large days take a second or more of work each time: then the next one waits, and makes up for both."""
        begun = time.process_time()
        roll_up(self._lake, self._clock(), self._beat, self._dimensions)
        spent = time.process_time() - begun
        self._rolled_up_at = time.monotonic()
        rest = min(spent / _ROLLUP_SHARE, _ROLLUP_REST_SECONDS) if spent > _ROLLUP_FREE_SECONDS else 0.0
        self._roll_up_from = self._rolled_up_at + rest

    def _beat(self) -> None:
        self._reporter.beat()

    def _report(self, topic: TopicFolder, folded: Folded) -> None:
        lag = (self._clock() - folded.cluster_time).total_seconds() if folded.more and folded.cluster_time else 0.0
        self._reporter.beat(
            counts={"folded": folded.folded, "quarantined": folded.quarantined},
            lag_seconds=max(0.0, lag),
            position={**self._lake_position(), topic.name: folded.next_offset},
            force=True,
        )

    def _lake_position(self) -> dict[str, int]:
        return {topic.name: topic.next_offset for topic in self._topics}

    def _maintain_if_due(self) -> None:
        """Not in the first minute, so that a restart is quick; then at most hourly, expiry more often."""
        now = time.monotonic()
        if self._maintained_at is None:
            self._maintained_at, self._expired_at = now - MAINTENANCE_SECONDS + 60, now
        if now - self._expired_at >= _EXPIRY_SECONDS:
            self._expired_at = now
            for name in TABLES:
                expire(self._lake, name, now=self._clock())
        if now - self._maintained_at < MAINTENANCE_SECONDS:
            return
        self._maintained_at = now
        for name in TABLES:
            done = maintain(self._lake, self._objects, name, now=self._clock())
            log.info("curator.maintained %s: %d snapshots expired, %d files deleted", name, done.expired, done.deleted)
            self._reporter.beat()


def run(settings: Settings, stop: threading.Event) -> None:
    """Fold until `stop` is set."""
    db = client.connect(settings, app="fraud-desk-curator")
    reporter = Reporter(NAME, MongoStatusStore(db))
    lake = IcebergLake(settings, patient=True)
    try:
        reporter.beat(WorkerState.STARTING)
        _keep_folding(settings, lake, reporter, stop)
        reporter.beat(WorkerState.STOPPED, force=True)
    except Exception as error:
        reporter.beat(WorkerState.FAILED, error=f"The curator stopped: {type(error).__name__}.", force=True)
        raise
    finally:
        lake.close()
        db.client.close()


def _keep_folding(settings: Settings, lake: IcebergLake, reporter: Reporter, stop: threading.Event) -> None:
    """Cycle after cycle, ever more patiently while only a dependency is at fault."""
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=10.0, attempts=2)
    curator: Curator | None = None
    failures = 0
    while not stop.is_set():
        try:
            if curator is None:
                lake.ensure()
                curator = Curator(lake, objects, reporter, dimensions=mapped_dimensions(settings.mapping))
            more = curator.cycle()
            failures = 0
            if not more:
                _wait(stop, reporter, WorkerState.RUNNING, settings.curator_interval_seconds)
        except (Unavailable, Conflict) as error:
            failures += 1
            pause = min(_MAX_BACKOFF_SECONDS, 0.5 * 2 ** min(failures, 6))
            log.warning("curator.waiting %.1f s: %s", pause, error.message)
            reporter.beat(WorkerState.WAITING, error=f"{error.message} Nothing is lost: it is tried again.")
            _wait(stop, reporter, WorkerState.WAITING, pause)


def _wait(stop: threading.Event, reporter: Reporter, state: WorkerState, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        stop.wait(min(left, 1.0))
        reporter.beat(state)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("pyiceberg", "botocore"):  # a line for every file they open
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = Settings.from_environment()
    # Documents by the thousand and no cycles among them: collecting them as usual costs a quarter of the time.
    gc.set_threshold(100_000, 20, 100)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    run(settings, stop)
    return 0


if __name__ == "__main__":
    entry.run(main)
