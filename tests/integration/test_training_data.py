"""Training data on a real lake and a real mongod: a freeze cut off is no set, one done is kept for good."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from services.access import system
from services.adapters.iceberg_maintenance import expire
from services.adapters.iceberg_snapshots import IcebergSnapshots
from services.adapters.mongo.client import Db
from services.adapters.mongo.flows import MongoFlows, MongoFrozenSets
from services.adapters.mongo.training_data_jobs import MongoJobNotes
from services.errors import Conflict, Unavailable
from services.features import DEMO
from services.flow_engine import from_json
from services.flow_steps import Flow, Step
from services.flows import FitOrigin, Flows
from services.training_data import JobState, TrainingData
from services.training_data_jobs import CUT_OFF_AFTER, JobNote, cut_off, noted
from tests.integration.lake_desk import START, Desk, iso, line

ADMIN = system("Grace Admin")
NOW = START + timedelta(days=40)
FLOW = Flow(
    ("amount_minor", "customer_count_24h", "category"),
    (Step("log", {"column": "amount_minor"}), Step("one_hot", {"column": "category"})),
)


def fill(desk: Desk) -> None:
    """30 days, 20 payments a day, one in twenty a fraud known the day after."""
    lines, labels = [], []
    for number in range(600):
        at, fraud = START + timedelta(days=number / 20), number % 20 == 7
        payment = {
            "_id": f"t{number:04}", "event_time": iso(at), "received_at": iso(at), "currency": "EUR", "version": 1,
            "amount_minor": 9_000 + number if fraud else 1_000 + number, "customer_id": f"c{number % 9}",
            "merchant": {"id": f"m{number % 5}", "category": ("fuel", "travel")[number % 2], "country": "DE"},
            "channel": "pos", "entry_mode": "chip",
        }  # fmt: skip
        lines.append(line(payment, number))
        if fraud:
            labels.append(
                line(
                    {
                        "_id": f"l{number}",
                        "transaction_id": payment["_id"],
                        "customer_id": payment["customer_id"],
                        "event_time": iso(at),
                        "amount_minor": payment["amount_minor"],
                        "value": "fraud",
                        "source": "analyst",
                        "labelled_at": iso(at + timedelta(days=1)),
                        "labelled_by": "a",
                    },
                    len(labels),
                )
            )
    desk.put(lines, 0)
    desk.put(labels, 0, topic="fraud.labels")
    desk.fold()


def service(desk: Desk, db: Db, put: Any = None) -> TrainingData:
    return TrainingData(
        desk.lake,
        IcebergSnapshots(desk.tables),
        MongoFrozenSets(db),
        put or desk.objects.put,
        lambda key: desk.objects.get(key)[0],
        notes=MongoJobNotes(db),
        clock=lambda: NOW,
    )


def freeze(data: TrainingData, held: Any, name: str = "Spring") -> Any:
    window = (START + timedelta(days=2), START + timedelta(days=30))
    selection = data.choose(snapshot_id=None, window=window, label_cutoff=NOW)
    data.start_freeze(selection, name=name, held=held, actor=ADMIN)
    return data.wait(60)


def test_a_frozen_set_is_whole_and_outlives_its_snapshot(desk: Desk, db: Db) -> None:
    fill(desk)
    flows = Flows(MongoFlows(db))
    held = flows.save(FLOW, name="F", note="", actor=ADMIN)
    data = service(desk, db)
    job = freeze(data, held)
    assert job.state is JobState.DONE, job.failure
    made = data.frozen()[0]
    assert (made.flow, made.features[0], made.usable) == (
        (held.flow_id, 1),
        "amount_minor",
        made.train + made.validation,
    )
    body = desk.objects.get(f"{made.prefix}manifest.json")[0]
    assert hashlib.sha256(body).hexdigest() == made.sha256
    manifest = json.loads(body)
    assert manifest["flow"] == {"id": held.flow_id, "version": 1}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256(desk.objects.get(made.prefix + name)[0]).hexdigest() == digest
    stored = from_json(json.loads(desk.objects.get(f"{made.prefix}flow.json")[0]))
    assert stored.outputs == made.features
    later = {"_id": "later", "event_time": iso(START), "amount_minor": 5, "currency": "EUR", "version": 1}
    desk.put([line(later, 600)], 600)
    desk.fold()
    expire(desk.tables, "transactions", now=datetime.now(UTC) + timedelta(days=3))
    assert desk.lake.read_transactions(made.snapshot_id).num_rows == 600
    again = freeze(data, held, name="Again")
    assert again.state is JobState.DONE


def test_a_freeze_that_is_cut_off_anywhere_is_no_set(desk: Desk, db: Db) -> None:
    fill(desk)
    for allowed in range(5):
        left = [allowed]

        def put(key: str, body: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise Unavailable("S3 is not reachable.", dependency="S3")
            left[0] -= 1
            desk.objects.put(key, body)

        data = service(desk, db, put)
        job = freeze(data, None)
        assert (job.state, job.failure) == (JobState.FAILED, "S3 is not reachable.")
        assert data.frozen() == ()
    assert not [item.key for item in desk.objects.list("training/frozen/") if item.key.endswith("manifest.json")]
    assert freeze(service(desk, db), None).state is JobState.DONE


def test_two_admins_who_save_the_same_version_do_not_overwrite_each_other(db: Db) -> None:
    flows = Flows(MongoFlows(db))
    first = flows.save(FLOW, name="F", note="", actor=ADMIN)
    outcomes: list[str] = []

    def save(who: str) -> None:
        try:
            flows.save(Flow((who,)), name="F", note=who, actor=system(who), flow_id=first.flow_id, after=1)
            outcomes.append("saved")
        except Conflict:
            outcomes.append("told")

    threads = [threading.Thread(target=save, args=(who,)) for who in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["saved", "told", "told", "told"]
    assert [v.version for v in flows.versions(first.flow_id)] == [2, 1]
    assert flows.get(first.flow_id, 1).flow == FLOW
    assert db["audit"].count_documents({"action": "flow.save"}) == 2


def test_scoring_finds_the_flow_of_a_version_through_its_experiment(desk: Desk, db: Db) -> None:
    fill(desk)
    store = MongoFlows(db)
    data = service(desk, db)
    window = (START + timedelta(days=2), START + timedelta(days=30))
    selection = data.choose(snapshot_id=None, window=window, label_cutoff=NOW)
    data.start_import(selection, actor=ADMIN)
    assert data.wait(60).state is JobState.DONE  # type: ignore[union-attr]
    found = data.imported(selection.key)
    assert found is not None
    assert (found.features, found.raw[0]) == (DEMO.names, "event_time")
    fitted = data.fit(found, FLOW).flow
    store.keep_fit(FitOrigin("exp-1", "flow-1", 1), fitted)
    db["experiments"].insert_one({"_id": "exp-1", "model_version": "v3"})
    db["deployments"].insert_one({"_id": "d", "model_version": "v3", "requested_at": NOW})
    assert store.of_model("v3") == fitted
    assert store.of_model("v2") is None
    assert store.recent_versions() == ("v3",)


def test_a_job_leaves_a_note_only_while_its_process_lives(db):
    notes, now = MongoJobNotes(db), NOW
    gone = JobNote("a", "freeze", "Spring", "Ada", now, now)
    notes.put(gone)  # its process was killed here
    assert cut_off(notes, now + CUT_OFF_AFTER) is None
    assert cut_off(notes, now + CUT_OFF_AFTER + timedelta(seconds=1)) == gone
    later = now + timedelta(minutes=5)
    with noted(notes, JobNote("b", "import", "", "Bob", later, later), lambda: later):
        deadline = time.monotonic() + 20
        while (found := notes.newest()) is None or found.job_id != "b":  # and the old one is forgotten
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert cut_off(notes, later) is None
    assert notes.newest() is None
