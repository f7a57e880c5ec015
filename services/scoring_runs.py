"""Scoring a file of up to a million rows in the background: progress, cancel, and going on after a cancel or a kill.

A run outlives the browser, and the process: its place is in MongoDB, its file and its results are in the desk's bucket.
Each batch is written as a part with the batch's number, then committed together with the counts. Killed in between, the
batch is scored again and its part replaced, so no row is lost or doubled. Rows are scored against the entities' state
of the moment their batch is scored, not against the rows before them: scoring a file changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from services.access import Actor, Permission, require
from services.domain.states import RunState
from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable
from services.run_threads import RunThreads
from services.scoring import Assessment
from services.scoring_runs_count import count_lines
from services.scoring_runs_files import REFUSED, RESULTS, RunFiles, write_csv, write_parquet
from services.scoring_runs_outcome import outcome
from services.scoring_runs_patience import BACKOFF_SECONDS, patiently
from services.scoring_runs_rows import Checked, Rows, ahead
from services.scoring_runs_state import ScoringRun
from services.worker_status import utc_now

log = logging.getLogger(__name__)

MAX_ROWS = 1_000_000
MAX_BYTES = 500 * 2**20
# One call of the model, one query of the states, one part, one commit.
BATCH_ROWS = 2_000
# Runs of a person that are kept; the oldest give way.
KEPT = 5


class RunStore(Protocol):
    def create(self, run: ScoringRun) -> None:
        """Raises Conflict while another run of the same person is under way."""
        ...

    def get(self, run_id: str) -> ScoringRun | None: ...

    def of(self, subject: str, limit: int) -> tuple[ScoringRun, ...]:
        """The person's runs, newest first."""
        ...

    def take(self, run: ScoringRun, *, former: ScoringRun) -> None:
        """Raises Conflict where it is not as `former` any more, or another run of the person is under way."""
        ...

    def commit(self, run: ScoringRun) -> bool:
        """Save it; whether cancelling was asked for. Raises Conflict where another process has taken it over."""
        ...

    def request_cancel(self, run_id: str) -> None: ...

    def delete(self, run_id: str) -> None: ...


class Scorer(Protocol):
    def assess(self, documents: Sequence[dict[str, Any]]) -> list[Assessment]: ...


class _Stopped(Exception):
    pass


