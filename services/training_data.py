"""Training data: rows of one snapshot of the lake looked at, shaped by a flow, and frozen as a training set.

Importing and freezing take seconds to minutes and run in a thread of this process, one at a time, as the people who
asked may leave. What was imported is kept in memory as a sample of bounded size; freezing reads the lake anew.
"""

from __future__ import annotations

import io
import json
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import pyarrow.parquet as pq

from services.access import Actor, Permission, require
from services.errors import Conflict, InvalidData, NotFound, ServiceError
from services.features import DEMO, Plan
from services.flow_engine import Fitted, fit, matrix_of
from services.flow_steps import Flow, as_json
from services.flows import FlowVersion
from services.frozen_sets import FrozenSet, FrozenStore, check_name
from services.lake import Lake
from services.lake_schema import LABELS_TABLE, TRANSACTIONS_TABLE
from services.profile_model import Drift, drift
from services.training_beside import Recipe
from services.training_data_freeze import freeze
from services.training_data_import import Imported, Selection, take
from services.training_data_jobs import JobNote, JobNotes, cut_off, noted
from services.training_survey import Survey, survey
from services.worker_status import utc_now

log = logging.getLogger(__name__)

KEPT, KEPT_FITS = 2, 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state of the lake's transactions that can be read; `pinned_as` are the names that keep it."""

    snapshot_id: int
    committed_at: datetime
    rows: int
    pinned_as: tuple[str, ...]


class Snapshots(Protocol):
    def list(self, name: str, limit: int) -> tuple[Snapshot, ...]: ...


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """`words` say what is being done; `result` is the key of what was imported, or the id of the frozen set."""

    kind: str
    state: JobState
    started_by: str
    started_at: datetime
    words: str
    fraction: float = 0.0
    result: str | None = None
    failure: str | None = None
    finished_at: datetime | None = None


