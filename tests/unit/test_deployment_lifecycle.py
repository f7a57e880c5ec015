from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.deployment import Deployment, DeploymentKind, DeploymentState, EndpointDescription
from services.errors import InvalidData, NotFound, Unavailable
from services.models import Models, ModelVersion
from tests.unit.lifecycle_fakes import NOW, Clock, FakeSageMaker, MemoryDeployments
from workers.lifecycle_deployment import SETTLE, DeploymentSteps
from workers.lifecycle_ports import Serving

NAME = "fraud-desk"
SERVING = Serving(NAME, "fraud-desk", "arn:aws:iam::123456789012:role/sm", "image:1", "ml.m5.large")
D = DeploymentState
PROPERTIES = {"review_threshold": "0.4", "decline_threshold": "0.8"}


class World:
    def __init__(self, versions: int = 2) -> None:
        self.clock = Clock()
        self.store, self.sagemaker = MemoryDeployments(), FakeSageMaker(self.clock)
        self.sagemaker.create_package_group("group")
        for n in range(1, versions + 1):
            self.sagemaker.create_package(
                "group",
                token=f"t{n}",
                description="",
                image="image:1",
                artifact_uri=f"s3://b/{n}/model.tar.gz",
                instance_type="ml.m5.large",
                properties=PROPERTIES,
            )

    def request(self, version: str) -> str:
        key = f"dep-{len(self.store.held)}"
        config = f"fraud-desk-{version}-{key}"
        self.store.held[key] = Deployment(
            key, version, DeploymentKind.DEPLOY, D.REQUESTED, config, "Ada", self.clock(), "better"
        )
        return key

    def step(self, key: str, times: int = 1) -> Deployment:
        for _ in range(times):
            self.clock.pass_(seconds=1)
            if not self.store.held[key].ended:  # a worker that has just been started: it remembers nothing
                models = Models(registry=self.sagemaker, group="group")
                DeploymentSteps(
                    store=self.store, control=self.sagemaker, models=models, serving=SERVING, clock=self.clock
                ).step(self.store.held[key])
        return self.store.held[key]

    def serve(self, version: str) -> Deployment:
        key = self.request(version)
        self.step(key, 3)
        self.sagemaker.settle(NAME)
        return self.step(key)


def test_the_first_deployment_creates_the_endpoint() -> None:
    world = World()
    done = world.serve("v1")
    assert done.state is D.IN_SERVICE
    assert done.failure is None
    assert world.sagemaker.endpoints[NAME].config_name == done.config_name
    assert world.sagemaker.configs[done.config_name] == "fraud-desk-v1"
    assert world.sagemaker.models["fraud-desk-v1"]["environment"] == {
        "FRAUD_DESK_MODEL_VERSION": "v1",
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
    }
    assert world.sagemaker.groups["group"][0].approval_status == "Approved"
    assert [(a.action, a.outcome) for a in world.store.audit] == [("deployment.deploy", "in_service")]


def test_the_next_one_updates_it() -> None:
    world = World()
    world.serve("v1")
    done = world.serve("v2")
    assert done.state is D.IN_SERVICE
    assert world.sagemaker.calls.count("create_endpoint") == world.sagemaker.calls.count("update_endpoint") == 1


def test_going_back_is_failed_with_the_reason_and_what_serves() -> None:
    world = World()
    world.serve("v1")
    key = world.request("v2")
    world.step(key, 3)
    world.sagemaker.settle(NAME, failure="The container did not answer /ping")
    failed = world.step(key)
    assert failed.state is D.FAILED
    assert failed.failure == "The endpoint did not take it: The container did not answer /ping. v1 is in service."
    assert world.store.audit[-1].outcome == "failed"


def test_a_former_failure_of_the_endpoint_does_not_fail_this_deployment() -> None:
    world = World()
    world.serve("v1")
    key = world.request("v2")
    world.step(key, 3)
    world.sagemaker.settle(NAME, failure="The container did not answer /ping")
    world.step(key)
    world.clock.pass_(minutes=5)
    assert world.serve("v2").state is D.IN_SERVICE


def test_an_update_that_never_begins_is_given_up() -> None:
    world = World()
    first = world.serve("v1")
    key = world.request("v2")
    world.step(key, 2)
    world.sagemaker.endpoints[NAME] = EndpointDescription(NAME, "InService", first.config_name, NOW)
    assert world.step(key).state is D.UPDATING
    world.clock.now += SETTLE
    assert world.step(key).state is D.FAILED


def test_a_failed_creation_fails_it_and_the_next_deployment_starts_anew() -> None:
    world = World()
    key = world.request("v1")
    world.step(key, 3)
    world.sagemaker.settle(NAME, failure="No such artifact")
    failed = world.step(key)
    assert failed.failure == "The endpoint could not be created: No such artifact. No model is in service."
    key = world.request("v2")
    world.step(key, 3)
    assert world.sagemaker.calls.count("delete_endpoint") == 1
    world.sagemaker.settle(NAME)
    assert world.step(key).state is D.IN_SERVICE


