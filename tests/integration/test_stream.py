"""The stream against a real mongod and S3: layout, no gap and no double over kills, fencing, outages."""

from __future__ import annotations

import dataclasses
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from botocore.config import Config
from bson import Decimal128
from pymongo.errors import OperationFailure

from services.adapters import change_reader, stream_place
from services.adapters.change_stream import ChangeSource
from services.adapters.mongo.client import Db
from services.adapters.s3 import ObjectStore
from services.adapters.stream_place import Place, PlaceStore
from services.errors import Conflict, HistoryLost, NotFound
from services.settings import Settings
from workers import stream

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def transactions(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {"_id": f"t{n:05d}", "event_time": NOON, "amount_minor": n, "n": 0, "version": 1}
        for n in range(first, first + count)
    ]


def objects(settings: Settings) -> ObjectStore:
    return ObjectStore(settings.bucket, region=settings.region)


def events(settings: Settings, topic: str = "fraud.transactions") -> list[dict[str, Any]]:
    """All lines of a topic in order; asserts that each object begins with the offset in its name."""
    store, lines = objects(settings), []
    for info in store.list(f"raw/topics/{topic}/"):
        inside = [orjson.loads(line) for line in gzip.decompress(store.get(info.key)[0]).splitlines()]
        assert int(info.key.rsplit("+", 1)[1].removesuffix(".json.gz")) == inside[0]["offset"]
        hours = {line["clusterTime"][:13] for line in inside}
        assert len(hours) == 1
        year, month, day_hour = hours.pop().split("-")
        assert f"/year={year}/month={month}/day={day_hour[:2]}/hour={day_hour[3:]}/" in info.key
        lines += inside
    return lines


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """The stream in a thread; stopped as by SIGTERM, and its failure raised."""
    stop, failure = threading.Event(), []

    def work() -> None:
        try:
            stream.run(settings, stop)
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
    if failure:
        raise failure[0]


def committed(db: Db, topic: str = "fraud.transactions") -> int:
    place = db["positions"].find_one({"_id": "stream"}) or {}
    return int(place.get("offsets", {}).get(topic, 0))


def test_what_is_there_is_copied_and_then_every_change_follows_in_order(settings: Settings, db: Db) -> None:
    db["transactions"].insert_many(transactions(0, 3))
    db["labels"].insert_one({"_id": "t00000:analyst:1", "transaction_id": "t00000", "labelled_at": NOON})
    with running(settings):
        until(lambda: committed(db) == 3 and committed(db, "fraud.labels") == 1)
        db["transactions"].insert_many(transactions(3, 1))
        db["transactions"].update_one({"_id": "t00000"}, {"$set": {"n": 1}})
        db["transactions"].update_one({"_id": "t00000"}, {"$set": {"n": 2}})
        db["transactions"].delete_one({"_id": "t00001"})
        until(lambda: committed(db) == 7)
    lines = events(settings)
    assert [(line["operationType"], line["documentKey"]["_id"]) for line in lines] == [
        ("copy", "t00000"), ("copy", "t00001"), ("copy", "t00002"),
        ("insert", "t00003"), ("update", "t00000"), ("update", "t00000"), ("delete", "t00001"),
    ]  # fmt: skip
    assert [line["offset"] for line in lines] == list(range(7))
    assert [line["fullDocument"]["n"] for line in lines[4:6]] == [1, 2]  # post-images, not the state at reading
    assert lines[0]["fullDocument"]["event_time"] == "2026-03-01T12:00:00.000Z"
    assert set(lines[0]) == {"operationType", "clusterTime", "documentKey", "fullDocument", "offset"}
    status = db["workers"].find_one({"_id": "stream"})
    assert status is not None
    assert status["state"] == "stopped"
    assert status["counts"]["transactions"] == 7


def test_a_restart_goes_on_where_it_was_and_objects_are_cut_by_count(settings: Settings, db: Db) -> None:
    small = dataclasses.replace(settings, stream_flush_events=4)
    with running(small):
        until(
            lambda: (
                db["positions"].find_one({"_id": "stream", "copying": None, "started_at": {"$ne": None}}) is not None
            )
        )
    db["transactions"].insert_many(transactions(0, 10))
    with running(small):
        until(lambda: committed(db) == 10)
    lines = events(settings)
    assert [line["documentKey"]["_id"] for line in lines] == [f"t{n:05d}" for n in range(10)]
    sizes = [
        len(gzip.decompress(objects(settings).get(info.key)[0]).splitlines())
        for info in objects(settings).list("raw/topics/fraud.transactions/")
    ]
    assert sizes == [4, 4, 2]


