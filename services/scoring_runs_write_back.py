"""Writing the scores of a file back to the desk's transactions that it names, part by part, by permission.

A score replaces the one a transaction has. Nothing else of it changes but its alert: one is opened where the new
decision asks for it and there was none, and an open one gets the new priority. What a person has decided stays as it
was decided upon, and nothing that the desk's own scorer has not scored is touched.

A part and the place after it are one database transaction, so a process killed anywhere counts nothing twice; a row
written before is as new as the file's and counts as such. Other processes are kept out by the owner.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import orjson
import pyarrow as pa

from services.access import Actor
from services.domain.states import AlertStatus, RunState
from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable
from services.live_scoring_write_back import WriteBack
from services.run_threads import RunThreads
from services.scoring_runs import ScoringRuns
from services.scoring_runs_files import RunFiles
from services.scoring_runs_patience import BACKOFF_SECONDS, patiently
from services.scoring_runs_state import SILENT_AFTER, ScoringRun
from services.worker_status import utc_now

log = logging.getLogger(__name__)
_TRIES = 20


class Fate(StrEnum):
    """What became of a row's score."""

    WRITTEN = "written"
    KNOWN = "known"
    ABSENT = "absent"
    DECIDED = "decided"
    OTHER = "other"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Written:
    """How far the scores of a run are written back. The fates together are the `rows` looked at, of `total`; `batch` is
    the next part. `alerts` were opened by it."""

    run_id: str
    owner: str
    started_by: str
    started_at: datetime
    heard_at: datetime
    total: int
    state: RunState = RunState.RUNNING
    batch: int = 0
    rows: int = 0
    written: int = 0
    known: int = 0
    absent: int = 0
    decided: int = 0
    other: int = 0
    unscored: int = 0
    alerts: int = 0
    trouble: str | None = None
    finished_at: datetime | None = None

    @property
    def fraction(self) -> float:
        return 1.0 if self.state is RunState.DONE else min(self.rows / max(self.total, 1), 1.0)

    def interrupted(self, now: datetime) -> bool:
        """Its process is gone."""
        return self.state is RunState.RUNNING and now - self.heard_at > SILENT_AFTER


def as_document(written: Written) -> dict[str, Any]:
    values = asdict(written)
    return {"_id": values.pop("run_id"), **values, "state": str(written.state)}


def from_document(document: Mapping[str, Any]) -> Written:
    values = {name: value for name, value in document.items() if name in Written.__dataclass_fields__}
    return Written(**values | {"run_id": document["_id"], "state": RunState(document["state"])})


@dataclass(frozen=True, slots=True)
class FileScore:
    """A row's score as the desk stores it (`score`), and which payment it was made for."""

    transaction_id: str
    amount_minor: int
    event_time: datetime
    customer_id: str
    score: dict[str, Any]


def scores_of(part: pa.Table, run_id: str) -> list[FileScore]:
    """The scores of a part (PART), in order; each says of which run it is."""
    kept = ("decision", "review_threshold", "decline_threshold", "model_version", "features_version", "latency_ms")
    found = []
    for row in part.to_pylist():
        score = {"value": row["score"], **{name: row[name] for name in kept}, "scored_at": row["scored_at"]}
        score |= {"reasons": orjson.loads(row["reasons"]), "run_id": run_id}
        found.append(
            FileScore(row["transaction_id"], row["amount_minor"], row["event_time"], row["customer_id"], score)
        )
    return found


def fate(one: FileScore, stored: Mapping[str, Any] | None) -> Fate:
    """What is to become of a row's score. `stored`: amount_minor, event_time, customer_id, score, label and alert of
    the transaction with its id; None where there is none."""
    if stored is None:
        return Fate.ABSENT
    same = (stored["amount_minor"], stored["event_time"], stored["customer_id"])
    if same != (one.amount_minor, one.event_time, one.customer_id):
        return Fate.OTHER
    if stored.get("label") or (stored.get("alert") or {}).get("status") == AlertStatus.CLOSED:
        return Fate.DECIDED
    if not stored.get("score"):
        return Fate.UNSCORED
    return Fate.KNOWN if stored["score"]["scored_at"] >= one.score["scored_at"] else Fate.WRITTEN


class WrittenStore(Protocol):
    def get(self, run_id: str) -> Written | None: ...

    def take(self, written: Written, *, former: Written | None) -> None:
        """Raises Conflict where it is not as `former` any more."""
        ...

    def commit(self, written: Written) -> None:
        """Raises Conflict where another process has taken it over, or a person has ended it."""
        ...

    def write(self, written: Written, scores: Sequence[FileScore], *, at: datetime) -> Written:
        """Write what is to be written and the place after it, all or nothing; the counts then. As `commit`."""
        ...


class _Stopped(Exception):
    pass


