"""The stores in MongoDB and the ones in memory behave alike, and what only a database can promise holds."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from services.access import Actor, Role
from services.adapters.mongo.client import Db
from services.adapters.mongo.deployments import MongoDeployments
from services.adapters.mongo.experiments import MongoExperiments
from services.audit import AuditEntry
from services.deployment import Deployment, DeploymentKind, DeploymentState, DeploymentStore
from services.domain.thresholds import Thresholds
from services.errors import Conflict, NotFound
from services.revisions import StaleRevision
from services.training import Autopilot, Candidate, Experiment, ExperimentState, ExperimentStore, TimelineEntry
from tests.unit.lifecycle_fakes import NOW, MemoryDeployments, MemoryExperiments

ADMIN = Actor("u-1", "Ada", Role.ADMIN)
LIMITS = Thresholds("v1", 0.4, 0.8)


def experiment(key: str = "exp-1", **changes: object) -> Experiment:
    made = Experiment(
        experiment_id=key,
        name="Weekly",
        state=ExperimentState.REQUESTED,
        requested_by="Ada",
        requested_by_subject="u-1",
        requested_at=NOW,
        window_start=NOW - timedelta(days=30),
        window_end=NOW,
        label_cutoff=NOW,
        method="xgboost",
        hyperparameters={"eta": 0.1},
        timeline=(TimelineEntry(NOW, "requested", "Requested by Ada"),),
        metrics={"validation:aucpr": 0.5, "a.b$c": 1.0},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def deployment(key: str = "dep-1", version: str = "v1", **changes: object) -> Deployment:
    made = Deployment(
        key, version, DeploymentKind.DEPLOY, DeploymentState.REQUESTED, f"fraud-desk-{version}-{key}", "Ada", NOW, "why"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def entry(key: str) -> AuditEntry:
    return AuditEntry(key, NOW, ADMIN, "act", key.split(":")[0], after={"a": 1}, outcome="requested")


@pytest.fixture(params=["memory", "mongodb"])
def experiments(request: pytest.FixtureRequest) -> ExperimentStore:
    return MemoryExperiments() if request.param == "memory" else MongoExperiments(request.getfixturevalue("db"))


@pytest.fixture(params=["memory", "mongodb"])
def deployments(request: pytest.FixtureRequest) -> DeploymentStore:
    return MemoryDeployments() if request.param == "memory" else MongoDeployments(request.getfixturevalue("db"))


def test_an_experiment_is_read_as_it_was_written(experiments: ExperimentStore) -> None:
    experiments.insert(experiment(), audit=entry("exp-1:start"))
    assert experiments.get("exp-1") == experiment()
    assert experiments.active() == experiments.recent(10) == (experiment(),)
    with pytest.raises(NotFound):
        experiments.get("exp-2")


def test_a_search_is_read_as_it_was_written(experiments: ExperimentStore) -> None:
    found = (Candidate("c01", "Completed", {"auc": 0.9}, "s3://b/m", "c01"), Candidate("c02", "Failed", failure="why"))
    written = experiment(
        method="autopilot", autopilot=Autopilot("AUTO", 5, 900), candidates=found, flow=("flow-1", 3),
        features=("amount",), auto_deploy=True, endpoint_name="fraud-desk", deployment_id="dep-1",
        frozen="set-1", frozen_sha256="ab",
    )  # fmt: skip
    experiments.insert(written, audit=entry("a-1"))
    assert experiments.get("exp-1") == written


def test_a_record_of_before_flows_and_searches_still_loads(db: Db) -> None:
    store = MongoExperiments(db)
    store.insert(experiment(), audit=entry("a-1"))
    later = ("target", "features", "flow", "endpoint_name", "auto_deploy", "autopilot", "candidates", "deployment_id")
    later = (*later, "frozen", "frozen_sha256")
    db["experiments"].update_one({"_id": "exp-1"}, {"$unset": dict.fromkeys(later, "")})
    assert store.get("exp-1") == experiment()


def test_only_the_latest_revision_of_an_experiment_can_be_replaced(experiments: ExperimentStore) -> None:
    experiments.insert(experiment(), audit=entry("exp-1:start"))
    saved = experiments.save(replace(experiment(), note="first"))
    assert (saved.revision, saved.note) == (2, "first")
    with pytest.raises(StaleRevision):
        experiments.save(replace(experiment(), note="second"), audit=entry("exp-1:second"))
    assert experiments.get("exp-1") == saved


def test_an_ended_experiment_makes_room_for_the_next(experiments: ExperimentStore) -> None:
    experiments.insert(experiment(), audit=entry("exp-1:start"))
    with pytest.raises(Conflict, match="Weekly"):
        experiments.insert(experiment("exp-2"), audit=entry("exp-2:start"))
    experiments.save(replace(experiment(), state=ExperimentState.FAILED, failure="no"), audit=entry("exp-1:failed"))
    later = experiment("exp-2", requested_at=NOW + timedelta(minutes=1))
    experiments.insert(later, audit=entry("exp-2:start"))
    assert [e.experiment_id for e in experiments.recent(10)] == ["exp-2", "exp-1"]
    assert [e.experiment_id for e in experiments.active()] == ["exp-2"]


def test_a_deployment_is_read_as_it_was_written(deployments: DeploymentStore) -> None:
    deployments.insert(deployment(), limits=LIMITS, audit=entry("dep-1:deploy"))
    assert deployments.active() == deployments.recent(10) == (deployment(),)
    with pytest.raises(Conflict, match="Ada is deploying v1"):
        deployments.insert(deployment("dep-2"), limits=LIMITS, audit=entry("dep-2:deploy"))
    with pytest.raises(StaleRevision):
        deployments.save(deployment(revision=7))


def test_in_service_lists_only_what_reached_the_endpoint_latest_first(deployments: DeploymentStore) -> None:
    for n, state in enumerate([DeploymentState.IN_SERVICE, DeploymentState.FAILED, DeploymentState.IN_SERVICE]):
        key = f"dep-{n}"
        deployments.insert(deployment(key), limits=LIMITS, audit=entry(f"{key}:deploy"))
        ended = deployment(key, state=state, finished_at=NOW + timedelta(minutes=n))
        deployments.save(ended, audit=entry(f"{key}:end"))
    assert [d.deployment_id for d in deployments.in_service(10)] == ["dep-2", "dep-0"]


def test_each_endpoint_has_its_own_deployments_and_those_of_before_are_the_desks(db: Db) -> None:
    store = MongoDeployments(db)
    for key, where in (("dep-1", ""), ("dep-2", "trial")):
        made = deployment(key, endpoint_name=where)
        store.insert(made, limits=LIMITS, audit=entry(f"{key}:deploy"))
        store.save(replace(made, state=DeploymentState.IN_SERVICE, finished_at=NOW))
    db["deployments"].update_one({"_id": "dep-1"}, {"$unset": {"endpoint_name": ""}})
    assert [d.deployment_id for d in store.in_service(10)] == ["dep-1"]
    assert [d.endpoint_name for d in store.in_service(10, "trial")] == ["trial"]


def test_request_thresholds_and_audit_are_written_together_or_not_at_all(db: Db) -> None:
    store = MongoDeployments(db)
    store.insert(deployment(), limits=LIMITS, audit=entry("dep-1:deploy"))
    held = db["thresholds"].find_one({"_id": "v1"})
    assert held is not None
    assert (held["review"], held["decline"], held["set_by"]) == (0.4, 0.8, "Ada")
    with pytest.raises(Conflict):
        store.insert(deployment("dep-2", "v2"), limits=Thresholds("v2", 0.1, 0.2), audit=entry("dep-2:deploy"))
    assert db["thresholds"].count_documents({}) == db["deployments"].count_documents({}) == 1
    assert [a["_id"] for a in db["audit"].find()] == ["dep-1:deploy"]


def test_thresholds_already_set_for_a_version_stay(db: Db) -> None:
    store = MongoDeployments(db)
    db["thresholds"].insert_one({"_id": "v1", "model_version": "v1", "review": 0.5, "decline": 0.9})
    store.insert(deployment(), limits=LIMITS, audit=entry("dep-1:deploy"))
    held = db["thresholds"].find_one({"_id": "v1"})
    assert held is not None
    assert held["review"] == 0.5


def test_a_stale_change_leaves_no_audit_entry(db: Db) -> None:
    store = MongoExperiments(db)
    store.insert(experiment(), audit=entry("exp-1:start"))
    with pytest.raises(StaleRevision):
        store.save(experiment(revision=9), audit=entry("exp-1:late"))
    assert [a["_id"] for a in db["audit"].find()] == ["exp-1:start"]


def test_of_many_requests_at_once_exactly_one_is_recorded(db: Db) -> None:
    store = MongoExperiments(db)
    won: list[str] = []

    def request(key: str) -> None:
        try:
            store.insert(experiment(key), audit=entry(f"{key}:start"))
            won.append(key)
        except Conflict:
            pass

    threads = [threading.Thread(target=request, args=(f"exp-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [a["_id"] for a in db["audit"].find()] == [f"{won[0]}:start"]
