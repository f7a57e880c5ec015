"""A decision saved before "start" is in the training set, and the set stays what it was whatever is saved later."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.access import system
from services.adapters.mongo.client import Db
from services.adapters.mongo.experiments import MongoExperiments
from services.adapters.mongo.recent_changes import MongoRecentChanges
from services.audit import AuditEntry
from services.errors import NotFound
from services.lake_schema import LABELS_TOPIC, TRANSACTIONS_TOPIC
from services.settings import Settings
from services.training import Experiment, ExperimentState
from services.training_build import build_for
from tests.integration.lake_desk import START, Desk, line
from workers.lifecycle_building import REFUSED
from workers.lifecycle_lake import CaughtUp
from workers.stream_objects import iso

ROOT = Path(__file__).resolve().parents[2]
ROWS = 400
END = START + timedelta(days=20)
pytestmark = pytest.mark.timeout(180)


def transaction(n: int) -> dict[str, Any]:
    at = START + timedelta(minutes=72 * n)
    return {
        "_id": f"t{n:04d}",
        "event_time": at,
        "received_at": at + timedelta(seconds=1),
        "amount_minor": 90_000 if n % 20 == 0 else 1_000 + 37 * (n % 50),
        "currency": "EUR",
        "exponent": 2,
        "customer_id": f"c{n % 40}",
        "merchant": {"id": f"m{n % 15}", "category": "fuel", "country": "FR", "location": {"lon": 2.3, "lat": 48.8}},
        "terminal_id": f"p{n % 25}",
        "channel": "pos",
        "entry_mode": "chip",
        "version": 1,
    }


def verdict(n: int, at: datetime) -> dict[str, Any]:
    made = transaction(n)
    return {
        "_id": f"{made['_id']}:analyst:1",
        "transaction_id": made["_id"],
        "customer_id": made["customer_id"],
        "merchant_id": made["merchant"]["id"],
        "event_time": made["event_time"],
        "amount_minor": made["amount_minor"],
        "value": "fraud",
        "source": "analyst",
        "labelled_at": at,
        "labelled_by": "Ada",
    }


def plain(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: plain(value) for key, value in document.items()}
    return iso(document) if isinstance(document, datetime) else document


class World:
    """Verdicts on every twentieth transaction; the last one is saved at `asked`, the moment of the request."""

    def __init__(self, settings: Settings, db: Db) -> None:
        self.settings, self.db, self.desk = settings, db, Desk(settings)
        self.asked = END
        self.labels = [verdict(n, START + timedelta(minutes=72 * n + 30)) for n in range(0, ROWS - 20, 20)]
        self.last = verdict(ROWS - 20, self.asked)
        transactions = [transaction(n) for n in range(ROWS)]
        db["transactions"].insert_many(transactions)
        db["labels"].insert_many([*self.labels, self.last])
        self._put(TRANSACTIONS_TOPIC, transactions, 0)
        self._put(LABELS_TOPIC, self.labels, 0)
        self.desk.fold()

    def _put(self, topic: str, documents: Iterable[dict[str, Any]], first: int) -> None:
        lines = [line(plain(document), first + n, seconds=first + n) for n, document in enumerate(documents)]
        self.desk.put(lines, first, topic=topic)

    def save_last(self) -> None:
        self._put(LABELS_TOPIC, [self.last], len(self.labels))
        self.desk.fold()

    def experiment(self, **changes: Any) -> Experiment:
        lake = CaughtUp(recent=MongoRecentChanges(self.db), lake=lambda: self.desk.lake)
        chosen = lake.snapshots()
        lake.pin("exp-1", chosen)
        given: dict[str, Any] = {
            "experiment_id": "exp-1",
            "name": "Weekly",
            "state": ExperimentState.PREPARING,
            "requested_by": "Ada",
            "requested_at": self.asked,
            "window_start": START + timedelta(days=3),
            "window_end": END,
            "label_cutoff": self.asked + timedelta(days=8),
            "method": "xgboost",
            "hyperparameters": {},
            "snapshot_id": chosen.transactions,
            "labels_snapshot_id": chosen.labels,
        }
        made = Experiment(**given | changes)
        audit = AuditEntry("exp-1:training.start", self.asked, system("test"), "training.start", "exp-1")
        MongoExperiments(self.db).insert(made, audit=audit)
        return made

    def builder(self) -> subprocess.Popen[bytes]:
        env = os.environ | {
            "MONGODB_URI": self.settings.mongodb_uri,
            "FRAUD_DESK_DATABASE": self.settings.database,
            "FRAUD_DESK_BUCKET": self.settings.bucket,
            "FRAUD_DESK_CATALOG": self.settings.catalog_uri,
        }
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "workers.lifecycle_build", "exp-1"]
        return subprocess.Popen(command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=pipe)

    def built(self) -> tuple[int, str]:
        """Exit code and everything printed, log first; its input stays open until it is done."""
        with self.builder() as builder:
            code = builder.wait(120)
            assert builder.stdout is not None
            assert builder.stderr is not None
            return code, (builder.stderr.read() + builder.stdout.read()).decode()

    def stored(self, name: str) -> bytes:
        return self.desk.objects.get(f"training/exp-1/{name}")[0]


@pytest.fixture
def world(settings: Settings, db: Db) -> World:
    return World(settings, db)


def test_the_request_waits_for_the_verdict_saved_with_it_and_the_set_has_it(world: World) -> None:
    lake = CaughtUp(recent=MongoRecentChanges(world.db), lake=lambda: world.desk.lake)
    assert lake.behind(world.asked) == "Waiting for the lake: 1 verdict saved before the request still on the way."
    world.save_last()
    assert lake.behind(world.asked) is None
    experiment = world.experiment()
    code, said = world.built()
    assert code == 0, said
    assert "Fatal" not in said

    manifest = json.loads(world.stored("manifest.json"))
    assert (manifest["snapshot_id"], manifest["experiment_id"]) == (experiment.snapshot_id, "exp-1")
    rows = {row["transaction_id"]: row for row in pq.read_table(io.BytesIO(world.stored("rows.parquet"))).to_pylist()}
    assert rows[world.last["transaction_id"]]["label"] == 1
    assert len(rows) == ROWS - 60, "the window leaves out the first three days of twenty a day"
    assert manifest["positives"] == len([n for n in range(60, ROWS) if n % 20 == 0])

    late = [verdict(n, world.asked) for n in (201, 202, 203)]
    world._put(LABELS_TOPIC, late, len(world.labels) + 1)
    world.desk.fold()
    assert world.desk.lake.read_labels().num_rows == len(world.labels) + 4
    build_for(experiment, world.desk.lake, world.desk.objects.put)
    assert json.loads(world.stored("manifest.json")) == manifest, "the pinned snapshots decide, not what came later"


def test_a_window_nothing_can_be_learned_from_is_refused_in_one_sentence(world: World) -> None:
    world.experiment(window_start=START - timedelta(days=9), window_end=START - timedelta(days=8))
    code, said = world.built()
    assert code == REFUSED
    assert said.splitlines()[-1] == "The window holds no transactions. Choose other dates."


def test_a_builder_ends_with_the_process_that_started_it(world: World) -> None:
    world.experiment()
    with world.builder() as builder:
        assert builder.stdin is not None
        builder.stdin.close()
        assert builder.wait(60) == 1
    with pytest.raises(NotFound):
        world.stored("manifest.json")
