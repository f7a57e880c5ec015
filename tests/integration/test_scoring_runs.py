"""A file scored over a real MongoDB and a real S3: killed, cancelled, taken over; every row once."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from services.access import Actor, Role
from services.adapters.mongo.client import Db
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.scoring_runs import MongoWriteBackAudit
from services.domain.mapping import read_mapping
from services.domain.states import RunState
from services.errors import Conflict, Denied, NotFound
from services.intake import Intake
from services.live_scoring_write_back import WriteBack
from services.scoring_runs import ScoringRuns
from services.scoring_runs_rows import REQUIRED, MappedRows
from services.scoring_runs_state import ScoringRun
from services.settings import Settings
from services.worker_status import utc_now
from tests.integration.scoring_process import ANALYST, score_of
from tests.integration.scoring_process import runs as made
from tests.records import record

ROWS = 2_000


def amount(row: int) -> int:
    return row * 7 % 50_000


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    """2,000 payments; every 100th has no amount that is one."""
    lines = [",".join(REQUIRED)]
    for row in range(1, ROWS + 1):
        value = "much" if row % 100 == 0 else amount(row)
        lines.append(
            f"t{row},2026-01-20T12:00:00Z,{value},EUR,cus_{row % 40},tok_1,431940,1234,mer_{row % 9},Shop,5732,"
            "electronics,DE,ecom,stored"
        )
    path = tmp_path / "payments.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def service(settings: Settings, db: Db) -> Iterator[Callable[..., ScoringRuns]]:
    """service(...): a process of screens, as it were."""
    opened: list[tuple[ScoringRuns, Any]] = []

    def build(**options: Any) -> ScoringRuns:
        opened.append(made(settings, **options))
        return opened[-1][0]

    yield build
    for runs, database in opened:
        runs.close()
        database.client.close()


def start(runs: ScoringRuns, path: Path) -> ScoringRun:
    with path.open("rb") as file:
        return runs.start(file, path.name, actor=ANALYST)


def reaches(runs: ScoringRuns, rows: int) -> ScoringRun:
    """The person's newest run once it has so many rows."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = runs.runs(actor=ANALYST)
        if found and found[0].rows >= rows:
            return found[0]
        time.sleep(0.01)
    raise TimeoutError


def table(runs: ScoringRuns, run_id: str, what: str = "results", form: str = "parquet") -> pa.Table:
    out = io.BytesIO()
    runs.write(run_id, out, what=what, form=form, actor=ANALYST)
    read = pq.read_table if form == "parquet" else pa_csv.read_csv
    return read(io.BytesIO(out.getvalue()))


def whole(runs: ScoringRuns, run_id: str) -> None:
    """Every row of the file is there once, scored or refused, with the score that it must have."""
    run = runs.get(run_id, actor=ANALYST)
    bad = [row for row in range(1, ROWS + 1) if row % 100 == 0]
    good = [row for row in range(1, ROWS + 1) if row % 100]
    assert (run.state, run.rows, run.scored, run.refused) == (RunState.DONE, ROWS, len(good), len(bad))
    assert sum(run.counts.values()) == run.scored
    for form in ("parquet", "csv"):
        results = table(runs, run_id, form=form)
        assert results.column("row").to_pylist() == good
        assert results.column("transaction_id").to_pylist() == [f"t{row}" for row in good]
        assert results.column("score").to_pylist() == [score_of(amount(row)) for row in good]
    assert table(runs, run_id, "refused").column("row").to_pylist() == bad


def test_a_process_killed_in_the_middle_loses_and_doubles_no_row(
    service: Callable[..., ScoringRuns], settings: Settings, payments: Path
) -> None:
    env = os.environ | {
        "MONGODB_URI": settings.mongodb_uri,
        "FRAUD_DESK_DATABASE": settings.database,
        "FRAUD_DESK_BUCKET": settings.bucket,
    }
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.scoring_process", str(payments)], env=env)
    runs = service()
    try:
        run = reaches(runs, 700)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(Conflict, match="under way"):
        runs.resume(run.run_id, actor=ANALYST)  # it may be alive still
    later = service(clock=lambda: utc_now() + timedelta(seconds=60))
    assert runs.get(run.run_id, actor=ANALYST).interrupted(utc_now() + timedelta(seconds=60))
    taken = later.resume(run.run_id, actor=ANALYST)
    assert 700 <= taken.rows < ROWS
    later.wait(run.run_id, 30.0)
    whole(later, run.run_id)


def test_a_part_that_was_written_but_not_committed_is_written_anew(
    service: Callable[..., ScoringRuns], payments: Path, db: Db
) -> None:
    runs = service(seconds=0.02)
    run = start(runs, payments)
    reaches(runs, 500)
    runs.cancel(run.run_id, actor=ANALYST)
    runs.wait(run.run_id, 30.0)
    # As if the process had been killed between the part and the commit: the place is one batch back.
    held = runs.get(run.run_id, actor=ANALYST)
    back = {"rows": -100, "batches": -1, "scored": -99, "refused": -1, "problems": -1}
    db["scoring_runs"].update_one({"_id": run.run_id}, {"$inc": back})
    approved = sum(score_of(amount(row)) < 0.9 for row in range(held.rows - 99, held.rows))
    reviewed = sum(0.9 <= score_of(amount(row)) < 0.99 for row in range(held.rows - 99, held.rows))
    counts = {"approve": -approved, "review": -reviewed, "decline": approved + reviewed - 99}
    db["scoring_runs"].update_one({"_id": run.run_id}, {"$inc": counts})
    runs.resume(run.run_id, actor=ANALYST)
    runs.wait(run.run_id, 30.0)
    whole(runs, run.run_id)


