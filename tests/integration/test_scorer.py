"""The scorer against a real change stream, with a scripted model in place of the endpoint."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pymongo.errors import OperationFailure

from services.adapters.mongo.entities import MongoEntityStore, MongoThresholdStore
from services.adapters.mongo.scoring_feed import MongoScoringFeed
from services.adapters.mongo.workers import MongoStatusStore
from services.endpoint import EndpointScores
from services.errors import Conflict, InvalidData, Unavailable
from services.features import DEMO, event_from_document
from services.scoring import Scoring
from services.worker_status import Reporter, WorkerState, utc_now
from tests.records import document
from workers.scorer import Scorer

ROOT = Path(__file__).parents[2]
AMOUNT = next(i for i, name in enumerate(DEMO.names) if name == "amount_minor")


class Model:
    """Scores 0.9 from 100.00 on, 0.1 below; fails as told, one `failure` a call."""

    def __init__(self):
        self.failures, self.rows = [], 0

    def score(self, rows, explain=False):
        if self.failures:
            raise self.failures.pop(0)
        if any(row[AMOUNT] == 66_600 for row in rows):
            raise InvalidData("row refused")
        self.rows += 0 if explain else len(rows)
        terms = tuple(tuple(1.0 if i == AMOUNT else 0.0 for i in range(len(row))) for row in rows) if explain else None
        return EndpointScores(tuple(0.9 if r[AMOUNT] >= 10_000 else 0.1 for r in rows), terms, "v1", "1", 2.0)


class Running:
    def __init__(self, db, model):
        db["thresholds"].update_one({"_id": "v1"}, {"$set": {"review": 0.5, "decline": 0.95}}, upsert=True)
        self.status = MongoStatusStore(db)
        self.stop = threading.Event()
        self.error: Exception | None = None
        scorer = Scorer(
            MongoScoringFeed(db),
            MongoEntityStore(db),
            Scoring(model, MongoThresholdStore(db)),
            Reporter("scorer", self.status),
        )
        self.thread = threading.Thread(target=self._run, args=(scorer,))
        self.thread.start()
        wait_for(lambda: db["positions"].find_one({"_id": "scorer", "start_at": {"$exists": True}}))

    def _run(self, scorer):
        try:
            scorer.run(self.stop)
        except Exception as error:
            self.error = error

    def end(self):
        self.stop.set()
        self.thread.join(10)


def wait_for(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def all_scored(db):
    return db["transactions"].count_documents({"score": None, "scoring": None}) == 0


@pytest.fixture
def running(db):
    model = Model()
    started = Running(db, model)
    yield started, model
    started.end()


def arriving(number, **changes):
    now = utc_now()
    return document(f"t-{number}", received_at=now, event_time=now, **changes)


def test_what_arrives_is_scored_and_alerts_open(db, running):
    db["transactions"].insert_many([arriving(1), arriving(2, amount_minor=20_000)])
    wait_for(lambda: all_scored(db))
    calm, risky = db["transactions"].find_one({"_id": "t-1"}), db["transactions"].find_one({"_id": "t-2"})
    assert calm["score"]["decision"] == "approve"
    assert "alert" not in calm
    assert set(calm["features"]) == set(DEMO.names)
    assert risky["score"]["decision"] == "review"
    assert risky["score"]["model_version"] == "v1"
    assert risky["score"]["reasons"][0]["feature"] == "amount_minor"
    assert risky["alert"]["status"] == "open"
    assert risky["version"] == 2
    assert risky["alert"]["due_at"] - risky["alert"]["opened_at"] == timedelta(hours=4)
    assert [e["_id"] for e in db["case_events"].find()] == ["t-2:alert"]


def test_features_equal_the_offline_driver_after_any_batching(db, running):
    made = [arriving(n, amount_minor=1000 + n, customer_id=f"c-{n % 3}") for n in range(60)]
    for start in range(0, 60, 7):
        db["transactions"].insert_many(made[start : start + 7])
    wait_for(lambda: all_scored(db))
    states = {}
    for item in made:
        event = event_from_document(DEMO, item)
        for key in DEMO.entity_keys(event):
            states.setdefault(key, DEMO.new_state(key))
        expected = [None if v != v else v for v in DEMO.step(event, states)]
        stored = db["transactions"].find_one({"_id": item["_id"]})["features"]
        assert list(stored.values()) == expected


def test_a_silent_model_delays_and_never_scores_zero(db, running):
    started, model = running
    model.failures = [Unavailable("Not scored (the model did not answer).", dependency="the model endpoint")] * 2
    db["transactions"].insert_one(arriving(1))
    wait_for(lambda: (s := started.status.get("scorer")) and s.state is WorkerState.WAITING)
    assert "wait unscored" in started.status.get("scorer").last_error
    wait_for(lambda: all_scored(db))
    assert db["transactions"].find_one({"_id": "t-1"})["score"]["value"] == 0.1


def test_a_poisoned_row_spoils_only_itself(db, running):
    db["transactions"].insert_many([arriving(1), arriving(2, amount_minor=66_600), arriving(3)])
    wait_for(lambda: all_scored(db))
    poisoned = db["transactions"].find_one({"_id": "t-2"})
    assert "score" not in poisoned
    assert poisoned["scoring"]["error"].startswith("Not scored")
    assert db["transactions"].count_documents({"score.value": 0.1}) == 2


def test_a_replaced_scorer_cannot_commit(db, running):
    started, model = running
    Running(db, model).end()
    db["transactions"].insert_one(arriving(1))
    wait_for(lambda: started.error)
    assert isinstance(started.error, Conflict)
    assert "score" not in db["transactions"].find_one({"_id": "t-1"})


def test_a_scorer_killed_within_its_transaction_holds_up_nobody(db):
    killed, next_one = MongoScoringFeed(db), MongoScoringFeed(db)
    killed.open()
    killed._session.start_transaction()
    db["positions"].update_one({"_id": "scorer"}, {"$set": {"resume_token": "x"}}, session=killed._session)
    next_one.open()
    assert next_one.commit({}, states={"customer:c-1": {}}, writes=()) == 0
    with pytest.raises(OperationFailure):
        killed._session.commit_transaction()
    assert db["positions"].find_one({"_id": "scorer"})["resume_token"] == {}
    for feed in (killed, next_one):
        feed.close()


_PROGRAM = """
import sys, random, time
from services.adapters.mongo.client import connect
from services.settings import Settings
from tests.integration.test_scorer import Model, Running
db = connect(Settings.from_environment())
running = Running(db, Model())
while running.thread.is_alive():
    time.sleep(0.1)
