"""Reconciliation against a real mongod, S3, stream and curator, judged by an oracle in plain Python."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from services import reconciliation
from services.access import Actor, Role
from services.adapters.mongo.client import Db
from services.adapters.mongo.reconciliation import MongoSource
from services.domain.states import RunState
from services.lake_schema import TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC
from services.reconciliation import Reconciliation
from services.reconciliation_compare import COLUMNS
from services.reconciliation_run import Run
from services.settings import Settings
from tests.integration.lake_desk import Desk
from workers import stream

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 4
ADMIN = Actor("a", "Ada Novak", Role.ADMIN)
PATHS = {"transaction_id": "_id", "merchant_id": "merchant.id", "category": "merchant.category", "score": "score.value"}
PATHS |= {"decision": "score.decision", "model_version": "score.model_version", "alert_status": "alert.status"}
PATHS |= {"label": "label.value", "label_source": "label.source"}


def document(rng: random.Random, number: int) -> dict[str, Any]:
    at = FIRST + timedelta(seconds=rng.randrange(DAYS * 86_400), milliseconds=rng.randrange(1000))
    made: dict[str, Any] = {
        "_id": f"t{number:05d}",
        "event_time": at,
        "received_at": at + timedelta(seconds=1),
        "amount_minor": rng.randrange(100_000),
        "currency": "EUR",
        "customer_id": f"c{rng.randrange(9)}",
        "merchant": {"id": f"m{rng.randrange(9)}", "category": rng.choice(["fuel", "travel"])},
        "version": 1,
    }
    if rng.random() < 0.6:
        made["score"] = {"value": rng.random(), "decision": "approve", "model_version": "v1"}
    if rng.random() < 0.2:
        made |= {"label": {"value": "fraud", "source": "analyst"}, "alert": {"status": "closed"}}
    return made


def text(value: Any) -> str:
    """A compared value as the digest's definition has it."""
    if value is None:
        return chr(30)
    if isinstance(value, datetime):
        return str(round((value - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)))
    return str(value)


def value_at(document: dict[str, Any], path: str) -> Any:
    found: Any = document
    for part in path.split("."):
        found = (found or {}).get(part)
    return found


def oracle(documents: list[dict[str, Any]]) -> dict[date, tuple[int, int, str]]:
    """Count, sum and checksum by day, in plain Python from the definition."""
    days: dict[date, tuple[int, int, int]] = {}
    for one in documents:
        joined = chr(31).join(text(value_at(one, PATHS.get(name, name))) for name in COLUMNS)
        digest = int.from_bytes(hashlib.md5(joined.encode()).digest()[8:], "little")
        count, amount, total = days.get(one["event_time"].date(), (0, 0, 0))
        days[one["event_time"].date()] = (count + 1, amount + one["amount_minor"], (total + digest) % 2**64)
    return {day: (count, amount, f"{total:016x}") for day, (count, amount, total) in days.items()}


