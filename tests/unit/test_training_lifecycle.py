from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from services.deployment import DeploymentService
from services.errors import InvalidData, NotFound, Unavailable
from services.models import Models
from services.revisions import StaleRevision
from services.training import Experiment, ExperimentState
from tests.unit.lifecycle_fakes import NOW, Clock, FakeSageMaker, MemoryDeployments, MemoryExperiments
from workers.lifecycle_auto_deploy import Deployer
from workers.lifecycle_ports import Built, Compute, LakeSnapshots
from workers.lifecycle_training import LAKE_PATIENCE, ExperimentSteps

ID = "exp-20261122-1415-ab12"
JOB = f"fraud-desk-{ID}"
COMPUTE = Compute("bucket", "arn:aws:iam::123456789012:role/sm", "image:1", "ml.m5.xlarge", "ml.m5.large", "fraud-desk")
METADATA = {
    "features_version": "1",
    "suggested": {"review_threshold": 0.4, "decline_threshold": 0.8},
    "metrics": {"average_precision": 0.72, "auc": 0.9},
}
S = ExperimentState


class Lake:
    def __init__(self) -> None:
        self.behind_says: str | None = None
        self.newest = LakeSnapshots(77, 78)
        self.pins: list[LakeSnapshots] = []
        self.expired: set[LakeSnapshots] = set()

    def behind(self, at: datetime) -> str | None:
        return self.behind_says

    def snapshots(self) -> LakeSnapshots:
        return self.newest

    def pin(self, experiment_id: str, snapshots: LakeSnapshots) -> None:
        if snapshots in self.expired:
            raise NotFound("not kept any more")
        self.pins.append(snapshots)


class Builder:
    def __init__(self) -> None:
        self.built: Built | None = Built(1000, 30)
        self.cancelled: list[str] = []

    def poll(self, experiment: Experiment) -> Built | None:
        return self.built

    def cancel(self, experiment_id: str) -> None:
        self.cancelled.append(experiment_id)

    def source_uri(self, experiment_id: str) -> str:
        return f"s3://bucket/training/{experiment_id}/source/sourcedir.tar.gz"

    def features_uri(self, experiment_id: str) -> str:
        return f"s3://bucket/training/{experiment_id}/features.json"


class Artifacts:
    def metadata(self, uri: str) -> Mapping[str, Any]:
        return METADATA


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.store, self.lake, self.builder = MemoryExperiments(), Lake(), Builder()
        self.sagemaker = FakeSageMaker(self.clock)
        self.deployments = MemoryDeployments()
        service = DeploymentService(
            store=self.deployments,
            endpoints=self.sagemaker,
            models=Models(registry=self.sagemaker, group="fraud-desk"),
            endpoint_name="fraud-desk",
            clock=self.clock,
        )
        self.deployer = Deployer(service=service, store=self.deployments, desk="fraud-desk")
        experiment = Experiment(
            ID, "Weekly", S.REQUESTED, "Ada", NOW, NOW, NOW, NOW, "xgboost", {"max_depth": 6.0, "eta": 0.05}
        )
        self.store.held[ID] = experiment

    def worker(self, compute: Compute = COMPUTE) -> ExperimentSteps:
        """A worker that has just been started: it remembers nothing."""
        return ExperimentSteps(
            store=self.store,
            lake=self.lake,
            builder=self.builder,
            jobs=self.sagemaker,
            artifacts=Artifacts(),
            compute=compute,
            clock=self.clock,
            searches=self.sagemaker,
            deployments=self.deployer,
        )

    @property
    def now(self) -> Experiment:
        return self.store.held[ID]

    def step(self, times: int = 1) -> Experiment:
        for _ in range(times):
            self.clock.pass_(seconds=1)
            if not self.now.finished:
                self.worker().step(self.now)
        return self.now

    def until(self, state: ExperimentState) -> Experiment:
        for _ in range(20):
            if self.now.state is state:
                return self.now
            if self.now.state is S.TRAINING and JOB in self.sagemaker.jobs:
                self.sagemaker.finish_job(JOB)
            self.step()
        raise AssertionError(f"{self.now.state}: {self.now.failure or self.now.note}")