class TrainingData:
    """Safe to share between threads. `put` and `get` write and read an object of the desk's bucket as a whole."""

    def __init__(
        self,
        lake: Lake,
        snapshots: Snapshots,
        frozen: FrozenStore,
        put: Callable[[str, bytes], None],
        get: Callable[[str], bytes],
        *,
        notes: JobNotes,
        plan: Plan = DEMO,
        recipe: Recipe | None = None,
        clock: Callable[[], datetime] = utc_now,
        token: Callable[[], str] = lambda: secrets.token_hex(3),
    ) -> None:
        self._lake, self._list, self._frozen, self._put, self._get = lake, snapshots, frozen, put, get
        self._notes, self.plan, self._clock, self._token = notes, plan, clock, token
        self._recipe = recipe or Recipe()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._thread: threading.Thread | None = None
        self._kept: OrderedDict[str, Imported] = OrderedDict()
        self._fits: OrderedDict[tuple[str, str], Fitted] = OrderedDict()

    def snapshots(self, limit: int = 50) -> tuple[Snapshot, ...]:
        """Newest first."""
        return self._list.list(TRANSACTIONS_TABLE.name, limit)

    def choose(
        self, *, snapshot_id: int | None, window: tuple[datetime, datetime], label_cutoff: datetime
    ) -> Selection:
        """A selection on a snapshot (None: the newest) with the labels of the same moment.

        InvalidData for times that make no window, NotFound when the snapshot is not kept any more.
        """
        start, end = window
        if not start < end:
            raise InvalidData("The window must start before it ends.")
        if label_cutoff < end:
            raise InvalidData("The label cut-off must not be earlier than the end of the window.")
        if label_cutoff > self._clock():
            raise InvalidData("The label cut-off must not lie in the future.")
        known = self.snapshots(1_000)
        if not known:
            raise NotFound("The lake has no transactions yet; they arrive when the first ones have streamed to S3.")
        chosen = known[0] if snapshot_id is None else next((s for s in known if s.snapshot_id == snapshot_id), None)
        if chosen is None:
            raise NotFound(f"Snapshot {snapshot_id} is not kept any more; choose another one.")
        return Selection(chosen.snapshot_id, self._labels(chosen, newest=chosen == known[0]), start, end, label_cutoff)

    def survey(self, window: tuple[datetime, datetime], *, label_cutoff: datetime) -> Survey:
        """What the newest state of the lake holds of a window. NotFound while it is empty; Unavailable."""
        return survey(self._lake, start=window[0], end=window[1], cutoff=label_cutoff)

    def at(self, moment: datetime) -> int:
        """The snapshot that was current at a moment; NotFound when nothing that old is kept."""
        return self._lake.snapshot_at(moment)

    def _labels(self, chosen: Snapshot, *, newest: bool) -> int | None:
        try:
            if newest:
                return self._lake.snapshot(LABELS_TABLE.name)
            return self._lake.snapshot_at(chosen.committed_at, LABELS_TABLE.name)
        except NotFound:
            if newest:
                return None
            # Labels are folded after their transactions: the oldest kept ones are those nearest to the moment.
            return self._list.list(LABELS_TABLE.name, 1_000)[-1].snapshot_id

    def start_import(self, selection: Selection, *, actor: Actor) -> str:
        """Import in the background; the key under which `imported` will have it. Denied; Conflict while a job runs."""
        require(actor, Permission.TRAIN)
        key = selection.key
        if key in self._kept:
            return key

        def work() -> str:
            made = take(self._lake, selection, plan=self.plan, say=self._say)
            with self._lock:
                self._kept[key] = made
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return key

        self._start("import", "", work, actor)
        return key

    def imported(self, key: str) -> Imported | None:
        """What was imported under this key, while it is kept: this process keeps the last KEPT imports."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def fit(self, imported: Imported, flow: Flow) -> Fitted:
        """The flow on the imported sample; the last few are remembered. InvalidData names the step that cannot be."""
        key = (imported.selection.key, json.dumps(as_json(flow)))
        with self._lock:
            if key in self._fits:
                self._fits.move_to_end(key)
                return self._fits[key]
        made = fit(flow, imported.table, train=imported.train, labels=imported.labels)
        with self._lock:
            self._fits[key] = made
            while len(self._fits) > KEPT_FITS:
                self._fits.popitem(last=False)
        return made

    def drift(self, former: FrozenSet, fitted: Fitted) -> tuple[Drift, ...]:
        """How the columns of a fitted flow moved since a frozen set's training rows: PSI, the greatest first."""
        columns = [name for name in former.features if name in fitted.flow.outputs]
        if not columns:
            return ()
        body = self._get(f"{former.prefix}train/part-00000.parquet")
        held = matrix_of(pq.read_table(io.BytesIO(body), columns=columns))
        return drift(held, columns, fitted.matrix(), fitted.flow.outputs)

    def start_freeze(self, selection: Selection, *, name: str, held: FlowVersion | None, actor: Actor) -> str:
        """Freeze in the background and return the id. Denied; InvalidData for a bad name; Conflict while a job runs."""
        require(actor, Permission.TRAIN)
        name, now = check_name(name), self._clock()
        frozen_id = f"set-{now:%Y%m%d-%H%M}-{self._token()}"

        def work() -> str:
            made, audit = freeze(
                self._lake, selection, held, self._put, plan=self.plan, recipe=self._recipe,
                frozen_id=frozen_id, name=name,
                actor=actor, now=now, say=self._say,
            )  # fmt: skip
            self._frozen.add(made, audit=audit)
            return frozen_id

        self._start("freeze", name, work, actor)
        return frozen_id

    def frozen(self, limit: int = 50) -> tuple[FrozenSet, ...]:
        """Newest first."""
        return self._frozen.recent(limit)

    def job(self) -> Job | None:
        """The job under way, else the last one of this process."""
        return self._job

    def cut_off(self) -> JobNote | None:
        """A job that ended with its process, until another one is started. Unavailable."""
        return cut_off(self._notes, self._clock())

    def wait(self, seconds: float) -> Job | None:
        """Until the job has ended, at most this long."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._job

    def _start(self, kind: str, name: str, work: Callable[[], str], actor: Actor) -> None:
        with self._lock:
            job = self._job
            if job is not None and job.state is JobState.RUNNING:
                what = "an import" if job.kind == "import" else "a freeze"
                raise Conflict(
                    f"{job.started_by} started {what} at {job.started_at:%H:%M:%S} UTC; wait until it is done."
                )
            now = self._clock()
            self._job = Job(kind, JobState.RUNNING, actor.name, now, "Reading the lake")
            note = JobNote(secrets.token_hex(8), kind, name, actor.name, now, now)
            self._thread = threading.Thread(target=self._run, args=(work, note), name=f"training-{kind}", daemon=True)
            self._thread.start()

    def _run(self, work: Callable[[], str], note: JobNote) -> None:
        try:
            with noted(self._notes, note, self._clock):
                result = work()
            self._note(state=JobState.DONE, result=result, fraction=1.0)
        except ServiceError as error:
            self._note(state=JobState.FAILED, failure=error.message)
        except Exception:  # nobody waits for this thread: without this the job would stay under way for ever
            log.exception("training_data.broke")
            self._note(state=JobState.FAILED, failure="A fault of the desk ended it; its log has the details.")

    def _note(self, **changes: object) -> None:
        assert self._job is not None
        self._job = replace(self._job, finished_at=self._clock(), **changes)  # type: ignore[arg-type]

    def _say(self, words: str, fraction: float) -> None:
        assert self._job is not None
        self._job = replace(self._job, words=words, fraction=fraction)