@contextmanager
def streaming(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=stream.run, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


def wait_until(done: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_raw(db: Db) -> int:
    place = db["positions"].find_one({"_id": "stream"}) or {}
    return int(place.get("offsets", {}).get(TRANSACTIONS_TOPIC, 0))


@pytest.fixture
def filled(db: Db, desk: Desk, settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """600 transactions in MongoDB and in the lake, the stream running; the last change is younger than a minute."""
    documents = [document(random.Random(n), n) for n in range(600)]
    db["transactions"].insert_many(documents)
    with streaming(settings):
        wait_until(lambda: in_raw(db) >= 600)
        for one in documents[:50]:  # commit times that are not the copy's
            db["transactions"].update_one({"_id": one["_id"]}, {"$inc": {"version": 1}})
            one["version"] += 1
        wait_until(lambda: in_raw(db) >= 650)
        time.sleep(1.1)  # cluster times are whole seconds: this change alone is in the newest one
        db["transactions"].update_one({"_id": documents[50]["_id"]}, {"$inc": {"version": 1}})
        documents[50]["version"] += 1
        wait_until(lambda: in_raw(db) >= 651)
        desk.fold()
        yield documents


def reconcile(db: Db, desk: Desk, *, days: int = DAYS, **options: Any) -> Run:
    service = Reconciliation(MongoSource(db), desk.reader, **options)
    service.start(FIRST.date(), FIRST.date() + timedelta(days=days - 1), actor=ADMIN)
    run = service.wait(60)
    assert run is not None
    assert run.finished_at is not None
    return run


def tamper(desk: Desk, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], key: str) -> None:
    """Rewrite the day of one row in the lake behind the curator's back; the position stays."""
    state = desk.tables.state(TRANSACTIONS_TABLE.name)
    assert state is not None
    row = desk.rows()[key]
    parts = desk.tables.partitions(TRANSACTIONS_TABLE.name, starts=[row["event_time"].date()])
    rows = desk.tables.read_partitions(
        TRANSACTIONS_TABLE.name, list(parts.values()), TRANSACTIONS_TABLE.schema.names
    ).to_pylist()
    changed = pa.Table.from_pylist(change(rows), schema=TRANSACTIONS_TABLE.schema)
    desk.tables.replace(
        TRANSACTIONS_TABLE.name,
        [(list(parts.values()), changed)],
        state.position,
        expected_snapshot=state.snapshot_id,
    )


def test_a_faithful_lake_has_no_difference_and_the_figures_are_those_of_the_definition(db, desk, filled):
    run = reconcile(db, desk)
    assert (run.state, run.exact, run.differences, run.under_way) == (RunState.DONE, True, (), 1)
    expected = oracle([one for one in filled if one["_id"] != filled[50]["_id"]])  # in the newest second: under way
    for side in ("mongo", "lake"):
        found = {day.day: getattr(day, side) for day in run.days}
        assert {day: (f.rows, f.amount_minor, f.hex) for day, f in found.items()} == expected
    in_hours = reconcile(db, desk, days=1, stretch_rows=50)
    assert in_hours.days == run.days[:1]


def test_rows_altered_dropped_added_and_doubled_in_the_lake_are_each_found_by_id_and_field(db, desk, filled):
    chosen = [one["_id"] for one in filled[100:104]]
    lost = filled[10]["_id"]
    db["transactions"].insert_one(document(random.Random(6), 9001) | {"amount_minor": "12"})  # the curator refuses it
    time.sleep(1.1)
    db["transactions"].update_one({"_id": filled[9]["_id"]}, {"$inc": {"version": 1}})
    wait_until(lambda: in_raw(db) >= 653)
    desk.fold()

    def alter(rows):
        return [
            row | {"amount_minor": row["amount_minor"] + 1} if row["transaction_id"] == chosen[0] else row
            for row in rows
        ]

    tamper(desk, lambda rows: [r | {"version": 1} if r["transaction_id"] == lost else r for r in rows], lost)
    tamper(desk, alter, chosen[0])
    tamper(desk, lambda rows: [row for row in rows if row["transaction_id"] != chosen[1]], chosen[1])
    added = lambda rows: [*rows, rows[0] | {"transaction_id": "ghost"}]  # noqa: E731
    tamper(desk, added, chosen[2])
    tamper(desk, lambda rows: [*rows, *(row for row in rows if row["transaction_id"] == chosen[3])], chosen[3])
    run = reconcile(db, desk)
    amount = filled[100]["amount_minor"]
    assert {(d.transaction_id, d.field, d.mongo, d.lake) for d in run.differences} == {
        (chosen[0], "amount_minor", str(amount), str(amount + 1)),
        (chosen[1], "row", "there", None),
        ("ghost", "row", None, "there"),
        (chosen[3], "row", "once", "2 times"),
        (lost, "version", "2", "1"),
        ("t09001", "amount_minor", "a value of type str", "refused"),
    }
    assert run.differing == 6
    assert {day.day for day in run.days if not day.equal} == {d.day for d in run.differences}


def test_under_load_nothing_is_called_a_difference_that_is_only_under_way(db, desk, filled, settings):
    stop = threading.Event()
    rng = random.Random(3)

    def load() -> None:
        number = 1000
        while not stop.is_set():
            db["transactions"].insert_one(document(rng, number))
            victim = rng.choice(filled)["_id"]
            db["transactions"].update_one(
                {"_id": victim}, {"$inc": {"version": 1}, "$set": {"label": {"value": "fraud"}}}
            )
            number += 1
            time.sleep(0.002)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(2):
            time.sleep(0.7)
            desk.fold()
            run = reconcile(db, desk)
            assert (run.state, run.exact) == (RunState.DONE, True)
            assert run.differences == ()
            assert all(day.equal for day in run.days)
            assert sum(day.mongo.rows for day in run.days) > 300
    finally:
        stop.set()
        thread.join()


def test_an_old_lake_behind_a_quiet_stream_is_compared_exactly(db, desk, filled, monkeypatch):
    """By the clock the newest change is long ago; by the stream's two marks nothing happened since."""
    monkeypatch.setattr(reconciliation, "_IDLE_MARGIN", timedelta(seconds=0.5))
    monkeypatch.setattr(reconciliation, "_IDLE_WAIT_SECONDS", 2.5)
    run = reconcile(db, desk, clock=lambda: datetime.now(UTC) + timedelta(minutes=10))
    assert (run.state, run.exact, run.differences, run.under_way) == (RunState.DONE, True, (), 0)
    assert sum(day.mongo.rows for day in run.days) == len(filled)


def test_a_stopped_stream_makes_newer_documents_under_way_and_still_finds_lost_rows(db, desk, settings, filled):
    key = filled[7]["_id"]
    tamper(desk, lambda rows: [row for row in rows if row["transaction_id"] != key], key)
    db["positions"].delete_one({"_id": "stream"})  # as where managed connectors fill the raw zone
    fresh = document(random.Random(5), 9000) | {"received_at": datetime.now(UTC)}
    db["transactions"].insert_one(fresh)
    db["transactions"].update_one({"_id": filled[8]["_id"]}, {"$inc": {"version": 1}})
    run = reconcile(db, desk, clock=lambda: datetime.now(UTC) + timedelta(minutes=10))
    assert not run.exact
    assert [(d.transaction_id, d.field) for d in run.differences] == [(key, "row")]
    assert run.under_way == 2
