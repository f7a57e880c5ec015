"""Experiments: asking for a model to be trained on a window of the lake, and following what became of it.

This module only requests and reads; `workers.lifecycle` carries an experiment through its states. The request and its
audit entry are one database transaction, and at most one experiment is under way at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.access import Actor, Permission, require
from services.audit import AuditEntry
from services.domain.money import mask_card_numbers
from services.errors import Conflict, InvalidData, NotFound
from services.revisions import StaleRevision
from services.training_request import AUTOPILOT, METHODS, TARGET, Autopilot, TrainingRequest, check
from services.worker_status import utc_now

__all__ = ["AUTOPILOT", "METHODS", "TARGET", "Autopilot", "TrainingRequest", "check"]


class ExperimentState(StrEnum):
    REQUESTED = "requested"
    PREPARING = "preparing"
    TRAINING = "training"
    REGISTERING = "registering"
    CANDIDATE = "candidate"
    FAILED = "failed"
    STOPPED = "stopped"


FINISHED = frozenset({ExperimentState.CANDIDATE, ExperimentState.FAILED, ExperimentState.STOPPED})


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """`state` is one of ours in lower case, or a secondary status of the training job as SageMaker writes it."""

    at: datetime
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that Autopilot tried. `status` is SageMaker's word; metrics as the candidate measured them, empty until
    it ended."""

    name: str
    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifact_uri: str | None = None
    training_job: str | None = None
    failure: str | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """One training, from request to registered candidate.

    rows and positives count the training set (None until it is built); metrics are of the validation window. `note`
    says what it is waiting for right now, `failure` why it ended. The snapshots are of the lake's transactions and
    labels. `revision` is compare-and-set: every change adds 1.
    """

    experiment_id: str
    name: str
    state: ExperimentState
    requested_by: str
    requested_at: datetime
    window_start: datetime
    window_end: datetime
    label_cutoff: datetime
    method: str
    hyperparameters: Mapping[str, float | str]
    finished_at: datetime | None = None
    training_job: str | None = None
    timeline: tuple[TimelineEntry, ...] = ()
    rows: int | None = None
    positives: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    model_version: str | None = None
    package_arn: str | None = None
    artifact_uri: str | None = None
    failure: str | None = None
    note: str | None = None
    snapshot_id: int | None = None
    labels_snapshot_id: int | None = None
    stop_requested_by: str | None = None
    requested_by_subject: str = ""
    target: str = TARGET
    features: tuple[str, ...] = ()
    flow: tuple[str, int] | None = None
    endpoint_name: str = ""
    auto_deploy: bool = False
    autopilot: Autopilot | None = None
    candidates: tuple[Candidate, ...] = ()
    deployment_id: str | None = None
    revision: int = 1

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


class ExperimentStore(Protocol):
    def insert(self, experiment: Experiment, *, audit: AuditEntry) -> None:
        """Both or neither. Conflict when another experiment is under way."""
        ...

    def save(self, experiment: Experiment, *, audit: AuditEntry | None = None) -> Experiment:
        """Replace revision n by n + 1 and return it; StaleRevision when the stored one is no longer n."""
        ...

    def get(self, experiment_id: str) -> Experiment:
        """NotFound."""
        ...

    def recent(self, limit: int) -> tuple[Experiment, ...]: ...

    def active(self) -> tuple[Experiment, ...]: ...


class TrainingLogs(Protocol):
    def tail(self, job: str, *, lines: int) -> tuple[str, ...]: ...


class ModelCards(Protocol):
    def card(self, uri: str) -> str:
        """Markdown of the artifact at `uri`; InvalidData when it has none; Unavailable."""
        ...