def test_cancelled_by_another_process_and_resumed_it_ends_whole(
    service: Callable[..., ScoringRuns], payments: Path
) -> None:
    runs, other = service(seconds=0.02), service()
    run = start(runs, payments)
    reaches(other, 300)
    with pytest.raises(Conflict, match="already"):
        start(other, payments)
    other.cancel(run.run_id, actor=ANALYST)
    runs.wait(run.run_id, 30.0)
    held = other.get(run.run_id, actor=ANALYST)
    assert held.state is RunState.CANCELLED
    assert 300 <= held.rows < ROWS
    other.resume(run.run_id, actor=ANALYST)
    other.wait(run.run_id, 30.0)
    whole(other, run.run_id)
    with pytest.raises(Conflict, match="to its end"):
        other.resume(run.run_id, actor=ANALYST)


def test_a_process_that_was_taken_over_commits_nothing_more(
    service: Callable[..., ScoringRuns], payments: Path
) -> None:
    slow = service(seconds=0.02)
    run = start(slow, payments)
    reaches(slow, 300)
    later = service(clock=lambda: utc_now() + timedelta(seconds=60))
    for _ in range(50):  # the slow one commits while the other looks
        try:
            later.resume(run.run_id, actor=ANALYST)
            break
        except Conflict:
            continue
    slow.wait(run.run_id, 30.0)
    later.wait(run.run_id, 30.0)
    whole(later, run.run_id)


def test_runs_are_their_owners_and_a_deleted_one_leaves_nothing(
    service: Callable[..., ScoringRuns], payments: Path
) -> None:
    runs = service()
    run = start(runs, payments)
    runs.wait(run.run_id, 30.0)
    with pytest.raises(NotFound):
        runs.get(run.run_id, actor=Actor("s-2", "Grace Hopper", Role.ANALYST))
    with pytest.raises(Denied):
        runs.get(run.run_id, actor=Actor("s-1", "Ada Lovelace", Role.MANAGER))
    runs.delete(run.run_id, actor=ANALYST)
    assert list(runs._files._objects.list("scoring/")) == []
    assert runs.runs(actor=ANALYST) == ()


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_parquet_and_json_lines_score_like_csv(service: Callable[..., ScoringRuns], tmp_path: Path, form: str) -> None:
    cells = dict(zip(REQUIRED, ["t1", "2026-01-20T12:00:00Z", 950, "EUR", "cus_1", "tok_1", "431940", "1234", "mer_1",
                                "Shop", "5732", "electronics", "DE", "ecom", "stored"], strict=True))  # fmt: skip
    path = tmp_path / f"payments.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist([cells, cells | {"amount_minor": None}]), path)
    else:
        nested = record("t1", amount_minor=950)
        nested["event_time"] = "2026-01-20T12:00:00Z"
        nested.pop("attributes", None)
        lost = nested | {"amount_minor": None}
        path.write_text("\n".join(json.dumps(one, default=str) for one in (nested, lost)))
    runs = service()
    run = start(runs, path)
    runs.wait(run.run_id, 30.0)
    run = runs.get(run.run_id, actor=ANALYST)
    assert [(p.row, p.column) for p in run.first_problems] == [(2, "amount_minor")]
    assert [(t.row, t.score, t.decision) for t in run.top] == [(1, 0.95, "review")]


def test_a_file_of_a_mapping_is_read_in_its_columns(tmp_path: Path) -> None:
    mapping = read_mapping(
        'name = "x"\nid = "id"\n[time]\ncolumn = "when"\n[amount]\ncolumn = "eur"\ncurrency = "EUR"\n'
        '[entities]\ncustomer = "who"\n[label]\ncolumn = "bad"\nfraud = [1]\ndelay_days = 7\n'
    )
    path = tmp_path / "own.csv"
    path.write_text("id,when,eur,who\na,2026-01-20T12:00:00Z,9.50,me\nb,2026-01-20T12:00:00Z,x,me\n")
    rows = MappedRows(mapping, None)
    rows.check_header(path)
    assert rows.columns == ("id", "when", "eur", "who")
    checked = next(rows.batches(path, after_row=0, batch_rows=10, now=utc_now()))
    assert [(d["_id"], d["amount_minor"], d["customer_id"]) for d in checked.documents] == [("a", 950, "me")]
    assert [(r.row, r.column) for r in checked.refused] == [(2, "eur")]


def test_writing_back_goes_through_the_front_door_once_and_is_audited(db: Db) -> None:
    door = WriteBack(Intake(MongoIntakeStore(db)), MongoWriteBackAudit(db), named=frozenset({"s-1"}))
    admin, other = Actor("s-9", "Root", Role.ADMIN), Actor("s-2", "Grace Hopper", Role.ANALYST)
    records = [record("w1"), record("w2")]
    assert [door.allowed(a) for a in (admin, ANALYST, other, Actor("s-1", "Ada", Role.MANAGER))] == [
        True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(Denied):
        door.write(records, actor=other)
    first, second = door.write(records, actor=ANALYST), door.write(records, actor=ANALYST)
    assert (first.accepted, first.duplicates, first.refused) == (2, 0, 0)
    assert (second.accepted, second.duplicates, second.refused) == (0, 2, 0)
    assert db["transactions"].count_documents({}) == 2
    entries = list(db["audit"].find({"action": "write_back"}).sort("at"))
    assert [(e["outcome"], e["actor"]["name"]) for e in entries] == [
        ("requested", ANALYST.name), ("done", ANALYST.name),
    ]  # fmt: skip