class FileWriteBack:
    """A thread of this process does the work; one a run."""

    def __init__(
        self, runs: ScoringRuns, files: RunFiles, store: WrittenStore, door: WriteBack, *,
        clock: Callable[[], datetime] = utc_now, backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
    ) -> None:  # fmt: skip
        self._runs, self._files, self._store, self._door = runs, files, store, door
        self._clock, self._backoff = clock, backoff_seconds
        self._threads = RunThreads("write-back")

    def allowed(self, actor: Actor) -> bool:
        return self._door.allowed(actor)

    def get(self, run_id: str, *, actor: Actor) -> Written | None:
        """How far one of the person's own runs is written back; None where nobody began."""
        return self._store.get(self._runs.get(run_id, actor=actor).run_id)

    def start(self, run_id: str, *, actor: Actor) -> Written:
        """Begin, or go on where it was cut off; what is at its end begins anew (and finds what it wrote as known).
        Raises Denied, NotFound, Conflict while the run or its writing back is under way, InvalidData for nothing to
        write."""
        self._door.require(actor)
        run, now = self._runs.get(run_id, actor=actor), self._clock()
        former = self._store.get(run_id)
        if run.state is RunState.RUNNING:
            raise Conflict("The file is being scored; write back when it is done, or cancel it first.")
        if not run.scored:
            raise InvalidData("No row of this file was scored; there is nothing to write back.")
        if former is not None and former.state is RunState.RUNNING and not former.interrupted(now):
            raise Conflict("The scores of this file are being written back already.")
        owner = uuid.uuid4().hex
        if former is None or former.state is RunState.DONE:
            written = Written(run_id, owner, actor.name, now, now, run.scored)
        else:
            written = replace(
                former, owner=owner, state=RunState.RUNNING, heard_at=now, total=run.scored, trouble=None,
                finished_at=None,
            )  # fmt: skip
        self._store.take(written, former=former)
        self._door.note(f"{run_id}:{owner[:12]}", actor, {"scores": run.scored, "file": run.file_name}, "requested")
        self._threads.start(run_id, partial(self._work, run, written, actor))
        return written

    def stop(self, run_id: str, *, actor: Actor) -> None:
        """End it within a part; what was written stays, and it can go on. Raises Denied, NotFound."""
        self._door.require(actor)
        for _ in range(_TRIES):
            held = self.get(run_id, actor=actor)
            if held is None:
                raise NotFound("The scores of this file are not being written back.")
            if held.state is not RunState.RUNNING:
                return
            ended = replace(held, owner=uuid.uuid4().hex, state=RunState.CANCELLED, finished_at=self._clock())
            try:
                self._store.take(ended, former=held)
            except Conflict:  # a part was written in between: its counts are to stay
                continue
            return
        raise Conflict("It moves on too fast to be ended; try again.")

    def wait(self, run_id: str, seconds: float) -> None:
        """Until this process writes no more of it, at most this long."""
        self._threads.wait(run_id, seconds)

    def close(self) -> None:
        """End all work within a part; it can go on."""
        self._threads.close()

    def _work(self, run: ScoringRun, written: Written, actor: Actor) -> None:
        work = _Work(self, run, written)
        try:
            work.through()
            work.end(RunState.DONE)
        except _Stopped:
            work.end(RunState.CANCELLED, "The desk was stopped.")
        except Conflict as error:
            log.warning("write_back.taken_over run=%s: %s", run.run_id, error.message)
        except ServiceError as error:
            work.end(RunState.FAILED, f"{error.message} What was written until then stays; go on from there.")
        except Exception:  # nobody waits for this thread: without this it would seem under way
            log.exception("write_back.broke run=%s", run.run_id)
            work.end(RunState.FAILED, "A fault of the desk ended it; its log has the details.")
        self._told(work.written, actor)

    def _told(self, written: Written, actor: Actor) -> None:
        counts = {str(each): getattr(written, each) for each in Fate} | {"alerts": written.alerts}
        try:
            over = written.state if written.state is not RunState.RUNNING else "ended by another"
            self._door.note(f"{written.run_id}:{written.owner[:12]}", actor, counts, str(over))
        except Unavailable as error:
            log.warning("write_back.not_audited run=%s counts=%s: %s", written.run_id, counts, error.message)


class _Work:
    """A run's scores while a thread writes them."""

    def __init__(self, desk: FileWriteBack, run: ScoringRun, written: Written) -> None:
        self._desk, self._run, self.written = desk, run, written

    def through(self) -> None:
        for batch in range(self.written.batch, self._run.batches):
            patiently(partial(self._part, batch), self._desk._backoff, self._wait)
            if self._desk._threads.closing.is_set():
                raise _Stopped

    def _part(self, batch: int) -> None:
        desk, now = self._desk, self._desk._clock()
        scores = scores_of(desk._files.part(self._run.run_id, batch), self._run.run_id)
        place = replace(self.written, batch=batch + 1, heard_at=now, trouble=None)
        self.written = desk._store.write(place, scores, at=now)

    def _wait(self, error: Unavailable, seconds: float) -> None:
        waiting = replace(self.written, heard_at=self._desk._clock(), trouble=f"{error.message} It is tried again.")
        try:
            self._desk._store.commit(waiting)
            self.written = waiting
        except Unavailable:
            log.warning("write_back.waits run=%s: %s", self._run.run_id, error.message)
        if self._desk._threads.closing.wait(seconds):
            raise _Stopped

    def end(self, state: RunState, trouble: str | None = None) -> None:
        now = self._desk._clock()
        ended = replace(self.written, state=state, trouble=trouble, heard_at=now, finished_at=now)
        try:
            self._desk._store.commit(ended)
            self.written = ended
        except (Unavailable, Conflict) as error:
            log.warning("write_back.end_not_kept run=%s: %s", self._run.run_id, error.message)


def told(written: Written, fates: Iterator[Fate], *, alerts: int) -> Written:
    """The counts with those of a part."""
    found = list(fates)
    counts = {str(each): getattr(written, each) + found.count(each) for each in Fate}
    return replace(written, rows=written.rows + len(found), alerts=written.alerts + alerts, **counts)
