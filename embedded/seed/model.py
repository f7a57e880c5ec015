"""The first model, made as an admin makes one: requested from the services, carried out by the lifecycle worker."""

from __future__ import annotations

import time
from datetime import datetime

from embedded.seed.reporting import Progress
from services.access import system
from services.deployment import DeploymentService, DeploymentState
from services.errors import ServiceError, Unavailable
from services.training import Experiment, ExperimentState, Training, TrainingRequest

ACTOR = system("set-up")
NAME = "First model"
TRAIN_SECONDS = 600.0
DEPLOY_SECONDS = 300.0
_POLL_SECONDS = 0.2
_FRACTIONS = {
    ExperimentState.REQUESTED: 0.0,
    ExperimentState.PREPARING: 0.1,
    ExperimentState.TRAINING: 0.5,
    ExperimentState.REGISTERING: 0.9,
}


class NoModel(ServiceError):
    """The first model could not be trained or deployed; running the set-up again tries once more."""


def train(training: Training, start: datetime, end: datetime, progress: Progress) -> str:
    """Train on [start, end) with the labels known at `end`, unless that was done; returns the model version.

    Raises NoModel when the experiment failed or did not end in time.
    """
    experiment_id = _under_way(training)
    if experiment_id is None:
        request = TrainingRequest(name=NAME, window_start=start, window_end=end, label_cutoff=end)
        experiment_id = training.start(request, actor=ACTOR)
    deadline = time.monotonic() + TRAIN_SECONDS
    while True:
        found = _look(training, experiment_id)
        if found is not None:
            if found.state is ExperimentState.CANDIDATE and found.model_version:
                return found.model_version
            if found.state in (ExperimentState.FAILED, ExperimentState.STOPPED):
                raise NoModel(f"The first training ended as {found.state}: {found.failure or 'no reason was given'}")
            said = found.timeline[-1].message if found.timeline else str(found.state)
            progress.step("train", said, fraction=_FRACTIONS.get(found.state))
        if time.monotonic() > deadline:
            raise NoModel("The first training did not end within 10 minutes; look at the lifecycle worker's log.")
        time.sleep(_POLL_SECONDS)


def deploy(deployment: DeploymentService, version: str, progress: Progress) -> None:
    """Deploy the version unless it serves already, and wait until it is in service. Raises NoModel."""
    deployment_id = next(
        (d.deployment_id for d in deployment.history() if d.model_version == version and not _failed(d.state)), None
    )
    if deployment_id is None:
        deployment_id = deployment.deploy(version, reason="The first model of this desk", actor=ACTOR)
    deadline = time.monotonic() + DEPLOY_SECONDS
    while True:
        try:
            found = next((d for d in deployment.history() if d.deployment_id == deployment_id), None)
        except Unavailable:
            found = None
        if found is not None:
            if found.state is DeploymentState.IN_SERVICE:
                return
            if _failed(found.state):
                raise NoModel(f"The first deployment failed: {found.failure or 'no reason was given'}")
            progress.step("deploy", found.note or f"{version} is being put behind the endpoint")
        if time.monotonic() > deadline:
            raise NoModel("The first deployment did not end within 5 minutes; look at the lifecycle worker's log.")
        time.sleep(_POLL_SECONDS)


def _under_way(training: Training) -> str | None:
    """The experiment a former run of the set-up asked for, unless it came to nothing."""
    for experiment in training.experiments():
        ended_badly = experiment.state in (ExperimentState.FAILED, ExperimentState.STOPPED)
        if experiment.name == NAME and experiment.requested_by_subject == ACTOR.subject and not ended_badly:
            return experiment.experiment_id
    return None


def _look(training: Training, experiment_id: str) -> Experiment | None:
    try:
        return training.get(experiment_id)
    except Unavailable:
        return None


def _failed(state: DeploymentState) -> bool:
    return state is DeploymentState.FAILED