@pytest.mark.parametrize(
    "call",
    [
        "packages",
        "approve_package",
        "create_model",
        "create_endpoint_config",
        "describe_endpoint",
        "create_endpoint",
        "update_endpoint",
    ],
)
def test_a_silent_sagemaker_and_lost_replies_lose_nothing(call: str) -> None:
    world = World()
    if call == "update_endpoint":
        world.serve("v1")
    key = world.request("v2")
    world.sagemaker.fail_next[call] = Unavailable("SageMaker is not reachable.", dependency="SageMaker")
    with pytest.raises(Unavailable):
        world.step(key, 5)
    assert not world.store.held[key].ended
    world.step(key, 4)
    world.sagemaker.settle(NAME)
    assert world.step(key).state is D.IN_SERVICE
    assert world.sagemaker.calls.count("create_endpoint") == 1
    assert world.sagemaker.calls.count("update_endpoint") <= 1


def test_a_crash_between_telling_and_remembering_is_found_out() -> None:
    world = World()
    key = world.request("v1")
    world.step(key)
    world.sagemaker.create_endpoint(NAME, config_name=world.store.held[key].config_name)
    assert world.store.held[key].issued_at is None
    assert world.step(key).issued_at is not None
    assert world.sagemaker.calls.count("create_endpoint") == 1


def test_somebody_elses_change_is_waited_for() -> None:
    world = World()
    first = world.serve("v1")
    world.sagemaker.endpoints[NAME] = EndpointDescription(NAME, "Updating", first.config_name, NOW, "by-hand")
    key = world.request("v2")
    waiting = world.step(key, 4)
    assert (waiting.state, waiting.note, waiting.issued_at) == (D.UPDATING, "The endpoint is updating.", None)
    world.clock.now += timedelta(hours=1)
    world.sagemaker.settle(NAME)
    world.step(key, 2)
    world.sagemaker.settle(NAME)
    assert world.step(key).state is D.IN_SERVICE


def test_a_model_of_the_same_name_with_other_contents_is_not_served() -> None:
    world = World()
    world.sagemaker.create_model(
        "fraud-desk-v1", image="i", artifact_uri="s3://evil/x.tar.gz", environment={}, role_arn=""
    )
    key = world.request("v1")
    failed = world.step(key)
    assert failed.state is D.FAILED
    assert "other contents" in (failed.failure or "")
    assert world.sagemaker.endpoints == {}


def test_a_refusal_ends_it() -> None:
    world = World()
    key = world.request("v1")
    world.sagemaker.fail_next["create_endpoint_config"] = InvalidData("SageMaker refused the request: no such type")
    assert world.step(key).failure == "SageMaker refused the request: no such type. No model is in service."
    gone = world.request("v7")
    assert world.step(gone).state is D.FAILED


def test_versions_are_taken_from_the_registry() -> None:
    world = World()
    models = Models(registry=world.sagemaker, group="group")
    found: ModelVersion = models.get("v2")
    assert found.artifact_uri == "s3://b/2/model.tar.gz"
    with pytest.raises(NotFound):
        models.get("v3")


def test_another_endpoint_is_made_and_changed_beside_the_desks() -> None:
    world = World()
    served = world.serve("v1")
    for version in ("v2", "v1"):
        key = world.request(version)
        world.store.held[key] = replace(world.store.held[key], endpoint_name="trial")
        world.step(key, 3)
        world.sagemaker.settle("trial")
        assert world.step(key).state is D.IN_SERVICE
        assert world.sagemaker.endpoints["trial"].config_name == world.store.held[key].config_name
    assert world.sagemaker.endpoints[NAME].config_name == served.config_name
    assert [d.model_version for d in world.store.in_service(5)] == ["v1"]
    assert [d.model_version for d in world.store.in_service(5, "trial")] == ["v1", "v2"]


def test_an_endpoint_of_that_name_that_the_desk_did_not_make_is_left_alone() -> None:
    world = World()
    world.serve("v1")
    world.sagemaker.endpoints["theirs"] = EndpointDescription("theirs", "InService", "their-config", NOW)
    key = world.request("v2")
    world.store.held[key] = replace(world.store.held[key], endpoint_name="theirs")
    failed = world.step(key, 3)
    assert failed.failure == (
        "An endpoint named theirs exists and the desk did not make it: not changed. "
        "Live transactions are scored as before."
    )
    assert world.sagemaker.endpoints["theirs"].config_name == "their-config"
    assert "update_endpoint" not in world.sagemaker.calls
