"""Experiments: asking for a model to be trained on a window of the lake, and following what became of it.

This module only requests and reads; `workers.lifecycle` carries an experiment through its states. The request and its
audit entry are one database transaction, and at most one experiment is under way at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Protocol

from services.access import Actor, Permission, require
from services.audit import AuditEntry
from services.cost_estimate import Price
from services.domain.money import mask_card_numbers
from services.errors import Conflict, InvalidData, NotFound, Problem
from services.experiment import FINISHED, Candidate, Experiment, ExperimentState, TimelineEntry
from services.frozen_sets import FrozenSet, FrozenStore
from services.revisions import StaleRevision
from services.training_request import AUTOPILOT, METHODS, TARGET, Autopilot, TrainingRequest, check
from services.worker_status import utc_now

__all__ = [
    "AUTOPILOT",
    "FINISHED",
    "METHODS",
    "TARGET",
    "Autopilot",
    "Candidate",
    "Experiment",
    "ExperimentState",
    "TimelineEntry",
    "TrainingRequest",
    "check",
]
NAMES_LOOKED_AT = 500


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
        frozen: FrozenStore | None = None,
        price: Price | None = None,
        features_version: str = "",
    ) -> None:
        """`endpoint_name`: the desk's own. `cards` and `frozen` are None where nobody reads them, `price` where nobody
        said it. `features_version` is what the desk computes; a frozen set of other features is then refused."""
        self._store, self._logs, self._clock, self._token, self._cards = store, logs, clock, token, cards
        self._endpoint, self._frozen, self.price = endpoint_name, frozen, price
        self._features_version = features_version

    @property
    def endpoint_name(self) -> str:
        """Where live transactions are scored; empty where nobody said."""
        return self._endpoint

    def start(self, request: TrainingRequest, *, actor: Actor) -> str:
        """Record the request and return its id, like `exp-20261122-1415-ab12`.

        Raises InvalidData listing everything wrong with the request, Conflict naming the experiment under way, Denied.
        """
        require(actor, Permission.TRAIN)
        if request.auto_deploy:
            require(actor, Permission.DEPLOY)
        now = self._clock()
        request, held = self._with_frozen(request)
        problems = (*check(request, now=now), *self._other_features(held), *self._name_taken(request))
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
            frozen=request.frozen,
            frozen_sha256=held.sha256 if held else None,
            snapshot_id=held.snapshot_id if held else None,
            labels_snapshot_id=held.labels_snapshot_id if held else None,
            autopilot=(request.autopilot or Autopilot()) if request.method == AUTOPILOT else None,
            timeline=(TimelineEntry(now, ExperimentState.REQUESTED, f"Requested by {actor.name}"),),
        )
        self._store.insert(experiment, audit=_audit(experiment, "training.start", now, actor, after=_asked(experiment)))
        return experiment.experiment_id

    def _with_frozen(self, request: TrainingRequest) -> tuple[TrainingRequest, FrozenSet | None]:
        """A request on a frozen set with that set's window, cut-off and flow. NotFound for a set that is none."""
        if request.frozen is None:
            return request, None
        if self._frozen is None:
            raise NotFound(f"There is no frozen training set {request.frozen}.")
        held = self._frozen.get(request.frozen)
        taken = replace(
            request,
            window_start=held.window_start,
            window_end=held.window_end,
            label_cutoff=held.label_cutoff,
            flow=held.flow,
            features=(),
        )
        return taken, held

    def _other_features(self, held: FrozenSet | None) -> tuple[Problem, ...]:
        other = other_features(held, self._features_version) if held and self._features_version else None
        return () if other is None else (Problem(0, "frozen", other),)

    def _name_taken(self, request: TrainingRequest) -> tuple[Problem, ...]:
        same = name_taken(request.name, self._store.recent(NAMES_LOOKED_AT))
        return () if same is None else (Problem(0, "name", same),)

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


def other_features(held: FrozenSet, features_version: str) -> str | None:
    """Why nothing can be learned from the set, None when it can: the desk computes other features by now."""
    if held.features_version == features_version:
        return None
    return (
        f"{held.name} was frozen with other features (version {held.features_version}, now {features_version}): "
        "a model of it could not score. Freeze the rows again."
    )


def name_taken(name: str, known: Sequence[Experiment]) -> str | None:
    """Why the name cannot be given, None when it can: two models of one name could not be told apart in a list.

    What failed or was stopped left no model; its name may be used again.
    """
    nothing = (ExperimentState.FAILED, ExperimentState.STOPPED)
    wanted = name.strip().casefold()
    same = next((e for e in known if e.name.casefold() == wanted and e.state not in nothing), None)
    if same is None:
        return None
    return f"{same.name} is the name of an experiment of {same.requested_at:%d %b %Y, %H:%M} UTC; choose another."


def _asked(experiment: Experiment) -> dict[str, object]:
    """What was asked for, as the audit keeps it."""
    return {
        "name": experiment.name,
        "window_start": experiment.window_start,
        "window_end": experiment.window_end,
        "label_cutoff": experiment.label_cutoff,
        "method": experiment.method,
        "hyperparameters": dict(experiment.hyperparameters),
        "flow": list(experiment.flow) if experiment.flow else None,
        "features": list(experiment.features),
        "frozen": experiment.frozen,
        "autopilot": asdict(experiment.autopilot) if experiment.autopilot else None,
        "auto_deploy": experiment.auto_deploy,
        "endpoint_name": experiment.endpoint_name,
    }


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
