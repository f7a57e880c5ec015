"""Stores and a SageMaker in memory. `tests/integration/test_lifecycle_contract.py` holds them to the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.audit import AuditEntry
from services.deployment import Deployment, DeploymentState, EndpointDescription
from services.domain.thresholds import Thresholds
from services.errors import Conflict, NotFound, ServiceError
from services.models import Package
from services.revisions import StaleRevision
from services.training import Experiment
from services.training_jobs import Search, SearchCandidate, SearchSpec, TrainingJob, TrainingJobSpec, Transition

NOW = datetime(2026, 11, 22, 14, 15, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **by: float) -> None:
        self.now += timedelta(**by)


class MemoryExperiments:
    def __init__(self) -> None:
        self.held: dict[str, Experiment] = {}
        self.audit: list[AuditEntry] = []

    def insert(self, experiment: Experiment, *, audit: AuditEntry) -> None:
        for other in self.active():
            raise Conflict(f"{other.name} ({other.experiment_id}) is {other.state}")
        self.held[experiment.experiment_id] = experiment
        self.audit.append(audit)

    def save(self, experiment: Experiment, *, audit: AuditEntry | None = None) -> Experiment:
        if self.held[experiment.experiment_id].revision != experiment.revision:
            raise StaleRevision("changed meanwhile")
        saved = self.held[experiment.experiment_id] = replace(experiment, revision=experiment.revision + 1)
        if audit:
            self.audit.append(audit)
        return saved

    def get(self, experiment_id: str) -> Experiment:
        if experiment_id not in self.held:
            raise NotFound(experiment_id)
        return self.held[experiment_id]

    def recent(self, limit: int) -> tuple[Experiment, ...]:
        return tuple(sorted(self.held.values(), key=lambda e: e.requested_at, reverse=True)[:limit])

    def active(self) -> tuple[Experiment, ...]:
        return tuple(e for e in self.held.values() if not e.finished)


class MemoryDeployments:
    def __init__(self) -> None:
        self.held: dict[str, Deployment] = {}
        self.limits: dict[str, Thresholds] = {}
        self.audit: list[AuditEntry] = []

    def insert(self, deployment: Deployment, *, limits: Thresholds, audit: AuditEntry) -> None:
        for other in self.active():
            raise Conflict(f"{other.requested_by} is deploying {other.model_version}")
        self.held[deployment.deployment_id] = deployment
        self.limits.setdefault(limits.model_version, limits)
        self.audit.append(audit)

    def save(self, deployment: Deployment, *, audit: AuditEntry | None = None) -> Deployment:
        if self.held[deployment.deployment_id].revision != deployment.revision:
            raise StaleRevision("changed meanwhile")
        saved = self.held[deployment.deployment_id] = replace(deployment, revision=deployment.revision + 1)
        if audit:
            self.audit.append(audit)
        return saved

    def recent(self, limit: int) -> tuple[Deployment, ...]:
        return tuple(sorted(self.held.values(), key=lambda d: d.requested_at, reverse=True)[:limit])

    def active(self) -> tuple[Deployment, ...]:
        return tuple(d for d in self.held.values() if not d.ended)

    def in_service(self, limit: int, endpoint_name: str = "") -> tuple[Deployment, ...]:
        done = [
            d for d in self.held.values() if d.state is DeploymentState.IN_SERVICE and d.endpoint_name == endpoint_name
        ]
        return tuple(sorted(done, key=lambda d: d.finished_at or NOW, reverse=True)[:limit])


@dataclass
class FakeSageMaker:
    """The control plane in memory. Jobs and endpoints move only when a test says so; `fail_next` raises once."""

    clock: Clock = field(default_factory=Clock)
    jobs: dict[str, TrainingJob] = field(default_factory=dict)
    specs: dict[str, TrainingJobSpec] = field(default_factory=dict)
    groups: dict[str, list[Package]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    endpoints: dict[str, EndpointDescription] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    fail_next: dict[str, ServiceError] = field(default_factory=dict)
    searches: dict[str, Search] = field(default_factory=dict)
    search_specs: dict[str, SearchSpec] = field(default_factory=dict)
    found: dict[str, tuple[SearchCandidate, ...]] = field(default_factory=dict)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail_next:
            raise self.fail_next.pop(name)

    def create_training_job(self, spec: TrainingJobSpec) -> None:
        self._called("create_training_job")
        if spec.name in self.jobs:
            raise Conflict(spec.name)
        self.specs[spec.name] = spec
        started = Transition(self.clock(), "Starting", "Starting the training job")
        self.jobs[spec.name] = TrainingJob(
            spec.name, "InProgress", "Starting", (started,), {}, dict(spec.hyperparameters), None, None
        )

    def describe_training_job(self, name: str) -> TrainingJob:
        self._called("describe_training_job")
        if name not in self.jobs:
            raise NotFound(name)
        return self.jobs[name]

    def stop_training_job(self, name: str) -> None:
        self._called("stop_training_job")
        self.jobs[name] = replace(self.jobs[name], status="Stopping", secondary_status="Stopping")

    def finish_job(self, name: str, status: str = "Completed", **changes: Any) -> None:
        artifact = f"s3://bucket/models/{name}/output/model.tar.gz" if status == "Completed" else None
        changes = {"artifact_uri": artifact, "metrics": {"average_precision": 0.71}} | changes
        self.jobs[name] = replace(self.jobs[name], status=status, secondary_status=status, **changes)

    def create_search(self, spec: SearchSpec) -> None:
        if spec.name in self.searches:
            raise Conflict(spec.name)
        self.searches[spec.name] = Search(spec.name, "InProgress", "Starting", None, None, spec.features_uri)
        self.search_specs[spec.name] = spec
        self._called("create_search")

    def describe_search(self, name: str) -> Search:
        self._called("describe_search")
        if name not in self.searches:
            raise NotFound(name)
        return self.searches[name]

    def search_candidates(self, name: str) -> tuple[SearchCandidate, ...]:
        return self.found.get(name, ())

    def stop_search(self, name: str) -> None:
        self._called("stop_search")
        self.searches[name] = replace(self.searches[name], status="Stopping", secondary_status="Stopping")

    def finish_search(self, name: str, status: str = "Completed", **changes: Any) -> None:
        done = [
            SearchCandidate(f"{name}-{key}", "Completed", {"auc": auc}, f"s3://bucket/models/{key}.tar.gz", None)
            for key, auc in (("c01", 0.8), ("blend", 0.9))
        ]
        self.found[name] = (*done, SearchCandidate(f"{name}-c02", "Failed", {}, None, "AlgorithmError: no memory"))
        changes = {"best": f"{name}-blend"} | changes
        self.searches[name] = replace(self.searches[name], status=status, secondary_status=status, **changes)

    def create_package_group(self, group: str) -> None:
        self._called("create_package_group")
        if group in self.groups:
            raise Conflict(group)
        self.groups[group] = []

    def packages(self, group: str, *, limit: int) -> tuple[Package, ...]:
        self._called("packages")
        if group not in self.groups:
            raise NotFound(group)
        return tuple(reversed(self.groups[group]))[:limit]

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
    ) -> str:
        if token not in self.tokens:
            version = len(self.groups[group]) + 1
            arn = self.tokens[token] = f"arn:aws:sagemaker:eu-central-1:123456789012:model-package/{group}/{version}"
            self.groups[group].append(
                Package(arn, version, self.clock(), "PendingManualApproval", artifact_uri, image, dict(properties))
            )
        self._called("create_package")  # after the fact: a failure here is a lost reply
        return self.tokens[token]

    def approve_package(self, arn: str, *, description: str) -> None:
        self._called("approve_package")
        for held in self.groups.values():
            held[:] = [replace(p, approval_status="Approved") if p.arn == arn else p for p in held]

    def create_model(
        self, name: str, *, image: str, artifact_uri: str, environment: Mapping[str, str], role_arn: str
    ) -> None:
        self._called("create_model")
        if name in self.models:
            raise Conflict(name)
        self.models[name] = {"artifact_uri": artifact_uri, "environment": dict(environment), "image": image}

    def model_artifact(self, name: str) -> str:
        return str(self.models[name]["artifact_uri"])

    def create_endpoint_config(self, name: str, *, model_name: str, instance_type: str) -> None:
        self._called("create_endpoint_config")
        if name in self.configs:
            raise Conflict(name)
        self.configs[name] = model_name

    def endpoint_config_model(self, name: str) -> str:
        return self.configs[name]

    def create_endpoint(self, name: str, *, config_name: str) -> None:
        if name in self.endpoints:
            raise Conflict(name)
        self.endpoints[name] = EndpointDescription(name, "Creating", config_name, self.clock())
        self._called("create_endpoint")

    def update_endpoint(self, name: str, *, config_name: str) -> None:
        held = self.endpoints[name]
        if held.status != "InService":
            raise Conflict("Cannot update in-progress endpoint")
        self.endpoints[name] = replace(held, status="Updating", pending_config=config_name, changed_at=self.clock())
        self._called("update_endpoint")

    def settle(self, name: str, *, failure: str | None = None) -> None:
        """Finish the change under way: it took, or (with a reason) it went back."""
        held = self.endpoints[name]
        if failure is None:
            config = held.pending_config or held.config_name
            self.endpoints[name] = EndpointDescription(name, "InService", config, self.clock())
        else:
            status = "InService" if held.pending_config else "Failed"
            self.endpoints[name] = EndpointDescription(name, status, held.config_name, self.clock(), failure=failure)

    def delete_endpoint(self, name: str) -> None:
        self._called("delete_endpoint")
        del self.endpoints[name]

    def describe_endpoint(self, name: str) -> EndpointDescription:
        self._called("describe_endpoint")
        if name not in self.endpoints:
            raise NotFound(name)
        return self.endpoints[name]
