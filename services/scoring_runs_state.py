"""How far the scoring of a file is: what is kept of it between batches, and after a kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from services.domain.states import Decision, RunState

# A run that has not been heard of for this long has no process any more: it can be taken up again.
SILENT_AFTER = timedelta(seconds=20)
MOST_TOP = 50
MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Top:
    """One of the riskiest rows. `row` counts from 1, without the header."""

    row: int
    transaction_id: str
    score: float
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """One thing wrong with a row; `column` is "" where it is the whole row."""

    row: int
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class ScoringRun:
    """scored + refused = rows, each row of the file counted once. `batches` are committed: their parts are the result.

    `lines` is at least the number of rows (a cell may span lines). `heard_at` moves with every batch and while it
    waits; `stretch_rows` and `stretch_at` are where and when the present process took it up.
    """

    run_id: str
    file_name: str
    size: int
    checksum: str
    lines: int
    parts: int
    started_by: str
    subject: str
    started_at: datetime
    # Whose work it is: a process that was replaced by another one can commit nothing more.
    owner: str
    heard_at: datetime
    stretch_at: datetime
    stretch_rows: int = 0
    state: RunState = RunState.RUNNING
    cancel_requested: bool = False
    rows: int = 0
    batches: int = 0
    scored: int = 0
    refused: int = 0
    approve: int = 0
    review: int = 0
    decline: int = 0
    problems: int = 0
    model_versions: tuple[str, ...] = ()
    top: tuple[Top, ...] = ()
    first_problems: tuple[Refused, ...] = ()
    # Why it waits, or why it ended before its end.
    trouble: str | None = None
    finished_at: datetime | None = None

    @property
    def counts(self) -> dict[Decision, int]:
        return {
            Decision.APPROVE: self.approve,
            Decision.REVIEW: self.review,
            Decision.DECLINE: self.decline,
        }

    @property
    def fraction(self) -> float:
        return 1.0 if self.state is RunState.DONE else min(self.rows / max(self.lines, 1), 1.0)

    def interrupted(self, now: datetime) -> bool:
        """Its process is gone: killed, or the machine restarted."""
        return self.state is RunState.RUNNING and now - self.heard_at > SILENT_AFTER

    def rows_per_second(self) -> float | None:
        """Since it was started or taken up; None before the first batch."""
        seconds = (self.heard_at - self.stretch_at).total_seconds()
        done = self.rows - self.stretch_rows
        return done / seconds if done and seconds > 0 else None

    def seconds_left(self) -> float | None:
        speed = self.rows_per_second()
        return None if speed is None else max(self.lines - self.rows, 0) / speed


def as_document(run: ScoringRun) -> dict[str, Any]:
    """For storage: plain values, `_id` the run's id. `active` is there while it runs: one a person (unique index)."""
    values = asdict(run)
    document = {"_id": values.pop("run_id"), **values, "state": str(run.state)}
    if run.state is RunState.RUNNING:
        document["active"] = run.subject
    return document


def from_document(document: dict[str, Any]) -> ScoringRun:
    values = {name: value for name, value in document.items() if name in ScoringRun.__dataclass_fields__}
    values |= {
        "run_id": document["_id"],
        "state": RunState(document["state"]),
        "model_versions": tuple(document["model_versions"]),
        "top": tuple(Top(**one) for one in document["top"]),
        "first_problems": tuple(Refused(**one) for one in document["first_problems"]),
    }
    return ScoringRun(**values)
