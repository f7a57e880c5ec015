"""What the lifecycle's steps need from the world, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from services.deployment import EndpointDescription
from services.models import ModelVersion, Package
from services.training import Experiment
from services.training_jobs import Search, SearchCandidate, SearchSpec, TrainingJob, TrainingJobSpec


@dataclass(frozen=True, slots=True)
class Compute:
    """What training runs on. All are required; an empty image or role ends an experiment with a sentence."""

    bucket: str
    role_arn: str
    image: str
    instance_type: str
    serving_instance: str
    package_group: str


@dataclass(frozen=True, slots=True)
class Built:
    """A finished training set; `young` of its rows are in a channel of their own."""

    rows: int
    positives: int
    young: int = 0


@dataclass(frozen=True, slots=True)
class LakeSnapshots:
    """Ids of one snapshot of each table a training set is made of."""

    transactions: int
    labels: int


class Lake(Protocol):
    def behind(self, at: datetime) -> str | None:
        """What the lake does not hold yet of everything saved up to `at`, as a sentence; None when it is current."""
        ...

    def snapshots(self) -> LakeSnapshots:
        """What the lake holds now. NotFound while it holds nothing."""
        ...

    def pin(self, experiment_id: str, snapshots: LakeSnapshots) -> None:
        """Keep them for good; again: no change. NotFound when they are not kept any more."""
        ...


class Builder(Protocol):
    def poll(self, experiment: Experiment) -> Built | None:
        """Begin building unless begun; None while under way. InvalidData when no training set can be made of it."""
        ...

    def cancel(self, experiment_id: str) -> None: ...

    def source_uri(self, experiment_id: str) -> str:
        """The S3 URI of the training code, uploaded if it is not there."""
        ...

    def features_uri(self, experiment_id: str) -> str:
        """The S3 URI of the list of the training set's features, as Autopilot reads it."""
        ...


class Jobs(Protocol):
    def create_training_job(self, spec: TrainingJobSpec) -> None: ...

    def describe_training_job(self, name: str) -> TrainingJob: ...

    def stop_training_job(self, name: str) -> None: ...

    def create_package_group(self, group: str) -> None: ...

    def packages(self, group: str, *, limit: int) -> tuple[Package, ...]: ...

    def create_package(
        self,
        group: str,
        *,
        token: str,
        description: str,
        image: str,
        artifact_uri: str,
        instance_type: str,
        properties: Mapping[str, str],
    ) -> str: ...


class Searches(Protocol):
    def create_search(self, spec: SearchSpec) -> None:
        """Conflict when the name is taken."""
        ...

    def describe_search(self, name: str) -> Search:
        """NotFound."""
        ...

    def search_candidates(self, name: str) -> tuple[SearchCandidate, ...]: ...

    def stop_search(self, name: str) -> None: ...


class AutoDeploy(Protocol):
    def ensure(self, experiment: Experiment) -> str | None:
        """Request the deployment of its model unless it was; the deployment's id, None where the model serves already.

        Conflict while another deployment is under way.
        """
        ...


class Artifacts(Protocol):
    def metadata(self, uri: str) -> Mapping[str, Any]:
        """metadata.json of a model.tar.gz; InvalidData when it has none that is usable."""
        ...


@dataclass(frozen=True, slots=True)
class Serving:
    """Where and as what models are served.

    `image` is used when a package names none. Models are named `<package_group>-<version>`, so that two installations
    in one account do not meet.
    """

    endpoint_name: str
    package_group: str
    role_arn: str
    image: str
    instance_type: str


class EndpointControl(Protocol):
    def approve_package(self, arn: str, *, description: str) -> None: ...

    def create_model(
        self, name: str, *, image: str, artifact_uri: str, environment: Mapping[str, str], role_arn: str
    ) -> None: ...

    def model_artifact(self, name: str) -> str: ...

    def create_endpoint_config(self, name: str, *, model_name: str, instance_type: str) -> None: ...

    def endpoint_config_model(self, name: str) -> str: ...

    def create_endpoint(self, name: str, *, config_name: str) -> None: ...

    def update_endpoint(self, name: str, *, config_name: str) -> None: ...

    def delete_endpoint(self, name: str) -> None: ...

    def describe_endpoint(self, name: str) -> EndpointDescription: ...


class Versions(Protocol):
    def get(self, version: str) -> ModelVersion: ...