CRASHING = """
import os, random, signal, sys, threading
from services.settings import Settings
from workers import stream
chance = random.Random(int(sys.argv[1]))
def crash(key):
    if chance.random() < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stream.run(Settings.from_environment(), stop, after_put=crash)
"""


def environment(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "MONGODB_URI": settings.mongodb_uri,
        "FRAUD_DESK_DATABASE": settings.database,
        "FRAUD_DESK_BUCKET": settings.bucket,
        "FRAUD_DESK_CATALOG": settings.catalog_uri,
        "FRAUD_DESK_STREAM_FLUSH_EVENTS": "40",
        "FRAUD_DESK_STREAM_FLUSH_SECONDS": "0.1",
        "PYTHONPATH": str(ROOT),
    }


def test_killed_between_object_and_commit_nothing_is_lost_or_doubled(settings: Settings, db: Db) -> None:
    db["transactions"].insert_many(transactions(0, 100))
    expected = 100
    kills = 0
    for seed in range(6):
        process = subprocess.Popen([sys.executable, "-c", CRASHING, str(seed)], env=environment(settings))
        db["transactions"].insert_many(transactions(expected, 50))
        db["transactions"].update_many({"_id": {"$in": [f"t{n:05d}" for n in range(20)]}}, {"$inc": {"n": 1}})
        expected += 50
        try:
            assert process.wait(20) == -signal.SIGKILL
            kills += 1
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(20)
    with running(settings):
        done = {"_id": "end", "n": 0}
        db["transactions"].insert_one(done)
        until(lambda: any(line["documentKey"]["_id"] == "end" for line in events(settings)))
    lines = events(settings)
    assert kills >= 3
    assert [line["offset"] for line in lines] == list(range(len(lines)))
    folded: dict[str, int] = {}
    for line in lines:
        folded[line["documentKey"]["_id"]] = line["fullDocument"]["n"]
    assert folded == {document["_id"]: document["n"] for document in db["transactions"].find()}
    changes = [(line["documentKey"]["_id"], line["fullDocument"]["n"]) for line in lines]
    streamed = [change for change, line in zip(changes, lines, strict=True) if line["operationType"] != "copy"]
    assert len(set(streamed)) == len(streamed)


def test_a_process_that_was_stopped_past_its_lease_cannot_commit(
    settings: Settings, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_place, "LEASE_SECONDS", 0.3)
    zombie, successor = PlaceStore(db, "stream"), PlaceStore(db, "stream")
    zombie.claim()
    with pytest.raises(Conflict):
        successor.claim()
    until(lambda: _claims(successor), 5)
    successor.commit(Place(offsets={"fraud.transactions": 5}))
    with pytest.raises(Conflict):
        zombie.require_held()
    with pytest.raises(Conflict):
        zombie.commit(Place(offsets={"fraud.transactions": 1}))
    assert committed(db) == 5


def _claims(places: PlaceStore) -> bool:
    try:
        places.claim()
    except Conflict:
        return False
    return True


