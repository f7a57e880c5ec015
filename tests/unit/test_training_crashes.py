"""Whatever call the lifecycle worker dies at, before or after it took effect, the outcome is the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.training import Autopilot, ExperimentState
from tests.unit.test_deployment_lifecycle import NAME, D
from tests.unit.test_deployment_lifecycle import World as DeploymentWorld
from tests.unit.test_training_lifecycle import ID, JOB
from tests.unit.test_training_lifecycle import World as TrainingWorld

SEARCH = f"fd-{ID}"
CHANGES = (
    "create_training_job",
    "create_package_group",
    "create_package",
    "approve_package",
    "create_model",
    "create_endpoint_config",
    "create_endpoint",
    "update_endpoint",
)


class Killed(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches SIGKILL."""


class Countdown:
    """Kills at the n-th change of the outside world or of our own records, before or after the change."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after, self.fired = at, after, False

    def around(self, call: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            now = self.left == 0 and not self.fired
            self.fired = self.fired or now
            if now and not self.after:
                raise Killed
            result = call(*args, **kwargs)
            if now:
                raise Killed
            return result

        return counted

    def watch(self, world: Any) -> None:
        world.store.save = self.around(world.store.save)
        for name in CHANGES:
            setattr(world.sagemaker, name, self.around(getattr(world.sagemaker, name)))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 16))
def test_an_experiment_survives_a_kill_at_every_change(at: int, after: bool) -> None:
    world = TrainingWorld()
    countdown = Countdown(at, after=after)
    countdown.watch(world)
    for _ in range(60):
        if world.now.finished:
            break
        if JOB in world.sagemaker.jobs and world.now.state is ExperimentState.TRAINING:
            world.sagemaker.finish_job(JOB)
        try:
            world.step()
        except Killed:
            continue
    assert (world.now.state, world.now.model_version) == (ExperimentState.CANDIDATE, "v1")
    assert list(world.sagemaker.jobs) == [JOB]
    assert len(world.sagemaker.groups["fraud-desk"]) == 1
    assert [a.entry_id for a in world.store.audit] == [f"{ID}:training.candidate"]
    assert len(set(world.lake.pins)) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 12))
@pytest.mark.parametrize("first", [True, False], ids=["create", "update"])
def test_a_deployment_survives_a_kill_at_every_change(at: int, after: bool, first: bool) -> None:
    world = DeploymentWorld()
    if not first:
        world.serve("v1")
    key = world.request("v2")
    world.sagemaker.calls.clear()
    Countdown(at, after=after).watch(world)
    for _ in range(60):
        held = world.store.held[key]
        if held.ended:
            break
        endpoint = world.sagemaker.endpoints.get(NAME)
        if endpoint and endpoint.status in {"Creating", "Updating"} and held.issued_at is not None:
            world.sagemaker.settle(NAME)
        try:
            world.step(key)
        except Killed:
            continue
    assert world.store.held[key].state is D.IN_SERVICE
    assert world.sagemaker.endpoints[NAME].config_name == world.store.held[key].config_name
    told = world.sagemaker.calls.count("create_endpoint") + world.sagemaker.calls.count("update_endpoint")
    assert told == 1
    assert [a.outcome for a in world.store.audit].count("in_service") == (1 if first else 2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 16))
def test_a_search_that_deploys_its_best_survives_a_kill_at_every_change(at: int, after: bool) -> None:
    world = TrainingWorld()
    asked = {"method": "autopilot", "hyperparameters": {}, "autopilot": Autopilot(), "auto_deploy": True}
    world.store.held[ID] = replace(world.now, **asked)  # type: ignore[arg-type]
    countdown = Countdown(at, after=after)
    countdown.watch(world)
    world.sagemaker.create_search = countdown.around(world.sagemaker.create_search)  # type: ignore[method-assign]
    world.deployments.insert = countdown.around(world.deployments.insert)  # type: ignore[method-assign]
    for _ in range(60):
        if world.now.finished:
            break
        if SEARCH in world.sagemaker.searches and world.now.state is ExperimentState.TRAINING:
            world.sagemaker.finish_search(SEARCH)
        try:
            world.step()
        except Killed:
            continue
    assert (world.now.state, world.now.model_version) == (ExperimentState.CANDIDATE, "v1")
    assert [c.name for c in world.now.candidates if c.best] == [f"{SEARCH}-blend"]
    assert world.now.artifact_uri == "s3://bucket/models/blend.tar.gz"
    assert list(world.sagemaker.searches) == [SEARCH]
    assert [d.deployment_id for d in world.deployments.held.values()] == [world.now.deployment_id]
    assert len(world.sagemaker.groups["fraud-desk"]) == 1