def test_a_request_becomes_a_candidate_with_its_metrics_and_one_audited_end() -> None:
    world = World()
    done = world.until(S.CANDIDATE)
    assert (done.model_version, done.rows, done.positives, done.snapshot_id) == ("v1", 1000, 30, 77)
    assert done.training_job == JOB
    assert done.metrics["average_precision"] == pytest.approx(0.72)
    assert done.finished_at is not None
    assert done.failure is None
    ours = [e.state for e in done.timeline if e.state.islower()]
    assert ours == ["preparing", "training", "registering", "candidate"]
    assert [(a.action, a.outcome) for a in world.store.audit] == [("training.end", "candidate")]
    held = world.sagemaker.groups["fraud-desk"][0].properties
    assert (held["review_threshold"], held["rows"], held["experiment_id"]) == ("0.4", "1000", ID)


def test_the_job_is_script_mode_on_the_experiments_files() -> None:
    world = World()
    world.until(S.TRAINING)
    world.step()
    spec = world.sagemaker.specs[JOB]
    assert spec.hyperparameters == {
        "max_depth": "6",
        "eta": "0.05",
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": f"s3://bucket/training/{ID}/source/sourcedir.tar.gz",
    }
    assert spec.channels == {
        "train": f"s3://bucket/training/{ID}/train/",
        "validation": f"s3://bucket/training/{ID}/validation/",
    }
    assert spec.output_uri == "s3://bucket/models/"


def test_young_rows_are_a_channel_of_the_job_where_there_are_any() -> None:
    world = World()
    world.builder.built = Built(1000, 30, young=7)
    world.until(S.TRAINING)
    world.step()
    assert world.now.young == 7
    assert world.sagemaker.specs[JOB].channels["young"] == f"s3://bucket/training/{ID}/young/"


def test_it_waits_for_the_lake_and_gives_up_with_a_sentence() -> None:
    world = World()
    world.lake.behind_says = "The lake is current to 14:02 UTC."
    assert world.step().note == "The lake is current to 14:02 UTC."
    revision = world.now.revision
    world.step(3)
    assert world.now.revision == revision, "waiting writes only when there is something new to say"
    world.clock.now += LAKE_PATIENCE
    assert world.step().state is S.FAILED
    assert "Gave up after 10 minutes" in (world.now.failure or "")
    assert world.lake.pins == []


def test_a_frozen_set_waits_for_no_lake_and_pins_nothing_anew() -> None:
    world = World()
    world.lake.behind_says = "The lake is 3 min behind."
    world.store.held[ID] = replace(world.store.held[ID], frozen="set-1", snapshot_id=5)
    world.worker().step(world.store.held[ID])
    made = world.store.held[ID]
    assert (made.state, made.snapshot_id, world.lake.pins) == (S.PREPARING, 5, [])
    assert made.timeline[-1].message == "Taking the rows of the frozen set set-1"


def test_the_snapshots_are_remembered_before_they_are_pinned() -> None:
    world = World()
    world.step()
    assert (world.now.snapshot_id, world.now.labels_snapshot_id, world.lake.pins) == (77, 78, [])
    world.lake.newest = LakeSnapshots(80, 81)
    assert world.step().state is S.PREPARING
    assert world.lake.pins == [LakeSnapshots(77, 78)]


def test_snapshots_that_expired_before_they_were_pinned_are_chosen_again() -> None:
    world = World()
    world.step()
    world.lake.expired.add(LakeSnapshots(77, 78))
    world.lake.newest = LakeSnapshots(80, 81)
    assert world.until(S.PREPARING).snapshot_id == 80
    assert world.lake.pins == [LakeSnapshots(80, 81)]


@pytest.mark.parametrize("built", [Built(1000, 0), Built(30, 30), Built(0, 0)])
def test_a_set_without_both_classes_is_not_trained_on(built: Built) -> None:
    world = World()
    world.builder.built = built
    assert world.until(S.FAILED).training_job is None
    assert world.sagemaker.jobs == {}


def test_while_the_set_is_being_built_nothing_else_happens() -> None:
    world = World()
    world.builder.built = None
    world.step(5)
    assert (world.now.state, world.now.note) == (S.PREPARING, "The training set is being built.")
    assert len(world.lake.pins) == 1


def test_a_lost_reply_to_create_leads_to_one_job() -> None:
    world = World()
    world.until(S.TRAINING)
    world.step()
    del world.sagemaker.calls[:]
    # The describe before the create does not see the job yet, as after a create whose reply was lost.
    jobs, world.sagemaker.jobs = world.sagemaker.jobs, {}

    class Lagging(FakeSageMaker):
        def create_training_job(self, spec: Any) -> None:
            self.jobs = jobs
            super().create_training_job(spec)

    world.sagemaker.__class__ = Lagging
    world.step()
    assert world.now.state is S.TRAINING
    assert list(world.sagemaker.jobs) == [JOB]