"""


def test_kill_9_at_any_moment_loses_and_doubles_nothing(db, settings):
    """Every transaction is observed once: the customer's state counts what was inserted, whatever was killed when."""
    environment = os.environ | {
        "MONGODB_URI": settings.mongodb_uri,
        "FRAUD_DESK_DATABASE": settings.database,
        "FRAUD_DESK_BUCKET": "none",
        "PYTHONPATH": str(ROOT),
    }

    def start():
        return subprocess.Popen([sys.executable, "-c", _PROGRAM], env=environment, cwd=ROOT)

    moments = random.Random(7)
    process = start()
    wait_for(lambda: db["positions"].find_one({"_id": "scorer", "start_at": {"$exists": True}}))
    made = []
    for round_number in range(3):
        wait_for(lambda: all_scored(db))
        for batch in range(10):
            numbers = [round_number * 1000 + batch * 10 + k for k in range(10)]
            items = [arriving(n, amount_minor=20_000 if n % 10 == 0 else 1000, customer_id="c-1") for n in numbers]
            db["transactions"].insert_many(items)
            made += items
        time.sleep(moments.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start()
    try:
        wait_for(lambda: all_scored(db), 60)
    finally:
        process.kill()
        process.wait()
    states = {}
    for item in made:
        event = event_from_document(DEMO, item)
        for key in DEMO.entity_keys(event):
            states.setdefault(key, DEMO.new_state(key))
        DEMO.step(event, states)
    stored = {d["_id"]: d["state"] for d in db["entities"].find()}
    assert stored == states
    assert db["transactions"].count_documents({"version": 2}) == len(made)
    assert db["case_events"].count_documents({}) == sum(1 for item in made if item["amount_minor"] >= 10_000)
