"""The loop around the steps, the builder process, and the question whether the lake has caught up."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from services.errors import Conflict, InvalidData, NotFound, Unavailable
from services.revisions import StaleRevision
from services.training import Experiment, ExperimentState
from tests.unit.lifecycle_fakes import NOW
from workers.lifecycle import MAX_BACKOFF_SECONDS, Line
from workers.lifecycle_building import ATTEMPTS, Builders, source_archive
from workers.lifecycle_lake import CaughtUp
from workers.lifecycle_ports import Built, LakeSnapshots


@dataclass(frozen=True)
class Record:
    state: str = "a"
    note: str = ""


class Steps:
    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.notes: list[str] = []
        self.failed: list[str] = []

    def step(self, record: Record) -> Record:
        outcome = self.outcomes.pop(0) if self.outcomes else record
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, Record)
        return outcome

    def wait(self, record: Record, note: str) -> Record:
        self.notes.append(note)
        return record

    def fail(self, record: Record, reason: str) -> Record:
        self.failed.append(reason)
        return Record("failed")


GONE = Unavailable("SageMaker is not reachable.", dependency="SageMaker")


def line(steps: Steps) -> Line[Record]:
    return Line("experiment", lambda: (Record(),), lambda record: record.state in {"failed", "done"}, steps)


def test_a_record_goes_as_far_as_it_can_in_one_turn_and_no_further_than_its_end() -> None:
    steps = Steps(Record("b"), Record("c"), Record("done"), Record("never"))
    made = line(steps)
    assert made.turn(0.0) is None
    assert steps.outcomes == [Record("never")]
    assert made.take_counts() == {"experiment_b": 1, "experiment_c": 1, "experiment_done": 1}
    assert made.take_counts() == {}


def test_while_something_is_away_the_pauses_grow_to_a_limit_and_the_note_says_so() -> None:
    steps = Steps(*[GONE] * 8)
    made, now, pauses = line(steps), 0.0, []
    for _ in range(8):
        assert made.turn(now) == "SageMaker is not reachable."
        pauses.append(made.pause_seconds)
        assert made.turn(now) is None, "within the pause nothing is tried"
        now = made.not_before
    assert pauses == [1, 2, 4, 8, *[MAX_BACKOFF_SECONDS] * 4]
    assert steps.notes[0] == "SageMaker is not reachable. Trying again; nothing is lost."
    made.turn(now)
    assert made.pause_seconds == 0


def test_a_bug_ends_the_one_request_it_met() -> None:
    steps = Steps(KeyError("x"))
    line(steps).turn(0.0)
    assert steps.failed == ["The desk failed on it (KeyError); see the lifecycle's log"]


def test_a_change_in_between_is_looked_at_in_the_next_turn() -> None:
    steps = Steps(StaleRevision("changed"))
    assert line(steps).turn(0.0) is None
    assert steps.failed == []


class Objects:
    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put(self, key: str, body: bytes) -> None:
        self.held[key] = body

    def get(self, key: str) -> tuple[bytes, str]:
        if key not in self.held:
            raise NotFound(key)
        return self.held[key], "etag"

    def etag(self, key: str) -> str | None:
        return "etag" if key in self.held else None


EXPERIMENT = Experiment(
    "exp-1", "Weekly", ExperimentState.PREPARING, "Ada", NOW, NOW, NOW, NOW, "xgboost", {}, snapshot_id=77
)
MANIFEST = json.dumps({"snapshot_id": 77, "rows": 100, "positives": 7}).encode()


def builders(objects: Objects, program: str) -> Builders:
    return Builders(objects=objects, bucket="b", command=(sys.executable, "-S", "-c", program))


def polled(made: Builders) -> Built | None:
    deadline = time.monotonic() + 30
    while made.poll(EXPERIMENT) is None and time.monotonic() < deadline:
        run = made._run
        if run is not None:
            run.process.wait(30)
            return made.poll(EXPERIMENT)
    return None


def test_a_finished_set_is_not_built_again() -> None:
    objects = Objects()
    objects.held["training/exp-1/manifest.json"] = MANIFEST
    made = builders(objects, "raise SystemExit(9)")
    assert made.poll(EXPERIMENT) == Built(100, 7)


def test_a_set_of_another_snapshot_is_built_anew() -> None:
    objects = Objects()
    objects.held["training/exp-1/manifest.json"] = MANIFEST
    made = builders(objects, "input()")
    assert made.poll(replace(EXPERIMENT, snapshot_id=78)) is None
    made.close()


@pytest.mark.parametrize(("code", "kind"), [(2, InvalidData), (3, Unavailable)])
def test_the_builders_own_sentence_is_passed_on(code: int, kind: type[Exception]) -> None:
    made = builders(Objects(), f"print('noise'); print('The window holds no transactions.'); raise SystemExit({code})")
    with pytest.raises(kind, match=r"^The window holds no transactions\.$"):
        polled(made)


def test_a_builder_that_keeps_dying_is_given_up_with_the_signal() -> None:
    made = builders(Objects(), "import os; os.kill(os.getpid(), 9)")
    for _ in range(ATTEMPTS - 1):
        assert polled(made) is None
    with pytest.raises(InvalidData, match="killed by signal 9"):
        polled(made)


def test_stopping_ends_the_builder() -> None:
    made = builders(Objects(), "input()")
    assert made.poll(EXPERIMENT) is None
    run = made._run
    assert run is not None
    made.cancel("exp-other")
    assert run.process.poll() is None
    made.cancel("exp-1")
    assert run.process.poll() is not None


def test_the_code_of_an_experiment_is_uploaded_once_and_always_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)")
    (tmp_path / "notes.txt").write_text("not code")
    objects = Objects()
    made = Builders(objects=objects, bucket="b", code=tmp_path)
    assert made.source_uri("exp-1") == "s3://b/training/exp-1/source/sourcedir.tar.gz"
    first = objects.held["training/exp-1/source/sourcedir.tar.gz"]
    assert first == source_archive(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == ["train.py"]
    (tmp_path / "train.py").write_text("print(2)")
    made.source_uri("exp-1")
    assert objects.held["training/exp-1/source/sourcedir.tar.gz"] == first


class Recent:
    def __init__(self) -> None:
        self.reads = 0

    def labels(self, until: datetime, *, limit: int) -> dict[str, datetime]:
        self.reads += 1
        return {"l1": NOW - timedelta(seconds=9), "l2": NOW}

    def transactions(self, until: datetime, *, limit: int) -> dict[str, datetime]:
        return {"t1": NOW}


class Tables:
    def __init__(self) -> None:
        self.labels: dict[str, datetime] = {}
        self.transactions: dict[str, datetime] = {}
        self.pinned: list[tuple[int, str, str]] = []
        self.busy = False

    def read_labels(
        self,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        assert start is not None
        return pa.table({"label_id": pa.array([k for k, at in self.labels.items() if at >= start], pa.string())})

    def read_transactions(
        self,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        assert start is not None
        assert end is not None
        held = [k for k, at in self.transactions.items() if start <= at < end]
        return pa.table({"transaction_id": pa.array(held, pa.string())})

    def snapshot(self, table: str = "transactions") -> int:
        return {"transactions": 77, "labels": 78}[table]

    def pin(self, snapshot_id: int, tag: str, table: str = "transactions") -> None:
        if self.busy:
            raise Conflict("being written too fast to tag it")
        self.pinned.append((snapshot_id, tag, table))


def test_the_lake_has_caught_up_when_the_last_verdicts_and_transactions_are_in_it() -> None:
    recent, tables = Recent(), Tables()
    lake = CaughtUp(recent=recent, lake=lambda: tables)
    assert lake.behind(NOW) == (
        "Waiting for the lake: 2 verdicts and 1 transaction saved before the request still on the way."
    )
    tables.transactions["t1"] = NOW
    tables.labels["l1"] = NOW - timedelta(seconds=9)
    assert lake.behind(NOW) == "Waiting for the lake: 1 verdict saved before the request still on the way."
    tables.labels["l2"] = NOW
    assert lake.behind(NOW) is None
    assert recent.reads == 1, "what to look for is about one moment, so it is read once"


def test_both_tables_are_pinned_under_a_name_that_can_only_mean_one_snapshot() -> None:
    tables = Tables()
    lake = CaughtUp(recent=Recent(), lake=lambda: tables)
    chosen = lake.snapshots()
    assert chosen == LakeSnapshots(77, 78)
    lake.pin("exp-1", chosen)
    assert tables.pinned == [(77, "exp-1-77", "transactions"), (78, "exp-1-78", "labels")]
    tables.busy = True
    with pytest.raises(Unavailable):
        lake.pin("exp-1", chosen)
