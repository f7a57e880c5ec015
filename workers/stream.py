"""MongoDB -> raw zone: `python -m workers.stream`; by way of Kafka: `--to kafka` and `--from kafka`, a process each.

Where Kafka and its managed connectors are deployed they do this; these processes write the same objects, so nobody
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
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from types import FrameType
from typing import NoReturn

from services.adapters.change_stream import ChangeSource
from services.adapters.kafka import Cluster, Sender
from services.adapters.mongo import client, schema
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.s3 import ObjectStore
from services.adapters.stream_place import Controls, PlaceStore
from services.errors import HistoryLost, InvalidData, ServiceError, Unavailable
from services.settings import MissingSettings, Settings
from services.worker_status import Reporter, WorkerState
from workers import entry, kafka_sink
from workers.stream_loop import TOPICS, Limits, Stream
from workers.stream_patience import keep_trying
from workers.stream_targets import KafkaTopics, RawZone, Target

log = logging.getLogger(__name__)

NAME = "stream"
# Its place when it fills Kafka's topics: another one, because the raw zone is then somebody else's.
TO_KAFKA = "stream-kafka"


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    to_kafka: bool = False,
    after_put: Callable[[str], None] = lambda _key: None,
) -> None:
    """Stream until `stop` is set. Raises HistoryLost when only a person can decide how to go on."""
    db = client.connect(settings, timeout_seconds=10.0, app="fraud-desk-stream")
    reporter = Reporter(NAME, MongoStatusStore(db))
    places = PlaceStore(db, TO_KAFKA if to_kafka else NAME)
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=5.0)

    def target() -> Target:
        if to_kafka:
            return KafkaTopics(Sender(cluster(settings)), places, TOPICS.values())
        return RawZone(objects, places, after_put)

    try:
        reporter.beat(WorkerState.STARTING)
        _keep_streaming(settings, db, places, target, reporter, stop)
        reporter.beat(WorkerState.STOPPED, force=True)
    except ServiceError as error:
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
    target: Callable[[], Target],
    reporter: Reporter,
    stop: threading.Event,
) -> None:
    """Begin again at the committed place, ever more patiently, as long as only a dependency is at fault."""
    limits = Limits(settings.stream_flush_events, settings.stream_flush_bytes, settings.stream_flush_seconds)
    controls = Controls(db, NAME)

    def attempt() -> None:
        schema.ensure(db)
        with closing(target()) as opened:
            Stream(ChangeSource(db, tuple(TOPICS)), places, controls, opened, reporter, limits, stop=stop).run()

    keep_trying(attempt, reporter, stop, "Nothing is lost: changes are kept and read again.")


def cluster(settings: Settings) -> Cluster:
    """Raises MissingSettings where no brokers are named."""
    if not settings.kafka_bootstrap:
        raise MissingSettings("Nothing was started: set FRAUD_DESK_KAFKA_BOOTSTRAP to host:port of the Kafka brokers.")
    return Cluster(settings.kafka_bootstrap, settings.region, settings.kafka_iam)


class _Parser(argparse.ArgumentParser):
    """Refuses with one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"Nothing was started: {message} (see python -m workers.stream --help).\n")


def main(arguments: Sequence[str] = ()) -> int:
    """0 asked to end, 1 refused by Kafka, 2 unknown arguments or variables missing, 3 history lost."""
    parser = _Parser(prog="python -m workers.stream", description="MongoDB -> raw zone", allow_abbrev=False)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--to", choices=["kafka"], help="MongoDB -> the topics of Kafka, instead of the raw zone")
    ways.add_argument("--from", choices=["kafka"], dest="source", help="the topics of Kafka -> raw zone")
    parser.add_argument("--after-gap", action="store_true", help="with --from kafka: begin at the oldest record left")
    chosen = parser.parse_args(arguments)
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
        if chosen.source:
            kafka_sink.run(settings, cluster(settings), stop, after_gap=chosen.after_gap)
        else:
            if chosen.to:
                cluster(settings)
            run(settings, stop, to_kafka=bool(chosen.to))
    except HistoryLost as error:
        log.error("stream.history_lost: %s", error.message)
        return 3
    except InvalidData as error:
        log.error("stream.refused: %s", error.message)
        return 1
    return 0


if __name__ == "__main__":
    entry.run(lambda: main(sys.argv[1:]))
