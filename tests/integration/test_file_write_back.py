"""Scores of a file onto stored transactions over a real MongoDB: each row once, and nothing that a person decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from services.access import Actor, Role
from services.adapters.mongo.client import Db
from services.adapters.mongo.file_scores import MongoFileScores
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.scoring_runs import MongoScoringRuns, MongoWriteBackAudit
from services.domain.states import RunState
from services.errors import Conflict, Denied, Unavailable
from services.intake import Intake
from services.live_scoring_write_back import WriteBack
from services.scoring_runs import ScoringRuns
from services.scoring_runs_files import PART, RunFiles
from services.scoring_runs_rows import OwnRows
from services.scoring_runs_state import ScoringRun
from services.scoring_runs_write_back import FileScore, FileWriteBack, Written
from tests.pages.fakes_scoring import MemoryObjects

ADMIN = Actor("s-9", "Root", Role.ADMIN)
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
SCORED = datetime(2026, 6, 2, tzinfo=UTC)


def stored(identifier: str, **more: Any) -> dict[str, Any]:
    score = {"value": 0.1, "decision": "approve", "scored_at": AT, "model_version": "v1", "reasons": []}
    base = {"_id": identifier, "event_time": AT, "amount_minor": 100, "customer_id": "c", "version": 1, "score": score}
    return {name: value for name, value in (base | more).items() if value is not None}


def part(rows: Sequence[tuple[str, float, str]]) -> pa.Table:
    base = {
        "row": 1, "reason_1": None, "reason_2": None, "reason_3": None, "model_version": "v2", "amount_minor": 100,
        "event_time": AT, "customer_id": "c", "features_version": "2", "review_threshold": 0.5,
        "decline_threshold": 0.9, "reasons": '[{"feature":"x","text":"X","value":1.0,"normal":null,"contribution":2}]',
        "latency_ms": 1.0, "scored_at": SCORED,
    }  # fmt: skip
    made = [base | {"transaction_id": i, "score": value, "decision": decision} for i, value, decision in rows]
    return pa.Table.from_pylist(made, schema=PART)


class Desk:
    """One process of screens; a run whose parts are given."""

    def __init__(self, db: Db, parts: Sequence[pa.Table], objects: MemoryObjects, *, store: Any = None) -> None:
        self.clock = SCORED + timedelta(hours=1)
        files, runs = RunFiles(objects), MongoScoringRuns(db)
        scored = sum(table.num_rows for table in parts)
        run = ScoringRun(
            "r", "f.csv", 1, "", scored, 0, ADMIN.name, ADMIN.subject, AT, "o", AT, AT, state=RunState.DONE,
            batches=len(parts), scored=scored, rows=scored,
        )  # fmt: skip
        if runs.get("r") is None:
            runs.create(run)
        for number, table in enumerate(parts):
            files.put_batch("r", number, table, [])
        door = WriteBack(Intake(MongoIntakeStore(db)), MongoWriteBackAudit(db))
        self.back = FileWriteBack(
            ScoringRuns(runs, files, None, OwnRows),  # type: ignore[arg-type]  # nothing is scored here
            files, store or MongoFileScores(db), door, clock=lambda: self.clock, backoff_seconds=(0.01,),
        )  # fmt: skip

    def write(self) -> Written:
        self.back.start("r", actor=ADMIN)
        self.back.wait("r", 20.0)
        found = self.back.get("r", actor=ADMIN)
        assert found is not None
        return found


def test_scores_replace_scores_open_alerts_and_leave_what_a_person_decided(db: Db) -> None:
    closed, opened = {"status": "closed"}, {"status": "open", "priority": 1.0, "value_at_risk_minor": 100}
    db["transactions"].insert_many([
        stored("plain"), stored("risky"), stored("queued", alert=opened), stored("decided", label={"value": "genuine"}),
        stored("closed", alert=closed), stored("other", amount_minor=101), stored("waiting", score=None),
    ])  # fmt: skip
    ids = ("plain", "queued", "decided", "closed", "other", "waiting", "nobody", "plain")
    desk = Desk(db, [part([(i, 0.3, "approve") for i in ids]), part([("risky", 0.95, "decline")])], MemoryObjects())
    before = {d["_id"]: d for d in db["transactions"].find()}
    done = desk.write()
    assert (done.state, done.rows, done.alerts) == (RunState.DONE, 9, 1)
    counts = (done.written, done.known, done.absent, done.decided, done.other, done.unscored)
    assert counts == (3, 1, 1, 2, 1, 1)
    after = {d["_id"]: d for d in db["transactions"].find()}
    assert [i for i in after if after[i] != before[i]] == ["plain", "risky", "queued"]
    assert (after["plain"]["score"]["value"], after["plain"]["score"]["run_id"]) == (0.3, "r")
    assert after["plain"]["score"]["reasons"][0]["text"] == "X"
    assert "alert" not in after["plain"]
    assert after["queued"]["alert"] == opened | {"priority": 30.0}
    assert (after["risky"]["alert"]["status"], after["risky"]["version"]) == ("open", 2)
    assert [e["_id"] for e in db["case_events"].find()] == ["risky:alert"]
    again = desk.write()
    assert (again.written, again.known, again.alerts) == (0, 4, 0)
    assert {d["_id"]: d for d in db["transactions"].find()} == after
    entries = list(db["audit"].find({"action": "write_back"}).sort("outcome", 1))
    assert [e["outcome"] for e in entries] == ["done", "done", "requested", "requested"]
    assert sorted(e["after"]["written"] for e in entries[:2]) == [0, 3]


class Cut(MongoFileScores):
    """Loses the database at the third part, after its work and before its end."""

    calls = 0

    def _save(self, written: Written, session: Any) -> None:
        super()._save(written, session)
        if session is not None:
            self.calls += 1
            if self.calls == 3:
                raise SystemExit  # the thread is gone, as after a kill


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_cut_off_in_a_part_it_goes_on_and_counts_every_row_once(db: Db) -> None:
    ids = [f"t{number}" for number in range(60)]
    db["transactions"].insert_many([stored(i) for i in ids])
    parts = [part([(i, 0.7, "review") for i in ids[start : start + 10]]) for start in range(0, 60, 10)]
    objects = MemoryObjects()
    Desk(db, parts, objects, store=Cut(db)).write()
    other = Desk(db, parts, objects)
    held = other.back.get("r", actor=ADMIN)
    assert held is not None
    assert (held.state, held.batch, held.written) == (RunState.RUNNING, 2, 20)
    assert db["transactions"].count_documents({"score.run_id": "r"}) == 20
    with pytest.raises(Conflict, match="already"):
        other.back.start("r", actor=ADMIN)
    other.clock += timedelta(minutes=1)
    done = other.write()
    assert (done.state, done.rows, done.written, done.known, done.alerts) == (RunState.DONE, 60, 60, 0, 60)
    assert db["case_events"].count_documents({}) == 60


class Away(MongoFileScores):
    """Does not answer once."""

    away = True

    def write(self, written: Written, scores: Sequence[FileScore], *, at: datetime) -> Written:
        if self.away:
            self.away = False
            raise Unavailable("MongoDB is not reachable.", dependency="MongoDB")
        return super().write(written, scores, at=at)


def test_a_database_that_is_away_is_waited_for_and_only_those_who_may_begin_or_end_it(db: Db) -> None:
    db["transactions"].insert_one(stored("a"))
    desk = Desk(db, [part([("a", 0.3, "approve")])], MemoryObjects(), store=Away(db))
    for refused in (desk.back.start, desk.back.stop):
        with pytest.raises(Denied):
            refused("r", actor=Actor(ADMIN.subject, "Ada", Role.ANALYST))
    done = desk.write()
    assert (done.state, done.written, done.trouble) == (RunState.DONE, 1, None)


def test_ended_by_a_person_the_process_writes_nothing_more(db: Db) -> None:
    db["transactions"].insert_one(stored("a"))
    desk = Desk(db, [part([("a", 0.3, "approve")])], MemoryObjects())
    store = MongoFileScores(db)
    mine = Written("r", "me", ADMIN.name, AT, desk.clock, 1)
    store.take(mine, former=None)
    desk.back.stop("r", actor=ADMIN)
    with pytest.raises(Conflict):
        store.write(mine, [], at=AT)
    ended = desk.back.get("r", actor=ADMIN)
    assert ended is not None
    assert ended.state is RunState.CANCELLED
    assert desk.write().written == 1