class Training:
    """`Training(store=MongoExperiments(db), logs=TrainingJobLogs(...))`; clock and token are arguments for tests."""

    def __init__(
        self,
        *,
        store: ExperimentStore,
        logs: TrainingLogs,
        clock: Callable[[], datetime] = utc_now,
        token: Callable[[], str] = lambda: secrets.token_hex(2),
        endpoint_name: str = "",
        cards: ModelCards | None = None,
    ) -> None:
        """`endpoint_name`: the desk's own, the only one deployed to. `cards`: None where nobody reads them."""
        self._store, self._logs, self._clock, self._token, self._cards = store, logs, clock, token, cards
        self._endpoint = endpoint_name

    @property
    def endpoint_name(self) -> str:
        """Where models are deployed to; empty where nobody said."""
        return self._endpoint

    def start(self, request: TrainingRequest, *, actor: Actor) -> str:
        """Record the request and return its id, like `exp-20261122-1415-ab12`.

        Raises InvalidData listing everything wrong with the request, Conflict naming the experiment under way, Denied.
        """
        require(actor, Permission.TRAIN)
        if request.auto_deploy:
            require(actor, Permission.DEPLOY)
        now = self._clock()
        problems = check(request, now=now, endpoint_name=self._endpoint)
        if problems:
            raise InvalidData(" ".join(problem.message for problem in problems), problems)
        experiment = Experiment(
            experiment_id=f"exp-{now:%Y%m%d-%H%M}-{self._token()}",
            name=mask_card_numbers(request.name.strip()),
            state=ExperimentState.REQUESTED,
            requested_by=actor.name,
            requested_by_subject=actor.subject,
            requested_at=now,
            window_start=request.window_start,
            window_end=request.window_end,
            label_cutoff=request.label_cutoff,
            method=request.method,
            hyperparameters=dict(request.hyperparameters),
            target=request.target,
            features=tuple(request.features),
            flow=request.flow,
            endpoint_name=request.endpoint_name or self._endpoint,
            auto_deploy=request.auto_deploy,
            autopilot=(request.autopilot or Autopilot()) if request.method == AUTOPILOT else None,
            timeline=(TimelineEntry(now, ExperimentState.REQUESTED, f"Requested by {actor.name}"),),
        )
        after = {
            "name": experiment.name,
            "window_start": request.window_start,
            "window_end": request.window_end,
            "label_cutoff": request.label_cutoff,
            "method": request.method,
            "hyperparameters": dict(request.hyperparameters),
            "flow": list(request.flow) if request.flow else None,
            "features": list(request.features),
            "autopilot": asdict(experiment.autopilot) if experiment.autopilot else None,
            "auto_deploy": request.auto_deploy,
            "endpoint_name": experiment.endpoint_name,
        }
        self._store.insert(experiment, audit=_audit(experiment, "training.start", now, actor, after=after))
        return experiment.experiment_id

    def stop(self, experiment_id: str, *, actor: Actor) -> None:
        """Ask for an end; the lifecycle worker stops the job. Asking twice is the same as asking once.

        Raises NotFound, Denied, and Conflict when the experiment has already ended.
        """
        require(actor, Permission.TRAIN)
        for attempt in range(5):
            experiment = self._store.get(experiment_id)
            if experiment.stop_requested_by is not None and not experiment.finished:
                return
            if experiment.finished:
                raise Conflict(f"{experiment.name} has already ended ({experiment.state}); there is nothing to stop.")
            if experiment.state is ExperimentState.REGISTERING:
                raise Conflict(f"{experiment.name} is trained and being registered; there is nothing left to stop.")
            now = self._clock()
            entry = TimelineEntry(now, "stopping", f"Stop requested by {actor.name}")
            stopping = replace(
                experiment, stop_requested_by=actor.name, timeline=(*experiment.timeline, entry), note="Stopping."
            )
            before = {"state": str(experiment.state)}
            audit = _audit(experiment, "training.stop", now, actor, before=before, after={"stop": "requested"})
            try:
                self._store.save(stopping, audit=audit)
                return
            except StaleRevision:  # the worker moved it on in between: look again
                if attempt == 4:
                    raise

    def experiments(self, limit: int = 50) -> tuple[Experiment, ...]:
        """Newest first."""
        return self._store.recent(min(max(limit, 1), 500))

    def get(self, experiment_id: str) -> Experiment:
        return self._store.get(experiment_id)

    def log_tail(self, experiment_id: str, lines: int = 200) -> tuple[str, ...]:
        """The last lines the training job printed, oldest first; empty while there is no job or no log yet."""
        job = self._store.get(experiment_id).training_job
        if job is None:
            return ()
        try:
            return self._logs.tail(job, lines=min(max(lines, 1), 2_000))
        except NotFound:
            return ()

    def model_card(self, experiment_id: str) -> str:
        """What the trained model is, what it was measured on and where it ends, as Markdown.

        Raises NotFound while nothing is trained, InvalidData for a model without a card, Unavailable.
        """
        experiment = self._store.get(experiment_id)
        if experiment.artifact_uri is None or self._cards is None:
            raise NotFound(f"{experiment.name} has no model, so it has no model card.")
        return self._cards.card(experiment.artifact_uri)


def _audit(
    experiment: Experiment,
    action: str,
    at: datetime,
    actor: Actor,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> AuditEntry:
    return AuditEntry(
        entry_id=f"{experiment.experiment_id}:{action}",
        at=at,
        actor=actor,
        action=action,
        object=experiment.experiment_id,
        before=before or {},
        after=after or {},
        outcome="requested",
    )
