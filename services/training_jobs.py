"""What `workers.lifecycle` and the training adapter say to each other about a training job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

JOB_ENDED = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True, slots=True)
class TrainingJobSpec:
    """A script-mode job: `channels` maps a channel to the S3 prefix of its Parquet files; hyperparameters are text.

    metric_definitions maps a metric's name to the regular expression whose first group is its value in the log.
    """

    name: str
    image: str
    role_arn: str
    instance_type: str
    hyperparameters: Mapping[str, str]
    channels: Mapping[str, str]
    output_uri: str
    metric_definitions: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    volume_gb: int = 30
    max_runtime_seconds: int = 4 * 3600


@dataclass(frozen=True, slots=True)
class Transition:
    """A secondary status of the job and since when it held."""

    at: datetime
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """DescribeTrainingJob. status: InProgress, Completed, Failed, Stopping or Stopped."""

    name: str
    status: str
    secondary_status: str
    transitions: tuple[Transition, ...]
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, str]
    artifact_uri: str | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """An Autopilot job over the Parquet channels train and validation; `features_uri` lists the columns to learn from.

    Limits in seconds; candidates are ranked by `objective`, one of SageMaker's metrics (it has no average precision).
    """

    name: str
    role_arn: str
    mode: str
    target: str
    features_uri: str
    channels: Mapping[str, str]
    output_uri: str
    max_candidates: int
    max_runtime_seconds: int
    max_candidate_runtime_seconds: int | None = None
    objective: str = "AUC"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchCandidate:
    """A candidate as SageMaker lists it; metrics by our names (auc, f1, precision_at_review, recall_at_review)."""

    name: str
    status: str
    metrics: Mapping[str, float]
    artifact_uri: str | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Search:
    """DescribeAutoMLJobV2. status: InProgress, Completed, Failed, Stopping or Stopped; `best` is a candidate's name."""

    name: str
    status: str
    secondary_status: str
    failure: str | None
    best: str | None
    features_uri: str | None
