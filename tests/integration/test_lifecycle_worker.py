"""From a request to a model that answers, through the real worker, SageMaker's API, MongoDB and S3 - and a kill -9."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.access import Actor, Role
from services.adapters import aws
from services.adapters.logs import TrainingJobLogs
from services.adapters.mongo.client import Db
from services.adapters.mongo.deployments import MongoDeployments
from services.adapters.mongo.experiments import MongoExperiments
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.sagemaker import SageMaker
from services.adapters.sagemaker_runtime import SageMakerRuntime
from services.deployment import DeploymentService, DeploymentState
from services.endpoint import Endpoint
from services.errors import InvalidData, Unavailable
from services.models import Models
from services.settings import Settings
from services.training import ExperimentState, Training, TrainingRequest
from services.worker_status import utc_now
from tests.integration.lifecycle_process import FEATURES, MODULE

ROOT = Path(__file__).resolve().parents[2]
ADMIN = Actor("u-1", "Ada", Role.ADMIN)
REGION = "eu-central-1"
ROLE = "arn:aws:iam::000000000000:role/fraud-desk-sagemaker"
IMAGE = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-xgboost:3.0-1"

pytestmark = pytest.mark.timeout(300)


def reached(condition: Callable[[], Any], *, seconds: float, what: str | Callable[[], str]) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def cloud(mongo_uri: str, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded AWS server; every AWS client made meanwhile talks to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path_factory.mktemp("cloud")
    command = [sys.executable, "-m", "embedded.aws", "--port", str(port), "--mongodb-uri", mongo_uri]
    command += ["--state", str(state), "--s3-endpoint", s3_endpoint, "--stop-grace", "3"]
    with (state / "server.log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        try:
            reached(lambda: _accepts(port) or process.poll() is not None, seconds=20, what="the embedded server")
            assert process.poll() is None, (state / "server.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(15)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Desk:
    """One installation, its screens' services, and the worker process."""

    settings: Settings
    db: Db
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        sagemaker = SageMaker(region=REGION)
        self.training = Training(store=MongoExperiments(self.db), logs=TrainingJobLogs(region=REGION))
        self.models = Models(registry=sagemaker, group=self.settings.model_package_group)
        self.deployment = DeploymentService(
            store=MongoDeployments(self.db),
            endpoints=sagemaker,
            models=self.models,
            endpoint_name=self.settings.endpoint_name,
        )
        self.endpoint = Endpoint(runtime=SageMakerRuntime(region=REGION), name=self.settings.endpoint_name)

    def work(self) -> None:
        env = os.environ | {
            "MONGODB_URI": self.settings.mongodb_uri,
            "FRAUD_DESK_DATABASE": self.settings.database,
            "FRAUD_DESK_BUCKET": self.settings.bucket,
            "FRAUD_DESK_ENDPOINT": self.settings.endpoint_name,
            "FRAUD_DESK_MODEL_GROUP": self.settings.model_package_group,
            "FRAUD_DESK_SAGEMAKER_ROLE": ROLE,
            "FRAUD_DESK_TRAINING_IMAGE": IMAGE,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", MODULE, "work"], cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def request(self, name: str = "Weekly", *, deploy_to: str = "", **hyperparameters: float) -> str:
        now = utc_now()
        asked = TrainingRequest(
            name,
            now - timedelta(days=30),
            now,
            now,
            hyperparameters={"num_round": 20, "max_depth": 3} | hyperparameters,
            endpoint_name=deploy_to,
            auto_deploy=bool(deploy_to),
        )
        return self.training.start(asked, actor=ADMIN)

    def until(self, experiment_id: str, *states: ExperimentState, seconds: float = 120) -> Any:
        def there() -> Any:
            experiment = self.training.get(experiment_id)
            assert experiment.state in states or not experiment.finished, f"{experiment.failure}\n{self.said()}"
            return experiment if experiment.state in states else None

        return reached(there, seconds=seconds, what=lambda: f"{self.training.get(experiment_id)}\n{self.said()}")

    def deployed(self, deployment_id: str, *, seconds: float = 120) -> Any:
        def ended() -> Any:
            found = next(d for d in self.deployment.history() if d.deployment_id == deployment_id)
            return found if found.ended else None

        return reached(ended, seconds=seconds, what=lambda: f"{self.deployment.history()[0]}\n{self.said()}")

    def said(self) -> str:
        return self.log.read_text()[-4000:] if self.log.exists() else ""

    def jobs(self, experiment_id: str) -> list[str]:
        client = aws.client("sagemaker", region=REGION)
        found = client.list_training_jobs(NameContains=experiment_id)["TrainingJobSummaries"]
        return [job["TrainingJobName"] for job in found]


@pytest.fixture
def desk(cloud: str, settings: Settings, db: Db, tmp_path: Path) -> Iterator[Desk]:
    own = settings.database.replace("_", "-")
    named = replace(settings, endpoint_name=f"desk-{own}", model_package_group=f"group-{own}")
    made = Desk(named, db, tmp_path / "worker.log")
    yield made
    made.kill()
    client = aws.client("sagemaker", region=REGION)
    for endpoint in client.list_endpoints(NameContains=named.endpoint_name)["Endpoints"]:
        client.delete_endpoint(EndpointName=endpoint["EndpointName"])


def test_from_request_to_scores_and_back(desk: Desk) -> None:
    desk.work()
    first = desk.until(desk.request(), ExperimentState.CANDIDATE)
    assert (first.model_version, first.rows, first.positives, first.failure) == ("v1", 2500, 200, None)
    assert first.metrics["average_precision"] > 0.5
    states = [entry.state for entry in first.timeline]
    assert [s for s in states if s.islower()] == ["requested", "preparing", "training", "registering", "candidate"]
    assert {"Starting", "Training", "Completed"} <= set(states)
    assert any("metric:validation_average_precision=" in line for line in desk.training.log_tail(first.experiment_id))
    assert len(desk.training.log_tail(first.experiment_id, lines=3)) == 3

    (candidate,) = desk.models.candidates()
    assert (candidate.model_version, candidate.approval_status) == ("v1", "PendingManualApproval")
    assert candidate.metrics["average_precision"] == pytest.approx(first.metrics["average_precision"])
    assert desk.deployment.current().status == "NotCreated"
    done = desk.deployed(desk.deployment.deploy("v1", reason="first model", actor=ADMIN))
    assert (done.state, done.failure) == (DeploymentState.IN_SERVICE, None)
    assert desk.models.candidates()[0].approval_status == "Approved"
    current = desk.deployment.current()
    assert (current.status, current.model_version, current.pending_version) == ("InService", "v1", None)

    answer = desk.endpoint.score([[0.9, 0.95, 0.5], [0.1, 0.1, math.nan]], explain=True)
    assert (answer.model_version, answer.features_version) == ("v1", "1")
    assert answer.scores[0] > 0.5 > answer.scores[1]
    assert answer.contributions is not None
    assert [len(row) for row in answer.contributions] == [len(FEATURES)] * 2
    with pytest.raises(InvalidData):
        desk.endpoint.score([[0.9, 0.95]])

    trial = f"{desk.settings.endpoint_name}-trial"
    second = desk.until(desk.request("Deeper", deploy_to=trial, max_depth=5), ExperimentState.CANDIDATE)
    assert second.model_version == "v2"
    asked = reached(lambda: desk.training.get(second.experiment_id).deployment_id, seconds=60, what=desk.said)
    beside = desk.deployed(asked)
    assert (beside.state, beside.endpoint_name, beside.failure) == (DeploymentState.IN_SERVICE, trial, None)
    elsewhere = Endpoint(runtime=SageMakerRuntime(region=REGION), name=trial)
    assert elsewhere.score([[0.9, 0.9, 0.9]]).model_version == "v2"
    assert desk.deployment.current().model_version == "v1"
    assert desk.endpoint.score([[0.9, 0.9, 0.9]]).model_version == "v1"

    assert desk.deployed(desk.deployment.deploy("v2", reason="deeper", actor=ADMIN)).former_version == "v1"
    assert desk.endpoint.score([[0.9, 0.9, 0.9]]).model_version == "v2"
    back = desk.deployed(desk.deployment.roll_back(reason="too many alerts", actor=ADMIN))
    assert (back.state, back.model_version) == (DeploymentState.IN_SERVICE, "v1")
    assert desk.endpoint.score([[0.9, 0.9, 0.9]]).model_version == "v1"
    outcomes = [(a["action"], a["outcome"]) for a in desk.db["audit"].find().sort("at")]
    # Counted, because the end of the second training and its own deployment's request come at about the same time.
    expected = {
        ("training.start", "requested"): 2,
        ("training.end", "candidate"): 2,
        ("deployment.deploy", "requested"): 3,
        ("deployment.deploy", "in_service"): 3,
        ("deployment.rollback", "requested"): 1,
        ("deployment.rollback", "in_service"): 1,
    }
    assert Counter(outcomes) == expected
    assert [*outcomes[:5], *outcomes[-2:]] == [
        ("training.start", "requested"),
        ("training.end", "candidate"),
        ("deployment.deploy", "requested"),
        ("deployment.deploy", "in_service"),
        ("training.start", "requested"),
        ("deployment.rollback", "requested"),
        ("deployment.rollback", "in_service"),
    ]


def test_killed_again_and_again_it_ends_with_one_job_one_package_and_the_model_in_service(desk: Desk) -> None:
    pause = random.Random(20261122)
    experiment_id = desk.request()
    deployment_id = ""

    def place() -> tuple[int, ...]:
        revisions = [e.revision for e in desk.training.experiments()]
        return (*revisions, *(d.revision for d in desk.deployment.history()))

    kills, former = 0, place()
    while not (deployment_id and desk.deployment.history()[0].ended):
        desk.work()  # each life gets at least one step further, and a little more
        reached(lambda former=former: place() != former, seconds=90, what=desk.said)
        time.sleep(pause.uniform(0, 0.2))
        desk.kill()
        kills += 1
        experiment = desk.training.get(experiment_id)
        assert experiment.state is not ExperimentState.FAILED, experiment.failure
        if experiment.state is ExperimentState.CANDIDATE and not deployment_id:
            deployment_id = desk.deployment.deploy("v1", reason="first model", actor=ADMIN)
        former = place()
    assert kills >= 3
    assert desk.deployment.history()[0].state is DeploymentState.IN_SERVICE
    assert desk.jobs(experiment_id) == [f"fraud-desk-{experiment_id}"]
    assert [m.model_version for m in desk.models.candidates()] == ["v1"]
    assert desk.endpoint.score([[0.5, 0.5, 0.5]]).model_version == "v1"
    actions = [a["action"] for a in desk.db["audit"].find()]
    assert sorted(actions) == ["deployment.deploy", "deployment.deploy", "training.end", "training.start"]


def test_killed_while_training_it_resumes_the_same_job(desk: Desk) -> None:
    desk.work()
    experiment_id = desk.request(num_round=400, early_stopping_rounds=400, max_depth=8)
    reached(lambda: desk.jobs(experiment_id), seconds=90, what=desk.said)
    desk.kill()
    assert desk.training.get(experiment_id).state is ExperimentState.TRAINING
    status = MongoStatusStore(desk.db).get("lifecycle")
    assert status is not None
    desk.work()
    assert desk.until(experiment_id, ExperimentState.CANDIDATE).model_version == "v1"
    assert len(desk.jobs(experiment_id)) == 1


def test_a_stop_ends_the_job_and_registers_nothing(desk: Desk) -> None:
    desk.work()
    experiment_id = desk.request(num_round=5000, early_stopping_rounds=1000, max_depth=12)
    reached(lambda: desk.jobs(experiment_id), seconds=90, what=desk.said)
    desk.training.stop(experiment_id, actor=ADMIN)
    assert desk.until(experiment_id, ExperimentState.STOPPED).failure is None
    assert desk.models.candidates() == ()
    desk.request("The next one")


def test_while_sagemaker_is_away_requests_wait_and_say_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        desk.work()
        experiment_id = desk.request()

        def waiting() -> bool:
            return "not reachable" in (desk.training.get(experiment_id).note or "")

        reached(waiting, seconds=90, what=desk.said)
        with pytest.raises(Unavailable):
            Models(registry=SageMaker(region=REGION, attempts=1), group="g").candidates()
    desk.kill()
    desk.work()
    assert desk.until(experiment_id, ExperimentState.CANDIDATE).model_version == "v1"