def test_while_s3_is_down_the_stream_waits_says_so_and_loses_nothing(
    settings: Settings, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    db["transactions"].insert_many(transactions(0, 5))
    original, down = ObjectStore.put_if, threading.Event()
    down.set()

    def put(self: ObjectStore, key: str, body: bytes, *, former_etag: str | None) -> None:
        if down.is_set():
            dead = ObjectStore("bucket", region="x", client=unreachable())
            original(dead, key, body, former_etag=former_etag)
        original(self, key, body, former_etag=former_etag)

    monkeypatch.setattr(ObjectStore, "put_if", put)
    with running(settings):
        until(lambda: db["workers"].find_one({"_id": "stream", "state": "waiting"}) is not None)
        status = db["workers"].find_one({"_id": "stream"})
        assert status is not None
        assert status["last_error"]["message"].startswith("S3 is not reachable.")
        down.clear()
        until(lambda: committed(db) == 5)
    assert len(events(settings)) == 5


def unreachable() -> Any:
    config = Config(connect_timeout=0.2, retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url="http://127.0.0.1:1", region_name="eu-central-1", config=config)


def test_lost_history_stops_with_the_command_that_repairs_it(
    settings: Settings, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    db["transactions"].insert_many(transactions(0, 2))
    with running(settings):
        until(lambda: committed(db) == 2)
    original = ChangeSource.changes

    def lost(self: ChangeSource, place: Place, **_: Any) -> Any:
        with change_reader.history():
            raise OperationFailure("resume point gone", 286)

    monkeypatch.setattr(ChangeSource, "changes", lost)
    with pytest.raises(HistoryLost, match="python -m services backfill"):
        stream.run(settings, threading.Event())
    status = db["workers"].find_one({"_id": "stream"})
    assert status is not None
    assert status["state"] == "failed"
    assert "286" in status["last_error"]["message"]
    monkeypatch.setattr(ChangeSource, "changes", original)
    db["transactions"].delete_one({"_id": "t00000"})
    command = [sys.executable, "-m", "services", "backfill"]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("Epoch 2 begins:")
    with running(settings):
        until(lambda: committed(db) == 4 and committed(db, "fraud.labels") == 1)
        db["transactions"].delete_one({"_id": "t00001"})
        until(lambda: committed(db) == 5)
    lines = events(settings)
    assert [(line["operationType"], line["documentKey"]["_id"], line["offset"]) for line in lines] == [
        ("copy", "t00000", 0), ("copy", "t00001", 1),
        ("copy", "t00001", 2), ("epoch", "epoch:2", 3), ("delete", "t00001", 4),
    ]  # fmt: skip
    assert lines[3]["fullDocument"] == {"epoch": 2, "partition": 0, "partitions": 1}
    assert lines[2]["clusterTime"] == lines[3]["clusterTime"]
    assert max(line["clusterTime"] for line in lines[:2]) < lines[3]["clusterTime"] <= lines[4]["clusterTime"]
    assert [line["operationType"] for line in events(settings, "fraud.labels")] == ["epoch"]


def test_a_new_epoch_begins_while_the_stream_runs_and_not_before_the_first(settings: Settings, db: Db) -> None:
    with pytest.raises(NotFound, match="Nothing was changed"):
        PlaceStore(db, "stream").begin_epoch()
    db["transactions"].insert_many(transactions(0, 3))
    with running(settings):
        until(lambda: committed(db) == 3)
        assert PlaceStore(db, "stream").begin_epoch() == 2
        until(lambda: committed(db) == 7)
    operations = [line["operationType"] for line in events(settings)]
    assert operations == ["copy"] * 6 + ["epoch"]


def test_a_paused_stream_keeps_its_place_and_says_who_paused_it(settings: Settings, db: Db) -> None:
    db["transactions"].insert_many(transactions(0, 3))
    with running(settings):
        until(lambda: committed(db) == 3)
        db["controls"].insert_one({"_id": "stream", "paused": True, "by": "Ada Admin", "at": NOON})
        until(lambda: db["workers"].find_one({"_id": "stream", "state": "waiting"}) is not None)
        db["transactions"].insert_many(transactions(3, 3))
        status = db["workers"].find_one({"_id": "stream"})
        assert status is not None
        assert status["last_error"]["message"] == "Paused by Ada Admin at 2026-03-01 12:00:00 UTC."
        with pytest.raises(Conflict):  # it keeps its lease
            PlaceStore(db, "stream").claim()
        assert committed(db) == 3
        db["controls"].update_one({"_id": "stream"}, {"$set": {"paused": False}})
        until(lambda: committed(db) == 6)
    assert [line["documentKey"]["_id"] for line in events(settings)] == [f"t{n:05d}" for n in range(6)]


def test_arguments_nobody_knows_are_refused_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        stream.main(["--copy-again"])
    assert ended.value.code == 2
    assert "Nothing was started: unrecognized arguments: --copy-again" in capsys.readouterr().err


def test_objects_are_cut_by_bytes(settings: Settings, db: Db) -> None:
    db["transactions"].insert_many([{"_id": f"t{n}", "text": "x" * 1000} for n in range(9)])
    with running(dataclasses.replace(settings, stream_flush_bytes=3000)):
        until(lambda: committed(db) == 9)
    keys = [info.key for info in objects(settings).list("raw/topics/fraud.transactions/")]
    assert [int(key[-18:-8]) for key in keys] == [0, 3, 6]


def test_documents_no_json_can_hold_pass_and_a_dropped_collection_stops_the_stream(settings: Settings, db: Db) -> None:
    with running(settings):
        odd = {"_id": "odd", "nan": float("nan"), "d": Decimal128("1"), "b": b"x", "a.b": {"$x": 1}, "z": "\x00"}
        db["transactions"].insert_one(odd)
        until(lambda: committed(db) == 1)
    (line,) = events(settings)
    assert line["fullDocument"]["nan"] == {"$numberDouble": "nan"}
    db["transactions"].drop()
    with pytest.raises(HistoryLost, match="removed or renamed"):
        stream.run(settings, threading.Event())
