"""An experiment: what was asked for, what became of it, and everything needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.training_request import TARGET, Autopilot


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

    rows and positives count the training set (None until it is built), `young` those of its rows that only the last
    fit learns from; metrics are of the validation window. `note`
    says what it is waiting for right now, `failure` why it ended. The snapshots are of the lake's transactions and
    labels. `frozen` is the id of the frozen set whose very rows are learned from, `frozen_sha256` the sum of its
    manifest; None where the rows are read from the lake. `revision` is compare-and-set: every change adds 1.
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
    frozen: str | None = None
    frozen_sha256: str | None = None
    autopilot: Autopilot | None = None
    candidates: tuple[Candidate, ...] = ()
    deployment_id: str | None = None
    young: int = 0
    revision: int = 1

    @property
    def finished(self) -> bool:
        return self.state in FINISHED
