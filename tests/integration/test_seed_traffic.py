"""Live traffic against the real front door on a real database: nothing lost or doubled, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest

from embedded.simulator.live import Live
from embedded.simulator.population import World, build
from embedded.traffic.outbox import Outbox
from embedded.traffic.run import Traffic
from embedded.traffic.truth import DueReports
from services.adapters.mongo.client import Db
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.workers import MongoStatusStore
from services.errors import Unavailable
from services.intake import Intake
from services.worker_status import Reporter, WorkerState

START = datetime(2026, 11, 5, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Door:
    """The front door without its process; `lose` of the next answers are lost after the work was done."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._intake, self._clock = Intake(MongoIntakeStore(db)), clock
        self.lose = self.refuse = 0

    def invoke(self, function: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        if self.refuse:
            self.refuse -= 1
            raise Unavailable("The front door did not answer.", dependency="the front door")
        event = orjson.loads(orjson.dumps(payload))
        kept = self._intake.submit(event["transactions"], received_at=self._clock())
        reported = self._intake.report(event["reports"], received_at=self._clock())
        if self.lose:
            self.lose -= 1
            raise Unavailable("The answer was lost.", dependency="the front door")
        assert kept.refused == 0, kept.problems
        return {
            "accepted": kept.accepted + reported.accepted,
            "duplicates": kept.duplicates + reported.duplicates,
            "refused": kept.refused + reported.refused,
        }


@pytest.fixture(scope="module")
def world() -> World:
    return build(transactions=10_000, seed=2)


def traffic(db: Db, world: World, clock: Clock, door: Door, *, rate: float = 20.0) -> Traffic:
    outbox = Outbox(db)
    outbox.open()
    rng = np.random.default_rng([2, 404, outbox.next_number])
    reporter = Reporter("traffic", MongoStatusStore(db), clock=clock)
    live = Live(world, rng, rate)
    return Traffic(live, outbox, DueReports(db, rng), door, reporter, function="f", prefix="tx-l2-", clock=clock)


def run(sender: Traffic, clock: Clock, seconds: int, *, every: int = 1) -> int:
    """Ticks every so many seconds; returns how many attempts failed."""
    failed = 0
    for _ in range(0, seconds, every):
        clock.forward(every)
        try:
            sender.tick()
        except Unavailable:
            failed += 1
    return failed


def test_traffic_arrives_whole_and_in_the_contracts_shape(db: Db, world: World) -> None:
    clock = Clock()
    run(traffic(db, world, clock, Door(db, clock)), clock, 60)
    stored = list(db["transactions"].find({}))
    assert 900 < len(stored) < 1_600
    assert all(START < t["event_time"] <= t["received_at"] for t in stored)
    assert {t["version"] for t in stored} == {1}
    numbers = sorted(int(t["_id"].removeprefix("tx-l2-")) for t in stored)
    assert numbers == list(range(len(numbers)))
    status = MongoStatusStore(db).get("traffic")
    assert status is not None
    assert status.state is WorkerState.RUNNING


def test_a_lost_answer_doubles_nothing(db: Db, world: World) -> None:
    clock = Clock()
    door = Door(db, clock)
    sender = traffic(db, world, clock, door)
    run(sender, clock, 5)
    door.lose = 3
    assert run(sender, clock, 20) == 3
    numbers = sorted(int(t["_id"].removeprefix("tx-l2-")) for t in db["transactions"].find({}, {"_id": 1}))
    assert numbers == list(range(numbers[-1] + 1))


def test_a_killed_sender_goes_on_with_the_same_batch_and_fresh_ids(db: Db, world: World) -> None:
    clock = Clock()
    door = Door(db, clock)
    sender = traffic(db, world, clock, door)
    run(sender, clock, 5)
    door.refuse = 1
    clock.forward(1)
    with pytest.raises(Unavailable):
        sender.tick()
    pending = db["positions"].find_one({"_id": "traffic"})["pending"]["transactions"]  # type: ignore[index]
    assert pending
    again = traffic(db, world, clock, door)  # the first one is gone
    again.tick()
    stored = {t["_id"] for t in db["transactions"].find({}, {"_id": 1})}
    assert {t["transaction_id"] for t in pending} <= stored
    run(again, clock, 5)
    numbers = sorted(int(t["_id"].removeprefix("tx-l2-")) for t in db["transactions"].find({}, {"_id": 1}))
    assert numbers == list(range(numbers[-1] + 1))
    assert len(numbers) > len(stored)


def test_frauds_are_remembered_apart_and_reported_when_due(db: Db, world: World) -> None:
    clock = Clock()
    sender = traffic(db, world, clock, Door(db, clock), rate=50.0)
    run(sender, clock, 80)
    known = list(db["simulator_truth"].find({}))
    assert known
    assert {entry["_id"] for entry in known} <= {t["_id"] for t in db["transactions"].find({}, {"_id": 1})}
    assert not any("scenario" in t or "fraud" in str(t.get("attributes")) for t in db["transactions"].find({}))
    by_customer = [entry for entry in known if entry["source"] == "customer"]
    assert by_customer
    assert db["labels"].count_documents({}) == 0
    clock.forward(5 * 3600)
    quiet = traffic(db, world, clock, Door(db, clock), rate=0.2)  # what is reported later does not need the crowd
    run(quiet, clock, 600, every=15)
    labels = {label["transaction_id"] for label in db["labels"].find({"source": "customer"})}
    assert {entry["_id"] for entry in by_customer} <= labels
    assert db["simulator_truth"].count_documents({"_id": {"$in": list(labels)}, "reported_at": None}) == 0


def test_chargebacks_of_old_history_come_a_few_a_minute_at_most(db: Db, world: World) -> None:
    clock = Clock()
    sender = traffic(db, world, clock, Door(db, clock), rate=1.0)
    run(sender, clock, 30)
    names = [t["_id"] for t in db["transactions"].find({}, {"_id": 1})]
    old = {"event_time": START - timedelta(days=40), "source": "chargeback", "reported_at": None}
    db["simulator_truth"].insert_many(
        [{"_id": name, "scenario": "ring", "due_at": START + timedelta(days=9)} | old for name in names]
    )
    run(sender, clock, 600, every=10)
    assert 1 <= db["labels"].count_documents({"source": "chargeback"}) <= 20
