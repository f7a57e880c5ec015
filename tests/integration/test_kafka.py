"""MongoDB -> Kafka -> raw zone, three processes and real protocol: nothing lost over kills, rebalances, poison."""

from __future__ import annotations

import base64
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from services.adapters.kafka import Cluster, Receiver
from services.adapters.mongo.client import Db
from services.adapters.s3 import ObjectStore
from services.adapters.stream_place import PlaceStore
from services.errors import HistoryLost
from services.settings import Settings
from tests.integration.kafka_cluster import brokers
from tests.integration.lake_desk import Desk
from tests.integration.test_stream import environment, transactions
from workers import kafka_sink, stream
from workers.stream_targets import gunzip

ROOT = Path(__file__).parents[2]
TOPIC = "fraud.transactions"


@pytest.fixture
def bootstrap() -> Iterator[str]:
    with brokers() as addresses:
        yield addresses


@contextmanager
def worker(settings: Settings, bootstrap: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    extra = {"FRAUD_DESK_KAFKA_BOOTSTRAP": bootstrap}
    command = [sys.executable, "-m", "workers.stream", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(settings) | extra)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def raw(settings: Settings, topic: str = TOPIC) -> dict[int, list[dict[str, Any]]]:
    """The lines of every partition; asserts that objects are named after their first offset."""
    store = ObjectStore(settings.bucket, region=settings.region)
    partitions: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for info in sorted(store.list(f"raw/topics/{topic}/"), key=lambda info: info.key.rsplit("+", 1)[1]):
        lines = [orjson.loads(line) for line in gunzip(store.get(info.key)[0]).splitlines()]
        name, partition, rest = info.key.rsplit("/", 1)[1].split("+")
        assert name == topic
        assert [line["offset"] for line in lines] == list(range(int(rest[:10]), int(rest[:10]) + len(lines)))
        partitions[int(partition)] += lines
    return partitions


def folded(settings: Settings) -> dict[str, int]:
    """Document id -> n, the latest of each by cluster time and offset."""
    latest: dict[str, tuple[str, int, int]] = {}
    for lines in raw(settings).values():
        for line in lines:
            if line["operationType"] == "epoch":
                continue
            document = line["fullDocument"]
            found = (line["clusterTime"], line["offset"], document["n"] if document else -1)
            name = line["documentKey"]["_id"]
            latest[name] = max(latest.get(name, found), found)
    return {name: n for name, (_, _, n) in latest.items() if n >= 0}


def until_equal(settings: Settings, db: Db, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        wanted = {document["_id"]: document["n"] for document in db["transactions"].find()}
        if folded(settings) == wanted:
            return
        assert time.monotonic() < deadline, "the raw zone does not become what MongoDB has"
        time.sleep(0.3)


def test_through_kafka_raw_zone_and_lake_equal_the_source_over_kills_of_either_side_and_a_new_epoch(
    settings: Settings, db: Db, bootstrap: str, desk: Desk
) -> None:
    db["transactions"].insert_many(transactions(0, 300))
    for round_, victim in enumerate(("--to", "--from", "")):
        with (
            worker(settings, bootstrap, "--to", "kafka") as sender,
            worker(settings, bootstrap, "--from", "kafka") as sink,
        ):
            first = 300 + round_ * 100
            for start in range(first, first + 100, 20):
                db["transactions"].insert_many(transactions(start, 20))
                db["transactions"].update_many({"_id": {"$lt": "t00030"}}, {"$inc": {"n": 1000, "amount_minor": 1000}})
                time.sleep(0.15)
            db["transactions"].delete_one({"_id": f"t{first:05d}"})
            if victim:
                doomed = sender if victim == "--to" else sink
                os.kill(doomed.pid, signal.SIGKILL)
                assert doomed.wait(10) == -signal.SIGKILL
            else:
                until_equal(settings, db)
    partitions = raw(settings)
    assert len(partitions) > 1
    for lines in partitions.values():
        offsets = [line["offset"] for line in lines]
        assert sorted(set(offsets)) == list(range(max(offsets) + 1))  # no gap
    homes: dict[str, set[int]] = defaultdict(set)
    for partition, lines in partitions.items():
        for line in lines:
            homes[line["documentKey"]["_id"]].add(partition)
    assert all(len(home) == 1 for home in homes.values())  # in order: each document has one partition
    first_line = min(partitions[min(partitions)], key=lambda line: line["offset"])
    assert set(first_line) == {"operationType", "clusterTime", "documentKey", "fullDocument", "offset"}
    desk.fold()
    assert in_lake(desk) == in_mongodb(db)

    db["transactions"].delete_one({"_id": "t00001"})  # in a gap: the new epoch begins after it
    assert PlaceStore(db, stream.TO_KAFKA).begin_epoch() == 2
    with worker(settings, bootstrap, "--to", "kafka"), worker(settings, bootstrap, "--from", "kafka"):
        until_markers(settings)
    assert "t00001" in folded(settings)
    desk.fold()
    assert in_lake(desk) == in_mongodb(db)


def in_lake(desk: Desk) -> dict[str, int]:
    return {name: row["amount_minor"] for name, row in desk.rows().items()}


def in_mongodb(db: Db) -> dict[str, int]:
    return {document["_id"]: document["amount_minor"] for document in db["transactions"].find()}


def until_markers(settings: Settings, seconds: float = 90.0) -> None:
    """Until the copy of the new epoch has ended in every partition."""
    deadline = time.monotonic() + seconds
    while True:
        everything = [line for lines in raw(settings).values() for line in lines]
        told = [line["fullDocument"] for line in everything if line["operationType"] == "epoch"]
        if told and {marker["partition"] for marker in told} == set(range(told[0]["partitions"])):
            return
        assert time.monotonic() < deadline, "the copy does not end"
        time.sleep(0.3)


def test_two_sinks_share_the_partitions_and_poison_becomes_a_line(settings: Settings, db: Db, bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    good = {"operationType": "insert", "clusterTime": "2026-03-01T12:00:00.000Z", "documentKey": {"_id": "a"}}
    for n in range(400):
        body = orjson.dumps(good | {"documentKey": {"_id": f"a{n}"}, "fullDocument": {"_id": f"a{n}", "n": n}})
        producer.produce(TOPIC, body, str(n).encode())
    producer.produce(TOPIC, b"not { json\nat all", b"poison")
    producer.produce(TOPIC, orjson.dumps(good | {"clusterTime": {"$timestamp": {"t": 1772366400, "i": 1}}}), b"other")
    producer.produce(TOPIC, None, b"tombstone")
    assert producer.flush(10) == 0
    store = ObjectStore(settings.bucket, region=settings.region)

    def lines() -> list[Any]:
        keys = [info.key for info in store.list(f"raw/topics/{TOPIC}/")]
        return [orjson.loads(line) for key in keys for line in gunzip(store.get(key)[0]).splitlines()]

    with worker(settings, bootstrap, "--from", "kafka"), worker(settings, bootstrap, "--from", "kafka"):
        deadline = time.monotonic() + 90
        while len(lines()) < 403:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    everything = lines()
    assert len(everything) == 403
    assert {line["documentKey"]["_id"] for line in everything if isinstance(line, dict)} == {
        *(f"a{n}" for n in range(400)),
        "a",
    }
    assert [line for line in everything if not isinstance(line, dict)].count(None) == 1
    folders = {info.key.rsplit("/", 1)[0] for info in store.list(f"raw/topics/{TOPIC}/")}
    assert f"raw/topics/{TOPIC}/year=2026/month=03/day=01/hour=12" in folders


def test_records_that_kafka_no_longer_has_stop_the_sink(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(TOPIC, b"{}", b"k", partition=0)
    assert producer.flush(10) == 0
    member = Consumer({"bootstrap.servers": bootstrap, "group.id": "g"})
    member.commit(offsets=[TopicPartition(TOPIC, 0, 5_000)], asynchronous=False)
    member.close()
    receiver = Receiver(Cluster(bootstrap, "eu-central-1"), "g", [TOPIC], on_revoked=lambda _partitions, _lost: None)
    try:
        with pytest.raises(HistoryLost, match="--after-gap"):
            _receive_until_it_fails(receiver)
    finally:
        receiver.close()


def _receive_until_it_fails(receiver: Receiver) -> None:
    for _ in range(40):
        receiver.receive(10, 0.5)


def test_msk_is_signed_in_to_with_the_aws_credentials_in_force(s3_endpoint: str) -> None:
    cluster = Cluster("b-1.example.com:9098", "eu-central-1", iam=True)
    configuration = cluster.configuration()
    assert (configuration["security.protocol"], configuration["sasl.mechanism"]) == ("SASL_SSL", "OAUTHBEARER")
    token, expires = configuration["oauth_cb"]("")
    asked = urlparse(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert asked.hostname == "kafka.eu-central-1.amazonaws.com"
    assert parse_qs(asked.query)["Action"] == ["kafka-cluster:Connect"]
    assert datetime.fromtimestamp(expires, UTC) > datetime.now(UTC)


def test_a_crash_between_object_and_commit_leaves_an_object_that_the_next_reader_goes_on_after(
    settings: Settings, db: Db, bootstrap: str
) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})

    def produce(first: int, count: int) -> None:
        for n in range(first, first + count):
            record = {"operationType": "insert", "clusterTime": "2026-03-01T12:00:00.000Z", "n": n}
            producer.produce(TOPIC, orjson.dumps(record), b"k", partition=0)
        assert producer.flush(10) == 0

    def crash(_key: str) -> None:
        raise KeyboardInterrupt

    produce(0, 10)
    cluster = Cluster(bootstrap, settings.region)
    small = dataclasses.replace(settings, stream_flush_events=10)
    with pytest.raises(KeyboardInterrupt):
        kafka_sink.run(small, cluster, threading.Event(), after_put=crash)
    produce(10, 15)
    # The object of the crash has ten lines; the next reader would put five in it.
    stop = threading.Event()
    next_one = dataclasses.replace(settings, stream_flush_events=5, stream_flush_seconds=0.5)
    sink = threading.Thread(target=kafka_sink.run, args=(next_one, cluster, stop))
    sink.start()
    try:
        deadline = time.monotonic() + 60
        while sum(map(len, raw(settings).values())) < 25:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        stop.set()
        sink.join(20)
    (lines,) = raw(settings).values()
    assert [line["n"] for line in lines] == list(range(25))
