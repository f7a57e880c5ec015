"""MongoDB -> raw zone: `python -m workers.stream`.

Where Kafka and its managed S3 sink are deployed they do this; this process writes the same objects, so nobody
downstream can tell. Invariants:

- An object is stored before its place is committed, and is named after its first offset. A crash in between leaves an
  object that the next run writes again under the same name, with at least the same changes first.
- The objects of all topics that were filled together are committed together, with the one mark that resumes them.
- At most one filled set is on its way while the next one fills; sets are stored and committed in order.
- Whatever fails, the next attempt begins at the committed place: nothing is lost, nothing is skipped.
"""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from services.adapters.change_stream import ChangeSource
from services.adapters.mongo import client, schema
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.s3 import ObjectStore
from services.adapters.stream_place import Controls, PlaceStore
from services.errors import Conflict, HistoryLost, Unavailable
from services.settings import Settings
from services.worker_status import Reporter, WorkerState
from workers import entry
from workers.stream_loop import TOPICS, Limits, Stream

log = logging.getLogger(__name__)

NAME = "stream"
_MAX_BACKOFF_SECONDS = 15.0


def run(settings: Settings, stop: threading.Event, *, after_put: Callable[[str], None] = lambda _key: None) -> None:
    """Stream until `stop` is set. Raises HistoryLost when only a person can decide how to go on."""
    db = client.connect(settings, timeout_seconds=10.0, app="fraud-desk-stream")
    reporter = Reporter(NAME, MongoStatusStore(db))
    places = PlaceStore(db, NAME)
    try:
        reporter.beat(WorkerState.STARTING)
        _keep_streaming(settings, db, places, reporter, stop, after_put)
        reporter.beat(WorkerState.STOPPED, force=True)
    except HistoryLost as error:
        reporter.beat(WorkerState.FAILED, error=error.message, force=True)
        raise
    except Exception as error:
        reporter.beat(WorkerState.FAILED, error=f"The stream stopped: {type(error).__name__}.", force=True)
        raise
    finally:
        with suppress(Unavailable):
            places.release()
        db.client.close()


def _keep_streaming(
    settings: Settings,
    db: client.Db,
    places: PlaceStore,
    reporter: Reporter,
    stop: threading.Event,
    after_put: Callable[[str], None],
) -> None:
    """Begin again at the committed place, ever more patiently, as long as only a dependency is at fault."""
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=5.0)
    limits = Limits(settings.stream_flush_events, settings.stream_flush_bytes, settings.stream_flush_seconds)
    controls = Controls(db, NAME)
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            schema.ensure(db)
            source = ChangeSource(db, tuple(TOPICS))
            stream = Stream(source, places, controls, objects, reporter, limits, stop=stop, after_put=after_put)
            stream.run()
        except (Unavailable, Conflict) as error:
            failures = 1 if time.monotonic() - began > 60 else failures + 1
            pause = min(_MAX_BACKOFF_SECONDS, 0.5 * 2 ** min(failures, 6))
            log.warning("stream.waiting %.1f s: %s", pause, error.message)
            _wait(stop, reporter, pause, f"{error.message} Nothing is lost: changes are kept and read again.")


def _wait(stop: threading.Event, reporter: Reporter, seconds: float, reason: str) -> None:
    until = time.monotonic() + seconds
    reporter.beat(WorkerState.WAITING, error=reason)
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        stop.wait(min(left, 1.0))
        reporter.beat(WorkerState.WAITING)


class _Parser(argparse.ArgumentParser):
    """Refuses with one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"Nothing was started: {message} (see python -m workers.stream --help).\n")


def main(arguments: Sequence[str] = ()) -> int:
    """0 asked to end, 2 unknown arguments or variables missing, 3 history lost."""
    parser = _Parser(prog="python -m workers.stream", description="MongoDB -> raw zone", allow_abbrev=False)
    parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    settings = Settings.from_environment()
    # Documents by the thousand and no cycles among them: collecting them as usual costs a quarter of the time.
    gc.set_threshold(100_000, 20, 100)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        run(settings, stop)
    except HistoryLost as error:
        log.error("stream.history_lost: %s", error.message)
        return 3
    return 0


if __name__ == "__main__":
    entry.run(lambda: main(sys.argv[1:]))
