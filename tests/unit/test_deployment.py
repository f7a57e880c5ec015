from __future__ import annotations

from dataclasses import replace

import pytest

from services.access import Actor, Role
from services.deployment import (
    Deployment,
    DeploymentKind,
    DeploymentService,
    DeploymentState,
    EndpointDescription,
    version_of,
)
from services.errors import Conflict, Denied, InvalidData, NotFound, Unavailable
from services.models import ModelVersion
from tests.unit.lifecycle_fakes import NOW, Clock, FakeSageMaker, MemoryDeployments

ADMIN = Actor("u-1", "Ada", Role.ADMIN)
NAME = "fraud-desk"


class Versions:
    def __init__(self, review: float | None = 0.4, features: str = "") -> None:
        self.review, self.features = review, features

    def get(self, version: str) -> ModelVersion:
        if version not in {"v1", "v2", "v3"}:
            raise NotFound(version)
        made = ModelVersion(version, f"arn:{version}", NOW, "exp", {}, self.review, 0.8, "Approved", "s3://b/m.tar.gz")
        return replace(made, features_version=self.features)


class Desk:
    def __init__(self, review: float | None = 0.4, *, computes: str = "", trained_on: str = "") -> None:
        self.store, self.clock = MemoryDeployments(), Clock()
        self.sagemaker = FakeSageMaker(self.clock)
        self.tokens = iter(f"{n:04x}" for n in range(100))
        self.service = DeploymentService(
            store=self.store,
            endpoints=self.sagemaker,
            models=Versions(review, trained_on),
            endpoint_name=NAME,
            features_version=computes,
            clock=self.clock,
            token=lambda: next(self.tokens),
        )

    def served(self, version: str) -> Deployment:
        """Deploy and let it succeed."""
        deployment_id = self.service.deploy(version, reason="better", actor=ADMIN)
        return self.succeed(deployment_id)

    def succeed(self, deployment_id: str) -> Deployment:
        self.clock.pass_(minutes=1)
        held = self.store.held[deployment_id]
        done = replace(held, state=DeploymentState.IN_SERVICE, finished_at=self.clock())
        return self.store.save(done)


def test_a_request_carries_version_config_reason_thresholds_and_audit() -> None:
    desk = Desk()
    deployment_id = desk.service.deploy("v2", reason=" catches more ", actor=ADMIN)
    held = desk.store.held[deployment_id]
    assert deployment_id == "dep-20261122-1415-0000"
    assert held.config_name == f"fraud-desk-v2-{deployment_id}"
    assert len(held.config_name) <= 63
    assert (held.state, held.kind, held.reason) == (DeploymentState.REQUESTED, DeploymentKind.DEPLOY, "catches more")
    assert (desk.store.limits["v2"].review, desk.store.limits["v2"].decline) == (0.4, 0.8)
    assert [(a.action, a.after["model_version"]) for a in desk.store.audit] == [("deployment.deploy", "v2")]


@pytest.mark.parametrize("role", [Role.ANALYST, Role.MANAGER])
def test_only_an_admin_may_deploy_or_roll_back(role: Role) -> None:
    desk = Desk()
    desk.served("v1")
    desk.served("v2")
    actor = Actor("u-2", "Bo", role)
    with pytest.raises(Denied):
        desk.service.deploy("v3", reason="better", actor=actor)
    with pytest.raises(Denied):
        desk.service.roll_back(reason="worse", actor=actor)
    assert desk.store.active() == ()


def test_one_at_a_time_naming_who() -> None:
    desk = Desk()
    desk.service.deploy("v1", reason="first", actor=ADMIN)
    with pytest.raises(Conflict, match="Ada is deploying v1"):
        desk.service.deploy("v2", reason="second", actor=ADMIN)


@pytest.mark.parametrize("reason", ["", "  ", "ab", "x" * 501])
def test_a_reason_is_needed(reason: str) -> None:
    desk = Desk()
    with pytest.raises(InvalidData):
        desk.service.deploy("v1", reason=reason, actor=ADMIN)
    assert desk.store.held == {}


def test_unknown_and_unusable_versions_are_refused() -> None:
    with pytest.raises(NotFound):
        Desk().service.deploy("v9", reason="better", actor=ADMIN)
    with pytest.raises(InvalidData, match="no thresholds"):
        Desk(review=None).service.deploy("v1", reason="better", actor=ADMIN)


def test_a_model_of_other_features_is_refused_and_what_serves_stays() -> None:
    desk = Desk(computes="2", trained_on="2")
    desk.served("v1")
    desk.service._models = Versions(features="1")  # as a desk after an upgrade has them
    with pytest.raises(InvalidData, match="features of version 1 and this desk computes version 2"):
        desk.service.deploy("v2", reason="better", actor=ADMIN)
    assert [d.model_version for d in desk.store.recent(9)] == ["v1"]
    assert desk.service.deploy("v2", reason="for another desk", actor=ADMIN, endpoint_name="other")


def test_what_serves_already_is_not_deployed_again() -> None:
    desk = Desk()
    desk.served("v1")
    with pytest.raises(Conflict, match="already in service"):
        desk.service.deploy("v1", reason="again", actor=ADMIN)


