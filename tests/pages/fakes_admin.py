"""The managers' and administrators' half of the in-memory desk: the real services over stores of plain objects.

`admin_desk` answers everything the pages KPIs, fraud rates, retrain, deploy and loop health use; `faults` switches
dependencies off ("MongoDB", "S3", "SageMaker", "health") while a page is open. Figures are seeded and plausible.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from services.audit import AuditEntry
from services.cost_estimate import Price
from services.deployment import (
    Deployment,
    DeploymentKind,
    DeploymentService,
    DeploymentState,
    EndpointDescription,
)
from services.domain.kpi import KpiCounts, Sum
from services.domain.thresholds import Thresholds
from services.errors import Conflict, NotFound
from services.health import Hop, HopState
from services.health_flow import Flow
from services.kpis import Backlog, Kpis
from services.models import Models, Package, properties
from services.training import Experiment, ExperimentState, TimelineEntry, Training
from tests.pages.fakes import Faults
from tests.pages.fakes_imports import imports
from tests.pages.fakes_loop import loop_desk
from tests.pages.fakes_rates import AskedRates
from tests.pages.fakes_training_data import training_desk

S = ExperimentState


class FakeKpiStore:
    """About 21,000 transactions a day at 0.3 % fraud, growing slowly; nothing when `empty`."""

    def __init__(self, faults: Faults, *, empty: bool = False) -> None:
        self._faults, self._empty = faults, empty

    def counts(self, start: datetime, end: datetime, *, matured_before: datetime) -> KpiCounts:
        self._faults.check()
        if self._empty:
            return KpiCounts()
        days = (end - start).total_seconds() / 86_400
        age = (datetime.now(UTC) - end).total_seconds() / 86_400
        n = int(21_000 * days * (1 - age / 900)) + 1
        fraud = int(n * 0.0031 * min(1.0, 0.55 + age / 50))
        alerts = int(n * 0.0124)
        decided = int(alerts * 0.93)
        return KpiCounts(
            transactions=n,
            amount_minor=n * 6_120,
            scored=n,
            alerts=alerts,
            fraud=fraud,
            fraud_amount_minor=fraud * 18_400,
            decided=decided,
            confirmed=int(decided * (0.21 - age / 900)),
            prevented_loss_minor=int(fraud * 0.68) * 18_400,
            matured=int(n * min(1.0, 0.03 + age / 100)),
        )

    def backlog(self, *, now: datetime) -> Backlog:
        self._faults.check()
        if self._empty:
            return Backlog(0, 0, None, 0)
        at_risk = (Sum("EUR", 2, 4_183_000, 214),)
        return Backlog(214, 12, now - timedelta(hours=5, minutes=20), 4_183_000, at_risk)


@dataclass
class MemoryExperiments:
    """ExperimentStore over a dictionary, newest first."""

    faults: Faults
    items: dict[str, Experiment] = field(default_factory=dict)

    def insert(self, experiment: Experiment, *, audit: AuditEntry) -> None:
        self.faults.check()
        active = self.active()
        if active:
            raise Conflict(f"{active[0].name} is under way; one experiment runs at a time.")
        self.items[experiment.experiment_id] = experiment

    def save(self, experiment: Experiment, *, audit: AuditEntry | None = None) -> Experiment:
        self.faults.check()
        saved = replace(experiment, revision=experiment.revision + 1)
        self.items[experiment.experiment_id] = saved
        return saved

    def get(self, experiment_id: str) -> Experiment:
        self.faults.check()
        if experiment_id not in self.items:
            raise NotFound(f"There is no experiment {experiment_id}.")
        return self.items[experiment_id]

    def recent(self, limit: int) -> tuple[Experiment, ...]:
        self.faults.check()
        return tuple(sorted(self.items.values(), key=lambda e: e.requested_at, reverse=True)[:limit])

    def active(self) -> tuple[Experiment, ...]:
        return tuple(e for e in self.items.values() if not e.finished)


class FakeLogs:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.rounds = 74

    def tail(self, job: str, *, lines: int) -> tuple[str, ...]:
        self._faults.check("SageMaker")
        out = ["Training on 412,118 rows, 61 features, tree method hist."]
        for n in range(self.rounds):
            rise = 1 - math.exp(-n / 18)
            noise = random.Random(n).uniform(-0.004, 0.004)
            out.append(f"[{n}] train-aucpr:{0.21 + 0.33 * rise:.5f} validation-aucpr:{0.17 + 0.21 * rise + noise:.5f}")
        return tuple(out[-lines:])


class FakeCards:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def card(self, uri: str) -> str:
        self._faults.check("S3")
        return f"# Model card\n\nArtifact `{uri}`."


class FakeRegistry:
    def __init__(self, faults: Faults, packages: list[Package]) -> None:
        self._faults, self.held = faults, packages

    def packages(self, group: str, *, limit: int) -> tuple[Package, ...]:
        self._faults.check("SageMaker")
        return tuple(sorted(self.held, key=lambda p: p.version, reverse=True)[:limit])


@dataclass
class MemoryDeployments:
    faults: Faults
    items: list[Deployment] = field(default_factory=list)

    def insert(self, deployment: Deployment, *, limits: Thresholds, audit: AuditEntry) -> None:
        self.faults.check()
        if self.active():
            raise Conflict(f"{self.active()[0].model_version} is being deployed; one change runs at a time.")
        self.items.append(deployment)

    def save(self, deployment: Deployment, *, audit: AuditEntry | None = None) -> Deployment:
        self.items = [deployment if d.deployment_id == deployment.deployment_id else d for d in self.items]
        return deployment

    def recent(self, limit: int) -> tuple[Deployment, ...]:
        self.faults.check()
        return tuple(sorted(self.items, key=lambda d: d.requested_at, reverse=True)[:limit])

    def active(self) -> tuple[Deployment, ...]:
        return tuple(d for d in self.items if not d.ended)

    def in_service(self, limit: int, endpoint_name: str = "") -> tuple[Deployment, ...]:
        self.faults.check()
        done = [d for d in self.items if d.state is DeploymentState.IN_SERVICE and d.endpoint_name == endpoint_name]
        return tuple(sorted(done, key=lambda d: d.finished_at or d.requested_at, reverse=True)[:limit])


@dataclass
class FakeEndpoints:
    """DescribeEndpoint: `description` None means that no endpoint exists."""

    faults: Faults
    description: EndpointDescription | None

    def describe_endpoint(self, name: str) -> EndpointDescription:
        self.faults.check("SageMaker")
        if self.description is None:
            raise NotFound("There is no endpoint.")
        return self.description


@dataclass
class FakeHops:
    faults: Faults
    shown: tuple[Hop, ...] = ()
    told: tuple[Any, ...] = ()

    def hops(self) -> tuple[Hop, ...]:
        self.faults.check("health")
        return self.shown

    def warnings(self) -> tuple[Any, ...]:
        return self.told


def healthy_hops(now: datetime) -> tuple[Hop, ...]:
    ok, idle = HopState.OK, HopState.IDLE
    return (
        Hop("intake", "Intake", ok, "Last transaction 2 s ago.", per_second=2.1, flow=Flow(handed=3_214_880)),
        Hop("scoring", "Scoring", ok, "Running.", 0.8, per_second=2.1, flow=Flow(3_214_871, 3_214_871, waiting=0)),
        Hop(
            "stream", "Stream to S3", ok, "Running.", 4.1, {"events": 6_480_122},
            "S3 answered 503 Slow Down; the batch was written on the second attempt.", now - timedelta(hours=3),
            per_second=4.4, flow=Flow(handed=6_480_122),
        ),
        Hop("lake", "Lake", ok, f"Current to {now - timedelta(seconds=31):%H:%M:%S} UTC.", 31.0, lag_events=64,
            per_second=4.3, flow=Flow(6_480_122, 6_480_055, 3, 64)),
        Hop("training", "Training", idle, "Last experiment: XGBoost 90 days, candidate.", None, {"experiments": 7}),
        Hop("endpoint", "Endpoint", ok, "v7 is serving.", None),
    )  # fmt: skip


def experiment(
    number: int, now: datetime, *, state: ExperimentState = S.CANDIDATE, days_ago: float = 1.0
) -> Experiment:
    """Experiment number n, candidate vn unless another state is asked for."""
    at = now - timedelta(days=days_ago)
    end = at.replace(hour=0, minute=0, second=0, microsecond=0)
    order = (S.REQUESTED, S.PREPARING, S.TRAINING, S.REGISTERING, S.CANDIDATE)
    reached = order.index(state) if state in order else 2
    words = (
        "Requested by Grace Admin",
        "Snapshot pinned",
        "Training job created",
        "Artifact found",
        f"Registered as v{number}",
    )
    timeline = tuple(
        TimelineEntry(at + timedelta(seconds=(0, 9, 141, 322, 331)[i]), order[i].value, words[i])
        for i in range(reached + 1)
    )
    finished = at + timedelta(seconds=331) if state in (S.CANDIDATE, S.FAILED, S.STOPPED) else None
    failure = None
    if state is S.FAILED:
        failure = "The channel 'train' has only genuine transactions; choose a longer window or a later label cut-off."
        timeline += (TimelineEntry(at + timedelta(seconds=180), "failed", failure),)
    done = state is S.CANDIDATE
    return Experiment(
        experiment_id=f"exp-2026-{number:04d}",
        name=f"XGBoost 90 days, round {number}",
        state=state,
        requested_by="Grace Admin",
        requested_at=at,
        window_start=end - timedelta(days=90),
        window_end=end,
        label_cutoff=end,
        method="xgboost",
        hyperparameters={},
        finished_at=finished,
        training_job=f"fraud-desk-exp-{number}" if reached >= 2 else None,
        timeline=timeline,
        rows=412_118 + number * 9_000 if reached >= 2 else None,
        positives=1_281 + number * 31 if reached >= 2 else None,
        artifact_uri=f"s3://fraud-desk/models/{number}/output/model.tar.gz" if done else None,
        metrics={"average_precision": 0.35 + number * 0.006} if done else {},
        model_version=f"v{number}" if done else None,
        failure=failure,
        note="The training job is Training." if state is S.TRAINING else None,
        snapshot_id=7_313_984_112_604_771_840 if reached >= 1 else None,
    )


def package(number: int, made_by: Experiment) -> Package:
    return Package(
        arn=f"arn:aws:sagemaker:us-east-1:000000000000:model-package/fraud-desk/{number}",
        version=number,
        created_at=made_by.finished_at or made_by.requested_at,
        approval_status="PendingManualApproval",
        artifact_uri=f"s3://fraud-desk/models/{number}/output/model.tar.gz",
        properties=properties(
            experiment_id=made_by.experiment_id,
            features_version="1",
            review_threshold=0.58 + number * 0.005,
            decline_threshold=0.90 + number * 0.003,
            rows=made_by.rows or 0,
            positives=made_by.positives or 0,
            source_uri="s3://fraud-desk/training/sourcedir.tar.gz",
            metrics={
                "average_precision": 0.35 + number * 0.006, "auc": 0.942, "precision_at_review": 0.20 + number * 0.004,
                "recall_at_review": 0.64 + number * 0.006, "alert_rate": 0.0131 - number * 0.0001,
                "prevalence": 0.0031, "validation_rows": 81_000.0, "trees": 124.0,
            },
        ),
    )  # fmt: skip


def deployment(number: int, now: datetime, *, days_ago: float, **changes: Any) -> Deployment:
    at = now - timedelta(days=days_ago)
    made = Deployment(
        deployment_id=f"dep-{number}",
        model_version=f"v{number}",
        kind=DeploymentKind.DEPLOY,
        state=DeploymentState.IN_SERVICE,
        config_name=f"fraud-desk-v{number}-dep-{number}",
        requested_by="Grace Admin",
        requested_at=at,
        reason=f"Average precision higher than v{number - 1} on newer data",
        former_version=f"v{number - 1}" if number > 1 else None,
        finished_at=at + timedelta(seconds=206),
    )
    return replace(made, **changes)


def admin_desk(faults: Faults, *, empty: bool = False, running: bool = False) -> SimpleNamespace:
    """The services of the five pages. `empty`: nothing has happened yet; `running`: an experiment is under way."""
    now = datetime.now(UTC)
    store = MemoryExperiments(faults)
    deployments = MemoryDeployments(faults)
    packages: list[Package] = []
    endpoint = None
    if not empty:
        for number in (5, 6, 7, 8):
            made = experiment(number, now, days_ago=30 - number * 3.6)
            store.items[made.experiment_id] = made
            packages.append(package(number, made))
        failed = experiment(4, now, state=S.FAILED, days_ago=13.2)
        store.items[failed.experiment_id] = failed
        deployments.items = [deployment(n, now, days_ago=29 - n * 3.4) for n in (5, 6, 7)]
        endpoint = EndpointDescription("fraud-desk", "InService", "fraud-desk-v7-dep-7", now - timedelta(days=5))
    if running:
        made = experiment(9, now, state=S.TRAINING, days_ago=0.0025)
        store.items[made.experiment_id] = made
    models = Models(registry=FakeRegistry(faults, packages), group="fraud-desk")
    endpoints = FakeEndpoints(faults, endpoint)
    data = training_desk(faults, empty=empty)
    return SimpleNamespace(
        kpis=Kpis(FakeKpiStore(faults, empty=empty)),
        rates=AskedRates(faults, empty=empty),
        training=Training(
            store=store,
            logs=FakeLogs(faults),
            cards=FakeCards(faults),
            endpoint_name="fraud-desk",
            frozen=data["training_stores"]["frozen"],
            price=Price(0.0),
        ),
        models=models,
        deployment=DeploymentService(store=deployments, endpoints=endpoints, models=models, endpoint_name="fraud-desk"),
        imports=imports(faults),
        health=FakeHops(faults, () if empty else healthy_hops(now)),
        **loop_desk(faults, now, empty=empty),
        **data,
        faults=faults,
        stores=SimpleNamespace(experiments=store, deployments=deployments, endpoints=endpoints),
    )


def equip(desk: Any, **over: bool) -> Any:
    """Give a desk of `fakes.desk` the managers' and administrators' services too; its faults stay the switch."""
    vars(desk).update(vars(admin_desk(desk.faults, **over)))
    return desk
