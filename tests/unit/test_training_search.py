"""An experiment by Autopilot: what is asked for, what is followed, how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.deployment import Deployment, DeploymentKind, DeploymentState
from services.models import Package
from services.training import Autopilot, Experiment, ExperimentState, TrainingRequest, check
from tests.unit.lifecycle_fakes import NOW
from tests.unit.test_training_lifecycle import ID, World

S = ExperimentState
SEARCH = f"fd-{ID}"


def world(**changes: Any) -> World:
    made = World()
    limits = Autopilot("HYPERPARAMETER_TUNING", 5, 900, 120)
    asked = {"method": "autopilot", "hyperparameters": {}, "autopilot": limits} | changes
    made.store.held[ID] = replace(made.now, **asked)
    return made


def searching(made: World) -> Experiment:
    for _ in range(10):
        made.step()
        if SEARCH in made.sagemaker.searches:
            return made.now
    raise AssertionError(made.now.note)


def test_the_search_is_asked_for_within_the_limits_given() -> None:
    made = world()
    searching(made)
    spec = made.sagemaker.search_specs[SEARCH]
    assert len(spec.name) <= 32
    assert (spec.mode, spec.max_candidates, spec.max_runtime_seconds) == ("HYPERPARAMETER_TUNING", 5, 900)
    assert (spec.max_candidate_runtime_seconds, spec.target) == (120, "label")
    assert spec.features_uri.endswith(f"training/{ID}/features.json")


def test_candidates_are_recorded_with_their_own_figures_and_the_best_is_registered() -> None:
    made = world()
    searching(made)
    made.sagemaker.finish_search(SEARCH)
    done = made.until(S.CANDIDATE)
    assert [(c.name, c.status, c.best) for c in done.candidates] == [
        (f"{SEARCH}-c01", "Completed", False),
        (f"{SEARCH}-blend", "Completed", True),
        (f"{SEARCH}-c02", "Failed", False),
    ]
    assert done.candidates[0].metrics["average_precision"] == pytest.approx(0.72)
    assert done.candidates[2].failure == "AlgorithmError: no memory"
    assert (done.training_job, done.deployment_id) == (f"{SEARCH}-blend", None)


def test_a_failed_search_is_its_sentence_and_a_stop_is_passed_on() -> None:
    failed, stopped = world(), world()
    searching(failed)
    failed.sagemaker.finish_search(SEARCH, "Failed", failure="The column 'x' is string.", best=None)
    assert failed.until(S.FAILED).failure == "Autopilot failed: The column 'x' is string."
    searching(stopped)
    stopped.store.held[ID] = replace(stopped.now, stop_requested_by="Ada")
    stopped.step()
    assert "stop_search" in stopped.sagemaker.calls
    stopped.sagemaker.finish_search(SEARCH, "Stopped", best=None)
    assert stopped.until(S.STOPPED).finished


def test_auto_deploy_waits_while_another_deployment_is_under_way() -> None:
    made = world(auto_deploy=True)
    searching(made)
    made.sagemaker.finish_search(SEARCH)
    other = Deployment("dep-1", "v0", DeploymentKind.DEPLOY, DeploymentState.UPDATING, "c", "Bo", NOW, "because")
    made.deployments.held["dep-1"] = other
    made.step(6)
    assert made.now.state is S.REGISTERING
    assert "not deployed yet" in (made.now.note or "")
    made.deployments.held["dep-1"] = replace(other, state=DeploymentState.FAILED)
    done = made.until(S.CANDIDATE)
    asked = made.deployments.held[done.deployment_id or ""]
    assert (asked.model_version, asked.requested_by) == ("v1", "lifecycle")
    assert ID in asked.reason
    assert "Ada" in asked.reason


def test_limits_columns_and_endpoint_are_checked_together() -> None:
    wrong = TrainingRequest(
        "x", NOW, NOW, NOW, "autopilot", {"eta": 0.1}, target="amount", endpoint_name="-other",
        autopilot=Autopilot("FAST", 1, 5, 2),
    )  # fmt: skip
    fields = {p.field for p in check(wrong, now=NOW)}
    assert fields == {
        "window_start", "target", "hyperparameters", "endpoint_name", "autopilot.mode", "autopilot.max_candidates",
        "autopilot.max_runtime_s", "autopilot.max_candidate_runtime_s",
    }  # fmt: skip


def test_a_model_for_another_endpoint_is_deployed_there_and_once() -> None:
    world = World()
    one = replace(world.store.held[ID], state=S.CANDIDATE, model_version="v1", auto_deploy=True, endpoint_name="trial")
    world.sagemaker.groups["fraud-desk"] = [
        Package(
            "arn", 1, NOW, "Approved", "s3://b/m", properties={"review_threshold": "0.4", "decline_threshold": ".8"}
        )
    ]
    asked = world.deployer.ensure(one)
    assert world.deployments.held[asked or ""].endpoint_name == "trial"
    assert world.deployer.ensure(one) == asked