def test_rolling_back_takes_the_former_versions_own_configuration() -> None:
    desk = Desk()
    with pytest.raises(Conflict, match="Nothing has been deployed"):
        desk.service.roll_back(reason="worse", actor=ADMIN)
    first = desk.served("v1")
    with pytest.raises(Conflict, match="none before it"):
        desk.service.roll_back(reason="worse", actor=ADMIN)
    desk.served("v2")
    held = desk.store.held[desk.service.roll_back(reason="worse", actor=ADMIN)]
    assert (held.kind, held.model_version, held.former_version) == (DeploymentKind.ROLLBACK, "v1", "v2")
    assert held.config_name == first.config_name


def test_rolling_back_twice_undoes_the_roll_back() -> None:
    desk = Desk()
    desk.served("v1")
    second = desk.served("v2")
    desk.succeed(desk.service.roll_back(reason="worse", actor=ADMIN))
    held = desk.store.held[desk.service.roll_back(reason="was fine", actor=ADMIN)]
    assert (held.model_version, held.config_name) == ("v2", second.config_name)


def test_before_the_first_deployment_nothing_serves() -> None:
    current = Desk().service.current()
    assert (current.status, current.model_version, current.reachable) == ("NotCreated", None, True)


def test_while_it_updates_the_former_version_serves_and_the_new_one_is_pending() -> None:
    desk = Desk()
    first = desk.served("v1")
    desk.sagemaker.endpoints[NAME] = EndpointDescription(NAME, "Updating", first.config_name, NOW, "other")
    desk.service.deploy("v2", reason="better", actor=ADMIN)
    current = desk.service.current()
    assert (current.status, current.model_version, current.pending_version) == ("Updating", "v1", "v2")


def test_what_the_endpoint_runs_counts_not_what_we_recorded() -> None:
    desk = Desk()
    first = desk.served("v1")
    desk.served("v2")
    desk.sagemaker.endpoints[NAME] = EndpointDescription(NAME, "InService", first.config_name, NOW)
    assert desk.service.current().model_version == "v1"
    desk.sagemaker.endpoints[NAME] = EndpointDescription(NAME, "InService", "made-by-hand", NOW)
    assert desk.service.current().model_version is None


def test_a_silent_endpoint_is_said_with_the_last_known_version() -> None:
    desk = Desk()
    desk.served("v1")
    desk.sagemaker.fail_next["describe_endpoint"] = Unavailable("SageMaker is not reachable.", dependency="SageMaker")
    current = desk.service.current()
    assert (current.reachable, current.status, current.model_version) == (False, "Unknown", "v1")
    assert current.failure == "SageMaker is not reachable."


def test_a_failed_deployment_shows_why_until_the_next_one() -> None:
    desk = Desk()
    first = desk.served("v1")
    desk.sagemaker.endpoints[NAME] = EndpointDescription(NAME, "InService", first.config_name, NOW)
    failed = desk.store.held[desk.service.deploy("v2", reason="better", actor=ADMIN)]
    desk.store.save(replace(failed, state=DeploymentState.FAILED, failure="No answer to ping. v1 is in service."))
    assert desk.service.current().failure == "No answer to ping. v1 is in service."
    desk.clock.pass_(minutes=1)
    desk.service.deploy("v3", reason="better", actor=ADMIN)
    assert desk.service.current().failure is None


def test_a_configuration_tells_its_version_without_our_records() -> None:
    assert version_of("fraud-desk-v12-dep-20261122-1415-ab12") == "v12"
    assert version_of("somebody-elses") is None


def test_history_is_newest_first() -> None:
    desk = Desk()
    desk.served("v1")
    desk.served("v2")
    assert [d.model_version for d in desk.service.history()] == ["v2", "v1"]


def test_a_card_number_in_the_reason_is_kept_nowhere() -> None:
    desk = Desk()
    deployment_id = desk.service.deploy("v1", reason="missed 4111 1111 1111 1111 123", actor=ADMIN)
    assert desk.store.held[deployment_id].reason == "missed [card number] 123"
    assert "4111" not in repr(desk.store.audit)


def test_what_is_deployed_elsewhere_is_neither_what_scores_nor_what_one_goes_back_to() -> None:
    desk = Desk()
    desk.served("v1")
    desk.succeed(desk.service.deploy("v2", reason="on trial", actor=ADMIN, endpoint_name="trial"))
    with pytest.raises(Conflict, match="v2 is already in service on trial, since"):
        desk.service.deploy("v2", reason="again", actor=ADMIN, endpoint_name="trial")
    with pytest.raises(Conflict, match="v1 is the first version in service"):
        desk.service.roll_back(reason="back", actor=ADMIN)
    pending = desk.service.deploy("v3", reason="on trial", actor=ADMIN, endpoint_name="trial")
    assert desk.service.current().pending_version is None
    assert desk.store.held[pending].former_version == "v2"
    desk.succeed(pending)
    assert desk.service.deploy("v2", reason="for all", actor=ADMIN, endpoint_name=NAME), "the desk's by its name"
    assert desk.service.current().pending_version == "v2"