def test_a_foreign_job_of_our_name_ends_the_experiment() -> None:
    world = World()
    world.until(S.TRAINING)
    world.step()
    job = world.sagemaker.jobs[JOB]
    foreign = replace(job, hyperparameters={"sagemaker_submit_directory": "s3://other/code.tar.gz"})

    class Lagging(FakeSageMaker):
        def create_training_job(self, spec: Any) -> None:
            self.jobs = {JOB: foreign}
            super().create_training_job(spec)

    world.sagemaker.jobs = {}
    world.sagemaker.__class__ = Lagging
    assert world.step().state is S.FAILED


def test_a_lost_reply_to_registering_leads_to_one_package() -> None:
    world = World()
    world.until(S.REGISTERING)
    world.sagemaker.fail_next["create_package"] = Unavailable("SageMaker is not reachable.", dependency="SageMaker")
    with pytest.raises(Unavailable):
        world.step()
    assert world.now.state is S.REGISTERING
    assert world.until(S.CANDIDATE).model_version == "v1"
    assert len(world.sagemaker.groups["fraud-desk"]) == 1


@pytest.mark.parametrize(
    "call", ["create_training_job", "describe_training_job", "packages", "create_package_group", "create_package"]
)
def test_a_silent_sagemaker_loses_nothing(call: str) -> None:
    world = World()
    world.sagemaker.fail_next[call] = Unavailable("SageMaker is not reachable.", dependency="SageMaker")
    with pytest.raises(Unavailable):
        world.until(S.CANDIDATE)
    assert not world.now.finished
    assert world.until(S.CANDIDATE).model_version == "v1"
    assert len(world.sagemaker.jobs) == len(world.sagemaker.groups["fraud-desk"]) == 1


def test_a_failed_job_says_why() -> None:
    world = World()
    world.until(S.TRAINING)
    world.step()
    world.sagemaker.finish_job(JOB, "Failed", failure="AlgorithmError: only genuine transactions")
    assert world.step().failure == "The training job failed: AlgorithmError: only genuine transactions"


def test_the_jobs_own_steps_appear_in_the_timeline_once() -> None:
    world = World()
    world.until(S.TRAINING)
    world.step(4)
    assert [e.state for e in world.now.timeline] == ["preparing", "training", "Starting"]
    revision = world.now.revision
    world.step(3)
    assert world.now.revision == revision


@pytest.mark.parametrize("state", [S.REQUESTED, S.PREPARING])
def test_a_stop_before_training_ends_it_without_a_job(state: ExperimentState) -> None:
    world = World()
    world.builder.built = None
    world.until(state)
    world.store.save(replace(world.now, stop_requested_by="Bo"))
    assert world.step().state is S.STOPPED
    assert world.builder.cancelled == [ID]
    assert world.sagemaker.jobs == {}


def test_a_stop_during_training_stops_the_job_once() -> None:
    world = World()
    world.until(S.TRAINING)
    world.step()
    world.store.save(replace(world.now, stop_requested_by="Bo"))
    world.step(3)
    assert (world.now.state, world.sagemaker.calls.count("stop_training_job")) == (S.TRAINING, 1)
    world.sagemaker.finish_job(JOB, "Stopped")
    assert world.step().state is S.STOPPED
    assert world.now.timeline[-1].message == "Stopped by Bo"
    assert world.now.failure is None


def test_a_stop_that_meets_a_change_is_not_overwritten() -> None:
    world = World()
    stale = world.now
    world.store.save(replace(world.now, stop_requested_by="Bo"))
    with pytest.raises(StaleRevision):
        world.worker().step(stale)
    assert world.step().state is S.STOPPED


def test_without_an_image_or_role_it_says_what_to_set() -> None:
    world = World()
    ended = world.worker(replace(COMPUTE, image="", role_arn="")).step(world.now)
    assert ended.failure == "Set FRAUD_DESK_TRAINING_IMAGE and FRAUD_DESK_SAGEMAKER_ROLE to train models."


def test_a_refused_artifact_ends_it_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Artifacts, uri: str) -> Mapping[str, Any]:
        raise InvalidData("The model artifact has no metadata.json.")

    monkeypatch.setattr(Artifacts, "metadata", refuse)
    world = World()
    assert world.until(S.FAILED).failure == "The model artifact has no metadata.json."
    assert world.sagemaker.groups.get("fraud-desk", []) == []
