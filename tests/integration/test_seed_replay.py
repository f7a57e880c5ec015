"""History written and replayed into a real database: repeatable, complete, and exactly what a plain replay gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embedded.seed import writing
from embedded.seed.replay import Replay
from embedded.simulator.history import History, generate
from services.adapters.mongo.client import Db
from services.domain.states import Decision, decide
from services.domain.thresholds import Thresholds
from services.features import DEMO, event_from_document, label_from_document, replay
from services.scoring import Assessment

UNTIL = datetime(2026, 11, 5, 9, 30, tzinfo=UTC)
LIMITS = Thresholds("v1", 0.7, 0.95)


class PlainScoring:
    """A model that looks at the amount over the customer's mean only; counts its calls."""

    def __init__(self, *, fail_after: int | None = None) -> None:
        self.calls, self._fail_after = 0, fail_after
        self._at = DEMO.names.index("amount_to_mean")

    def assess(self, vectors: Sequence[Sequence[float]]) -> list[Assessment]:
        self.calls += 1
        if self._fail_after is not None and self.calls > self._fail_after:
            raise KeyboardInterrupt
        found = []
        for vector in vectors:
            raw = vector[self._at]
            value = 0.0 if raw != raw else min(raw / 8, 1.0)
            verdict = decide(value, review_threshold=LIMITS.review, decline_threshold=LIMITS.decline)
            found.append(Assessment(value, verdict, LIMITS, "1", (), 1.0))
        return found


@pytest.fixture(scope="module")
def history() -> History:
    return generate(transactions=8_000, seed=9, until=UNTIL)


@pytest.fixture(scope="module")
def first(history: History) -> int:
    return history.row_at(UNTIL - timedelta(days=60))


def contents(db: Db) -> dict[str, list[dict[str, Any]]]:
    names = ("transactions", "labels", "case_events", "audit")
    return {name: list(db[name].find({}).sort("_id", 1)) for name in names}


def seeded(db: Db, history: History, first: int) -> Replay:
    writing.write_unscored(db, history, first, on_rows=lambda _rows: None)
    run = Replay(db, history, first=first)
    run.warm_up()
    run.score(PlainScoring())  # type: ignore[arg-type]
    return run


@pytest.fixture(scope="module")
def replayed(module_db: Db, history: History, first: int) -> Replay:
    """One replay into the module's database, which the tests look at and leave as it is."""
    return seeded(module_db, history, first)


def test_a_killed_replay_run_again_gives_what_one_run_gives(db: Db, history: History, first: int) -> None:
    writing.write_unscored(db, history, first // 2, on_rows=lambda _rows: None)
    run = Replay(db, history, first=first)
    run.warm_up()
    with pytest.raises(KeyboardInterrupt):
        run.score(PlainScoring(fail_after=300))  # type: ignore[arg-type]
    seeded(db, history, first)
    twice = contents(db)
    for name in twice:
        db[name].delete_many({})
    seeded(db, history, first)
    assert contents(db) == twice


def test_every_transaction_is_there_once_and_the_last_60_days_are_scored(
    replayed: Replay, module_db: Db, history: History, first: int
) -> None:
    db = module_db
    assert db["transactions"].count_documents({}) == len(history)
    assert db["transactions"].count_documents({"score": {"$exists": True}}) == len(history) - first
    assert db["transactions"].count_documents({"score": {"$exists": True}, "event_time": {"$lt": _cut()}}) == 0


def test_alerts_verdicts_and_timelines_agree(replayed: Replay, module_db: Db, history: History, first: int) -> None:
    db = module_db
    truth = {history.transaction_id(row) for row in history.is_fraud().nonzero()[0].tolist()}
    alerted = list(db["transactions"].find({"score.decision": {"$ne": "approve"}, "score": {"$exists": True}}))
    assert alerted
    assert all("alert" in t for t in alerted)
    verdicts = list(db["labels"].find({"source": "analyst"}))
    assert {v["transaction_id"] for v in verdicts} == {t["_id"] for t in alerted if t["alert"]["status"] == "closed"}
    right = Counter((v["value"] == "fraud") == (v["transaction_id"] in truth) for v in verdicts)
    assert right[True] > 0.85 * len(verdicts)
    for kind, expected in (("alert_opened", len(alerted)), ("decided", len(verdicts))):
        assert db["case_events"].count_documents({"kind": kind}) == expected
    assert db["audit"].count_documents({"action": "decide"}) == len(verdicts)
    for transaction in alerted:
        delay = transaction["alert"]["opened_at"] - transaction["event_time"]
        assert timedelta(0) < delay < timedelta(seconds=5)
    for verdict in verdicts:
        opened = next(t["alert"]["opened_at"] for t in alerted if t["_id"] == verdict["transaction_id"])
        assert timedelta(0) < verdict["labelled_at"] - opened < timedelta(hours=28)


def test_the_label_on_a_transaction_is_the_latest_of_its_labels_and_counts_in_its_version(
    replayed: Replay, module_db: Db
) -> None:
    db = module_db
    latest: dict[str, dict[str, Any]] = {}
    count: Counter[str] = Counter()
    for entry in db["labels"].find({}).sort("labelled_at", 1):
        latest[entry["transaction_id"]] = entry
        count[entry["transaction_id"]] += 1
        assert entry["labelled_at"] <= UNTIL
    for transaction in db["transactions"].find({}):
        entry = latest.get(transaction["_id"])
        assert transaction["version"] == 1 + ("score" in transaction) + count[transaction["_id"]]
        assert transaction.get("label", {}).get("label_id") == (entry["_id"] if entry else None)


def test_an_analyst_who_stopped_a_fraud_leaves_nothing_to_charge_back(
    replayed: Replay, module_db: Db, history: History
) -> None:
    db, run = module_db, replayed
    assert run.confirmed
    for name in run.confirmed:
        at = db["labels"].find_one({"transaction_id": name, "source": "analyst"})["labelled_at"]  # type: ignore[index]
        assert not db["labels"].count_documents({"transaction_id": name, "labelled_at": {"$gt": at}})
    to_come = run.truth()
    assert to_come
    assert not run.confirmed & {entry["_id"] for entry in to_come}
    assert all(entry["due_at"] > UNTIL and entry["reported_at"] is None for entry in to_come)


def test_features_and_states_are_those_of_one_plain_replay(replayed: Replay, module_db: Db, history: History) -> None:
    db, run = module_db, replayed
    labels = sorted(db["labels"].find({}), key=lambda entry: entry["labelled_at"])
    found: dict[str, list[float]] = {}
    states = replay(
        DEMO,
        [event_from_document(DEMO, d) for batch in history.batches() for d in batch],
        [label_from_document(DEMO, entry) for entry in labels],
        on_row=lambda event, vector: found.update({event.transaction_id: vector}),
    )
    assert states == run.states
    names = DEMO.names
    for transaction in db["transactions"].find({"score": {"$exists": True}}):
        stored = [transaction["features"][name] for name in names]
        assert stored == [None if v != v else v for v in found[transaction["_id"]]]
    assert all(o.decision in Decision for o in PlainScoring().assess([found[next(iter(found))]]))


def _cut() -> datetime:
    return UNTIL - timedelta(days=60)