class ScoringRuns:
    """One run at a time for a person; a thread of this process does the work."""

    def __init__(
        self, store: RunStore, files: RunFiles, scorer: Scorer, rows: Callable[[], Rows], *,
        clock: Callable[[], datetime] = utc_now, batch_rows: int = BATCH_ROWS,
        backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
    ) -> None:  # fmt: skip
        self._store, self._files, self._scorer, self._rows = store, files, scorer, rows
        self._clock, self._batch_rows, self._backoff = clock, batch_rows, backoff_seconds
        self._threads = RunThreads("scoring")

    def columns(self) -> tuple[str, ...]:
        """The columns of a file as they are usually named."""
        return self._rows().columns

    def start(self, file: IO[bytes], name: str, *, actor: Actor) -> ScoringRun:
        """Keep the file and begin. Raises Denied, InvalidData for a file that does not fit, Conflict while the person
        has another run under way, Unavailable; nothing is begun then."""
        require(actor, Permission.SCORE_LIVE)
        if (under_way := next((r for r in self.runs(actor=actor) if r.state is RunState.RUNNING), None)) is not None:
            raise Conflict(f"You are scoring {under_way.file_name} already; wait for it or cancel it first.")
        with tempfile.TemporaryDirectory(prefix="fraud-desk-") as folder:
            path = Path(folder) / (Path(name).name[-100:] or "file")
            with path.open("wb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
            if path.stat().st_size > MAX_BYTES:
                raise InvalidData(f"The file is larger than {MAX_BYTES // 2**20} MB; nothing was scored.")
            self._rows().check_header(path)
            lines = count_lines(path, most=MAX_ROWS)
            run = self._begun(path, lines, actor)
            with path.open("rb") as kept:
                pieces = self._files.keep_input(run.run_id, kept)
        run = replace(run, parts=pieces)
        try:
            self._store.create(run)
        except ServiceError:
            self._files.delete(run.run_id)
            raise
        for old in self._store.of(actor.subject, KEPT + 20)[KEPT:]:
            self._forget(old)
        self._go(run)
        return run

    def _begun(self, path: Path, lines: int, actor: Actor) -> ScoringRun:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        now = self._clock()
        return ScoringRun(
            uuid.uuid4().hex, path.name, path.stat().st_size, checksum, lines, 0, actor.name, actor.subject, now,
            uuid.uuid4().hex, now, now,
        )  # fmt: skip

    def resume(self, run_id: str, *, actor: Actor) -> ScoringRun:
        """Go on after the last committed batch. Raises NotFound, and Conflict where it is under way or at its end."""
        former = self.get(run_id, actor=actor)
        now = self._clock()
        if former.state is RunState.DONE:
            raise Conflict("This file is scored to its end.")
        if former.state is RunState.RUNNING and not former.interrupted(now):
            raise Conflict("This run is under way.")
        run = replace(
            former, state=RunState.RUNNING, owner=uuid.uuid4().hex, heard_at=now, stretch_at=now,
            stretch_rows=former.rows, cancel_requested=False, trouble=None, finished_at=None,
        )  # fmt: skip
        self._store.take(run, former=former)
        self._go(run)
        return run

    def cancel(self, run_id: str, *, actor: Actor) -> None:
        """End it within a batch; what was scored is kept, and it can be taken up again."""
        run = self.get(run_id, actor=actor)
        if run.interrupted(self._clock()):
            ended = replace(run, state=RunState.CANCELLED, owner=uuid.uuid4().hex, finished_at=self._clock())
            self._store.take(ended, former=run)
        elif run.state is RunState.RUNNING:
            self._store.request_cancel(run_id)

    def delete(self, run_id: str, *, actor: Actor) -> None:
        """Forget a run that is not under way, with its file and results."""
        run = self.get(run_id, actor=actor)
        if run.state is RunState.RUNNING:
            raise Conflict("This run is under way; cancel it first.")
        self._forget(run)

    def _forget(self, run: ScoringRun) -> None:
        self._files.delete(run.run_id)
        self._store.delete(run.run_id)

    def get(self, run_id: str, *, actor: Actor) -> ScoringRun:
        """One of the person's own runs. NotFound also for those of others."""
        require(actor, Permission.SCORE_LIVE)
        run = self._store.get(run_id)
        if run is None or run.subject != actor.subject:
            raise NotFound("There is no such run of yours (any more).")
        return run

    def runs(self, *, actor: Actor) -> tuple[ScoringRun, ...]:
        """The person's runs, newest first, at most KEPT."""
        require(actor, Permission.SCORE_LIVE)
        return self._store.of(actor.subject, KEPT)

    def write(self, run_id: str, out: IO[bytes], *, what: str, form: str, actor: Actor) -> None:
        """Write what is committed so far: `what` is "results" or "refused", `form` "csv" or "parquet"; rows in the
        order of the file."""
        run = self.get(run_id, actor=actor)
        results = what == "results"
        tables = (self._files.results if results else self._files.refused)(run_id, run.batches)
        (write_csv if form == "csv" else write_parquet)(tables, RESULTS if results else REFUSED, out)

    def wait(self, run_id: str, seconds: float) -> None:
        """Until this process works on the run no more, at most this long."""
        self._threads.wait(run_id, seconds)

    def close(self) -> None:
        """End all work within a batch; the runs can be taken up again."""
        self._threads.close()

    def _go(self, run: ScoringRun) -> None:
        self._threads.start(run.run_id, partial(self._work, run))

    def _work(self, run: ScoringRun) -> None:
        work = _Work(self, run)
        try:
            work.through()
            work.end(RunState.DONE)
        except _Stopped:
            work.end(RunState.CANCELLED, "The desk was stopped." if self._threads.closing.is_set() else None)
        except Conflict as error:
            log.warning("scoring_run.taken_over run=%s: %s", run.run_id, error.message)
        except ServiceError as error:
            work.end(RunState.FAILED, f"{error.message} What was scored until then is kept; resume goes on from there.")
        except Exception:  # nobody waits for this thread: without this the run would seem under way
            log.exception("scoring_run.broke run=%s", run.run_id)
            work.end(RunState.FAILED, "A fault of the desk ended it; its log has the details.")


class _Work:
    """A run while a thread works on it."""

    def __init__(self, desk: ScoringRuns, run: ScoringRun) -> None:
        self._desk, self.run = desk, run

    def through(self) -> None:
        """From its place to the end of the file."""
        run, desk = self.run, self._desk
        with tempfile.TemporaryDirectory(prefix="fraud-desk-") as folder:
            path = Path(folder) / run.file_name
            patiently(
                lambda: desk._files.fetch_input(run.run_id, pieces=run.parts, checksum=run.checksum, into=path),
                desk._backoff, self._wait,
            )  # fmt: skip
            found = desk._rows().batches(path, after_row=run.rows, batch_rows=desk._batch_rows, now=run.started_at)
            with closing(ahead(found)) as batches:
                for checked in batches:
                    patiently(partial(self._batch, checked), desk._backoff, self._wait)

    def _batch(self, checked: Checked) -> None:
        desk, run = self._desk, self.run
        done, results, refused = outcome(run, checked, desk._scorer, clock=desk._clock)
        desk._files.put_batch(run.run_id, run.batches, results, refused)
        self._save(replace(done, heard_at=desk._clock(), trouble=None))

    def _save(self, run: ScoringRun) -> None:
        cancel = self._desk._store.commit(run)
        self.run = run
        if (cancel or self._desk._threads.closing.is_set()) and run.state is RunState.RUNNING:
            raise _Stopped

    def _wait(self, error: Unavailable, seconds: float) -> None:
        waiting = replace(self.run, heard_at=self._desk._clock(), trouble=f"{error.message} It is tried again.")
        try:
            self._save(waiting)
        except Unavailable:
            log.warning("scoring_run.waits run=%s: %s", self.run.run_id, error.message)
        if self._desk._threads.closing.wait(seconds):
            raise _Stopped

    def end(self, state: RunState, trouble: str | None = None) -> None:
        now = self._desk._clock()
        ended = replace(self.run, state=state, trouble=trouble, heard_at=now, finished_at=now)
        try:
            self._save(ended)
        except (Unavailable, Conflict) as error:
            # It falls silent, and can be taken up again like after a kill.
            log.warning("scoring_run.end_not_kept run=%s: %s", self.run.run_id, error.message)
