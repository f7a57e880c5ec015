"""Files of four data sets' columns through the import into a real mongod, killed in between, and on to the scorer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from services import mapped_file
from services.adapters.mongo.entities import MongoEntityStore, MongoThresholdStore
from services.adapters.mongo.imports import MongoImports
from services.adapters.mongo.scoring_feed import MongoScoringFeed
from services.adapters.mongo.transactions import MongoTransactionStore, count_unscored
from services.adapters.mongo.workers import MongoStatusStore
from services.endpoint import EndpointScores
from services.errors import Conflict, InvalidData, Unavailable
from services.features import plan_of
from services.importing import Importer
from services.importing_state import ImportState
from services.lake_schema import LABELS_TABLE, TRANSACTIONS_TABLE
from services.scoring import Scoring
from services.transactions import QueueFilter, QueueView, Sort
from services.worker_status import Reporter, utc_now
from tests import column_sets
from workers.curator_flatten import FLATTEN
from workers.scorer import Scorer

ROOT = Path(__file__).parents[2]
KEY = b"a key for the tests only"


def importing(db, path, mapping, *, batch_rows=50, errors=None, store=None, cancel=None, each=None, **options):
    importer = Importer(store or MongoImports(db), clock=utc_now, token_key=KEY, batch_rows=batch_rows)
    begun = importer.begin(path, mapping, started_by="Ada", errors=errors or path.with_suffix(".err"), **options)
    told = each or (lambda state, problems: None)
    return importer.run(begun, path, mapping, on_progress=told, cancel=cancel or threading.Event())


def stored(db):
    """What an import left, without when and by which import it came."""
    hidden = {"imported.id": 0, "imported.at": 0}
    labels = dict(hidden)
    return (
        list(db["transactions"].find({}, hidden).sort("_id")),
        list(db["labels"].find({}, labels).sort("_id")),
    )


@pytest.mark.parametrize("name", ["handbook", "paysim", "sparkov", "ieee_cis"])
def test_a_known_column_set_goes_in_and_its_features_can_be_computed(db, tmp_path, name):
    mapping, path = column_sets.mapping(name), column_sets.write(tmp_path / "data.csv", name, 120)
    done = importing(db, path, mapping)
    assert (done.state, done.rows, done.accepted, done.refused, done.labels) == (ImportState.DONE, 120, 120, 0, 120)
    documents = list(db["transactions"].find())
    assert {label["transaction_id"] for label in db["labels"].find()} == {d["_id"] for d in documents}
    assert all(d["history"] and d["label"]["source"] == "import" and d["version"] == 1 for d in documents)
    assert all(d["label"]["labelled_at"] > d["event_time"] for d in documents)
    rows = [FLATTEN[TRANSACTIONS_TABLE.name](d["_id"], d) for d in documents]  # the lake takes every one of them
    rows += [FLATTEN[LABELS_TABLE.name](d["_id"], d) for d in db["labels"].find()]
    assert len(rows) == 240
    table, _ = mapped_file.read_all(path, mapping, token_key=KEY)
    assert {d["customer_id"] for d in documents} == set(table["entity.customer"].to_pylist())
    matrix = plan_of(mapping).matrix(table, table.select(["transaction_id", "label", "labelled_ms"]))
    assert matrix.shape == (120, len(plan_of(mapping).names))
    assert np.isfinite(matrix[:, 0]).all()
    if name == "sparkov":
        told = json.dumps([documents, list(db["labels"].find())], default=str)
        assert not any(column_sets.card_number(account) in told for account in range(30))
        assert documents[0]["customer_id"].startswith("tok_")
        assert set(documents[0]["merchant"]["location"]) == {"lon", "lat"}


def test_importing_again_changes_nothing(db, tmp_path):
    mapping, path = column_sets.mapping("paysim"), column_sets.write(tmp_path / "data.csv", "paysim", 100)
    first = importing(db, path, mapping)
    before = stored(db)
    path.write_text(path.read_text() + path.read_text().split("\n", 1)[1])  # every row twice: ids come from the content
    again = importing(db, path, mapping)
    assert first.accepted == 100
    assert (again.rows, again.accepted, again.duplicates, again.refused, again.labels) == (200, 0, 200, 0, 0)
    assert stored(db) == before


def test_bad_rows_are_listed_and_good_ones_kept(db, tmp_path):
    records = column_sets.rows("handbook", 60)
    records[3] |= {"TX_AMOUNT": "free"}
    records[10] |= {"CUSTOMER_ID": "", "TX_DATETIME": "1995-01-01 00:00:00"}
    records[20] |= {"TX_DATETIME": "1995-01-01 00:00:00"}  # the file may say so; the front door does not take it
    records[30] |= {"TRANSACTION_ID": 29}
    records[40] = dict(records[39])
    path = tmp_path / "data.csv"
    path.write_text(column_sets.csv_of(records))
    done = importing(db, path, column_sets.mapping("handbook"), batch_rows=25)
    assert (done.accepted, done.duplicates, done.refused) == (55, 1, 4)
    assert done.accepted + done.duplicates + done.refused == done.rows == 60
    assert db["transactions"].count_documents({}) == 55
    listed = path.with_suffix(".err").read_text().splitlines()
    assert listed == [
        "row,column,message",
        "4,TX_AMOUNT,\"must be a number, got 'free'\"",
        "11,CUSTOMER_ID,is missing",
        "21,TX_DATETIME,lies before 2000 (1995-01-01)",
        '31,TRANSACTION_ID,"was received before with another amount, time or customer; the first one was kept"',
    ]


def test_a_verdict_given_here_later_stays_and_one_learned_later_is_added(db, tmp_path):
    mapping = column_sets.mapping("handbook")
    records = column_sets.rows("handbook", 3)
    path = tmp_path / "data.csv"
    path.write_text(column_sets.csv_of([r | {"TX_FRAUD": ""} for r in records]))
    assert importing(db, path, mapping).labels == 0
    mine = {"value": "genuine", "source": "analyst", "labelled_at": utc_now(), "labelled_by": "Ana", "label_id": "x"}
    db["transactions"].update_one({"_id": "1"}, {"$set": {"label": mine}})
    path.write_text(column_sets.csv_of([r | {"TX_FRAUD": 1} for r in records]))
    done = importing(db, path, mapping)
    assert (done.accepted, done.duplicates, done.labels) == (0, 3, 3)
    values = {d["_id"]: d["label"]["source"] for d in db["transactions"].find()}
    assert values == {"0": "import", "1": "analyst", "2": "import"}
    assert db["labels"].count_documents({"no_news": True}) == 0


def test_verdicts_that_are_not_known_yet_are_awaited(db, tmp_path):
    records = [r | {"TX_DATETIME": utc_now().isoformat()} for r in column_sets.rows("handbook", 2)]
    path = tmp_path / "data.csv"
    path.write_text(column_sets.csv_of(records))
    done = importing(db, path, column_sets.mapping("handbook"))
    assert (done.accepted, done.labels, done.awaited, done.scored) == (2, 0, 2, 2)
    assert db["transactions"].count_documents({"history": True}) == 0


class Broken(MongoImports):
    """Does not answer at the given call of `save`, after everything of the batch was written."""

    def __init__(self, db, at):
        super().__init__(db)
        self.left = at

    def save(self, state):
        self.left -= 1
        if not self.left:
            raise Unavailable("MongoDB is not reachable.", dependency="MongoDB")
        super().save(state)


@pytest.mark.parametrize("at", [1, 3])
def test_a_batch_that_was_written_but_not_counted_is_counted_once(db, tmp_path, at):
    records = column_sets.rows("handbook", 200)
    records[70] |= {"TX_AMOUNT": -1}
    records[120] = dict(records[60])
    path = tmp_path / "data.csv"
    path.write_text(column_sets.csv_of(records))
    mapping = column_sets.mapping("handbook")
    with pytest.raises(Unavailable):
        importing(db, path, mapping, store=Broken(db, at))
    done = importing(db, path, mapping)
    assert (done.rows, done.accepted, done.duplicates, done.refused, done.labels) == (200, 198, 1, 1, 198)
    assert len(path.with_suffix(".err").read_text().splitlines()) == 2


def test_without_the_list_of_errors_an_import_begins_again_and_counts_the_same(db, tmp_path):
    path, mapping = column_sets.write(tmp_path / "data.csv", "handbook", 200), column_sets.mapping("handbook")
    with pytest.raises(Unavailable):
        importing(db, path, mapping, store=Broken(db, 3))
    done = importing(db, path, mapping, errors=tmp_path / "another.csv")
    assert (done.rows, done.accepted, done.duplicates) == (200, 200, 0)


def test_cancel_keeps_what_was_done_and_a_second_run_stops_the_first(db, tmp_path):
    path, mapping = column_sets.write(tmp_path / "data.csv", "handbook", 200), column_sets.mapping("handbook")
    cancel = threading.Event()
    stopped = importing(db, path, mapping, cancel=cancel, each=lambda state, problems: cancel.set())
    assert (stopped.state, stopped.rows) == (ImportState.CANCELLED, 50)

    def another(state, problems):
        importing(db, path, mapping, errors=tmp_path / "b.err")

    with pytest.raises(Conflict, match="taken this import over"):
        importing(db, path, mapping, each=another)
    assert db["transactions"].count_documents({}) == 200


def test_card_numbers_need_a_key(db, tmp_path):
    path = column_sets.write(tmp_path / "data.csv", "sparkov", 5)
    importer = Importer(MongoImports(db), clock=utc_now, token_key=None)
    with pytest.raises(InvalidData, match="FRAUD_DESK_TOKEN_KEY"):
        importer.begin(path, column_sets.mapping("sparkov"), started_by="Ada", errors=tmp_path / "e")
    assert db["imports"].count_documents({}) == 0


def test_killed_anywhere_the_command_goes_on_and_ends_the_same(db, settings, tmp_path):
    records = column_sets.rows("handbook", 15_000)
    records[12_000] |= {"TX_AMOUNT": "x"}
    path = tmp_path / "data.csv"
    path.write_text(column_sets.csv_of(records))
    command = [sys.executable, "-m", "services", "import", str(path), "--json"]
    command += ["--mapping", str(ROOT / "mappings" / "handbook.toml")]
    env = os.environ | {
        "MONGODB_URI": settings.mongodb_uri, "FRAUD_DESK_DATABASE": settings.database, "FRAUD_DESK_BUCKET": "unused",
    }  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not db["transactions"].find_one() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert db["transactions"].count_documents({}) < 15_000
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    result = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert (result["state"], result["rows"], result["accepted"], result["refused"]) == ("done", 15_000, 14_999, 1)
    assert (result["duplicates"], result["labels"], db["labels"].count_documents({})) == (0, 14_999, 14_999)
    assert db["imports"].count_documents({}) == 1
    listed = Path(result["errors_path"]).read_text().splitlines()
    assert [line.split(",")[0] for line in listed] == ["row", "12001"]


def test_history_is_no_backlog_and_no_alert_and_screens_can_show_it(db, tmp_path):
    path, mapping = column_sets.write(tmp_path / "data.csv", "handbook", 40), column_sets.mapping("handbook")
    feed = MongoScoringFeed(db)
    feed.open()
    try:
        done = importing(db, path, mapping)
        seen = []
        deadline = time.monotonic() + 15
        news = db["labels"].count_documents({"value": "fraud"})
        while len(seen) < 40 + news and time.monotonic() < deadline:
            seen += feed.read(200).documents
    finally:
        feed.close()
    assert [name for name, _ in seen].count("transactions") == 40
    assert [name for name, _ in seen].count("labels") == news  # genuine ones change no state
    assert done.scored == 0
    assert all(d["received_at"] == d["event_time"] < d["imported"]["at"] for d in db["transactions"].find())
    assert count_unscored(db["transactions"], utc_now() + timedelta(days=365)) == 0
    store = MongoTransactionStore(db)
    rows = store.page(QueueFilter(QueueView.ALL), sort=Sort.NEWEST, after=None, limit=10)
    assert (rows[0].merchant_name, rows[0].card_last4, rows[0].channel) == (None, None, None)
    assert store.get(rows[0].transaction_id).terminal_id is not None
    assert store.facets().countries == ()


class Model:
    """Calm about everything; counts what it is asked."""

    def __init__(self):
        self.vectors = []

    def score(self, rows, explain=False):
        self.vectors += [] if explain else rows
        terms = tuple((0.0,) * len(row) for row in rows) if explain else None
        return EndpointScores((0.1,) * len(rows), terms, "v1", "1", 2.0)


def test_the_scorer_learns_from_history_and_scores_only_what_is_live(db, tmp_path):
    mapping = column_sets.mapping("sparkov")
    plan, model, stop = plan_of(mapping), Model(), threading.Event()
    db["thresholds"].insert_one({"_id": "v1", "review": 0.5, "decline": 0.9})
    records = column_sets.rows("sparkov", 150)
    for record in records[-5:]:
        record["trans_date_trans_time"] = utc_now().isoformat()
    path = tmp_path / "data.csv"
    path.write_text(column_sets.csv_of(records))
    reporter = Reporter("scorer", MongoStatusStore(db))
    scorer = Scorer(MongoScoringFeed(db), MongoEntityStore(db), Scoring(model, MongoThresholdStore(db), plan), reporter)
    thread = threading.Thread(target=scorer.run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not db["positions"].find_one({"_id": "scorer", "start_at": {"$exists": True}}):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        done = importing(db, path, mapping)
        while db["transactions"].count_documents({"score": {"$exists": True}}) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(10)
    assert (done.scored, done.awaited, len(model.vectors)) == (5, 5, 5)
    assert db["transactions"].count_documents({"history": True, "score": {"$exists": True}}) == 0
    assert db["transactions"].count_documents({"alert": {"$exists": True}}) == 0
    # The same numbers as over the whole file at once: the state held all of the history.
    table, _ = mapped_file.read_all(path, mapping, token_key=KEY)
    expected = plan.matrix(table, table.select(["transaction_id", "label", "labelled_ms"]))[-5:]
    np.testing.assert_allclose(np.array(model.vectors, dtype=np.float32), expected, rtol=1e-6)
    states = MongoEntityStore(db).load([f"customer:{table['entity.customer'][0].as_py()}"])
    assert sum(state["n"] for state in states.values()) == sum(
        name == table["entity.customer"][0].as_py() for name in table["entity.customer"].to_pylist()
    )
