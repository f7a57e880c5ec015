"""One experiment, one step at a time: wait for the lake, build the training set, train, register.

Every step is found done or done again under the same name: the snapshot is pinned before anything is built from it,
the manifest is the last file of a training set, the job is named after the experiment, and a package is recognised by
the experiment it carries. So a kill at any point leads to one job and one package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.access import system
from services.audit import AuditEntry
from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable
from services.models import Package, model_version, properties
from services.revisions import StaleRevision
from services.training import AUTOPILOT, Experiment, ExperimentState, ExperimentStore, TimelineEntry
from services.training_jobs import TrainingJob
from workers import lifecycle_search
from workers.lifecycle_jobs import job_name, job_spec
from workers.lifecycle_ports import Artifacts, AutoDeploy, Builder, Compute, Jobs, Lake, LakeSnapshots, Searches

ACTOR = system("lifecycle")
LAKE_PATIENCE = timedelta(minutes=10)
S = ExperimentState


class ExperimentSteps:
    def __init__(
        self,
        *,
        store: ExperimentStore,
        lake: Lake,
        builder: Builder,
        jobs: Jobs,
        artifacts: Artifacts,
        compute: Compute,
        clock: Callable[[], datetime],
        searches: Searches,
        deployments: AutoDeploy,
    ) -> None:
        self._store, self._lake, self._builder, self._jobs = store, lake, builder, jobs
        self._artifacts, self._compute, self._clock = artifacts, compute, clock
        self._searches, self._deployments = searches, deployments

    def step(self, experiment: Experiment) -> Experiment:
        """Do the next thing.

        Raises Unavailable and StaleRevision: call again later, nothing is lost. Every other refusal ends it as failed.
        """
        try:
            if experiment.stop_requested_by is not None and experiment.state is not S.TRAINING:
                self._builder.cancel(experiment.experiment_id)
                return self._end(experiment, S.STOPPED, f"Stopped by {experiment.stop_requested_by}")
            return _STEPS[experiment.state](self, experiment)
        except (Unavailable, StaleRevision):
            raise
        except ServiceError as error:
            return self.fail(experiment, error.message)

    def wait(self, experiment: Experiment, note: str) -> Experiment:
        """Say what it is waiting for; written only when that changed."""
        return experiment if experiment.note == note else self._store.save(replace(experiment, note=note))

    def fail(self, experiment: Experiment, reason: str) -> Experiment:
        return self._end(experiment, S.FAILED, reason)

    def _requested(self, experiment: Experiment) -> Experiment:
        needed = {
            "FRAUD_DESK_TRAINING_IMAGE": self._compute.image,
            "FRAUD_DESK_SAGEMAKER_ROLE": self._compute.role_arn,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            return self.fail(experiment, f"Set {' and '.join(missing)} to train models.")
        if experiment.frozen is not None:  # its snapshots are kept under its own name
            return self._move(experiment, S.PREPARING, f"Taking the rows of the frozen set {experiment.frozen}")
        if experiment.snapshot_id is not None and experiment.labels_snapshot_id is not None:
            return self._pin(experiment, LakeSnapshots(experiment.snapshot_id, experiment.labels_snapshot_id))
        behind = self._lake.behind(experiment.requested_at)
        if behind is not None:
            if self._clock() - experiment.requested_at > LAKE_PATIENCE:
                minutes = int(LAKE_PATIENCE.total_seconds() // 60)
                return self.fail(experiment, f"{behind} Gave up after {minutes} minutes; see Loop health.")
            return self.wait(experiment, behind)
        return self._choose_snapshots(experiment)

    def _choose_snapshots(self, experiment: Experiment) -> Experiment:
        """Remembered before they are pinned, so that after a crash the same ones are pinned again."""
        now = self._lake.snapshots()
        return self._store.save(
            replace(experiment, snapshot_id=now.transactions, labels_snapshot_id=now.labels, note=None)
        )

    def _pin(self, experiment: Experiment, chosen: LakeSnapshots) -> Experiment:
        try:
            self._lake.pin(experiment.experiment_id, chosen)
        except NotFound:  # this worker was away for longer than the lake keeps what nobody pinned
            return self._choose_snapshots(experiment)
        return self._move(experiment, S.PREPARING, f"Building the training set from snapshot {chosen.transactions}")

    def _preparing(self, experiment: Experiment) -> Experiment:
        built = self._builder.poll(experiment)
        if built is None:
            return self.wait(experiment, "The training set is being built.")
        if not 0 < built.positives < built.rows:
            return self.fail(
                experiment,
                f"The window has {built.rows:,} labelled transactions, {built.positives:,} of them fraud; "
                "training needs both fraud and genuine ones.",
            )
        ready = replace(
            experiment,
            rows=built.rows,
            positives=built.positives,
            young=built.young,
            training_job=None if experiment.method == AUTOPILOT else job_name(experiment.experiment_id),
        )
        return self._move(ready, S.TRAINING, f"Training on {built.rows:,} rows, {built.positives:,} of them fraud")

    def _training(self, experiment: Experiment) -> Experiment:
        if experiment.method == AUTOPILOT:
            return self._searching(experiment)
        name = job_name(experiment.experiment_id)
        try:
            job = self._jobs.describe_training_job(name)
        except NotFound:
            if experiment.stop_requested_by is not None:
                return self._end(experiment, S.STOPPED, f"Stopped by {experiment.stop_requested_by}")
            return self._create_job(experiment)
        experiment = self._follow(experiment, job)
        if job.status == "Completed":
            if job.artifact_uri is None:
                return self.fail(experiment, "The training job completed without leaving a model.")
            done = replace(experiment, artifact_uri=job.artifact_uri)
            return self._move(done, S.REGISTERING, "Registering the model")
        if job.status == "Failed":
            return self.fail(experiment, f"The training job failed: {job.failure or 'no reason given'}")
        if job.status == "Stopped":
            by = experiment.stop_requested_by
            return self._end(
                experiment, S.STOPPED, f"Stopped by {by}" if by else "The training job was stopped outside"
            )
        if experiment.stop_requested_by is not None and job.status != "Stopping":
            self._jobs.stop_training_job(name)
        return experiment

    def _searching(self, experiment: Experiment) -> Experiment:
        by, name = experiment.stop_requested_by, lifecycle_search.search_name(experiment.experiment_id)
        try:
            search = self._searches.describe_search(name)
        except NotFound:
            if by is not None:
                return self._end(experiment, S.STOPPED, f"Stopped by {by}")
            lifecycle_search.create(experiment, self._searches, self._builder, self._compute)
            return self.wait(experiment, "The search was created.")
        seen = lifecycle_search.followed(experiment, search, self._searches.search_candidates(name), now=self._clock())
        if seen is not experiment:
            experiment = self._store.save(seen)
        if search.status == "Completed":
            best = next((c for c in experiment.candidates if c.best and c.artifact_uri), None)
            if best is None:
                return self.fail(experiment, "Autopilot completed without a best candidate.")
            done = replace(lifecycle_search.measured(experiment, self._artifacts), artifact_uri=best.artifact_uri)
            return self._move(done, S.REGISTERING, f"Registering {best.name}, the best of {len(done.candidates)}")
        if search.status == "Failed":
            return self.fail(experiment, f"Autopilot failed: {search.failure or 'no reason given'}")
        if search.status == "Stopped":
            return self._end(experiment, S.STOPPED, f"Stopped by {by}" if by else "Autopilot was stopped outside")
        if by is not None and search.status != "Stopping":
            self._searches.stop_search(name)
        return experiment

    def _create_job(self, experiment: Experiment) -> Experiment:
        spec = job_spec(experiment, self._compute, self._builder.source_uri(experiment.experiment_id))
        try:
            self._jobs.create_training_job(spec)
        except Conflict:
            # The name is the experiment's own, so this is our request from before a crash or a lost reply.
            held = self._jobs.describe_training_job(spec.name).hyperparameters.get("sagemaker_submit_directory")
            if held not in (None, spec.hyperparameters["sagemaker_submit_directory"]):
                raise InvalidData(f"A training job named {spec.name} exists and is not this experiment's.") from None
        return self.wait(experiment, "The training job was created.")

    def _follow(self, experiment: Experiment, job: TrainingJob) -> Experiment:
        """Copy what the job says of itself; its transitions are merged with our own entries by time."""
        own = tuple(entry for entry in experiment.timeline if entry.state[:1].islower())
        theirs = tuple(TimelineEntry(t.at, t.status, t.message) for t in job.transitions)
        seen = replace(
            experiment,
            timeline=tuple(sorted((*own, *theirs), key=lambda entry: entry.at)),
            metrics=dict(experiment.metrics) | dict(job.metrics),
            note=f"The training job is {job.secondary_status}.",
        )
        same = replace(seen, revision=experiment.revision) == experiment
        return experiment if same else self._store.save(seen)

    def _registering(self, experiment: Experiment) -> Experiment:
        assert experiment.artifact_uri is not None
        package = self._registered(experiment)
        if package is None:
            self._register(experiment)
            package = self._registered(experiment)
            if package is None:
                raise Unavailable("SageMaker does not list the new model package yet.", dependency="SageMaker")
        model = model_version(package)
        done = replace(
            experiment,
            model_version=model.model_version,
            package_arn=package.arn,
            metrics=dict(experiment.metrics) | dict(model.metrics),
        )
        if done.auto_deploy and done.deployment_id is None:
            return self._deploy(done)
        return self._end(done, S.CANDIDATE, f"Registered as {model.model_version}")

    def _deploy(self, experiment: Experiment) -> Experiment:
        """Ask for the deployment, found or made, then end. While another is under way, wait."""
        version = experiment.model_version
        try:
            asked = self._deployments.ensure(experiment)
        except Conflict as error:
            return self.wait(experiment, f"Registered as {version}, not deployed yet: {error.message}")
        except InvalidData as error:
            return self._end(experiment, S.CANDIDATE, f"Registered as {version}, not deployed: {error.message}")
        done = replace(experiment, deployment_id=asked)
        return self._end(done, S.CANDIDATE, f"Registered as {version}; its deployment was requested")

    def _registered(self, experiment: Experiment) -> Package | None:
        try:
            packages = self._jobs.packages(self._compute.package_group, limit=100)
        except NotFound:
            return None
        ours = (p for p in packages if p.properties.get("experiment_id") == experiment.experiment_id)
        return min(ours, key=lambda package: package.version, default=None)

    def _register(self, experiment: Experiment) -> None:
        assert experiment.artifact_uri is not None
        metadata = self._artifacts.metadata(experiment.artifact_uri)
        try:
            self._jobs.create_package_group(self._compute.package_group)
        except Conflict:
            pass  # it exists, which is what was wanted
        held = properties(
            experiment_id=experiment.experiment_id,
            features_version=str(metadata["features_version"]),
            review_threshold=metadata["suggested"]["review_threshold"],
            decline_threshold=metadata["suggested"]["decline_threshold"],
            rows=experiment.rows or 0,
            positives=experiment.positives or 0,
            source_uri=self._builder.source_uri(experiment.experiment_id),
            metrics=metadata["metrics"],
        )
        self._jobs.create_package(
            self._compute.package_group,
            token=experiment.experiment_id,
            description=f"{experiment.name} ({experiment.experiment_id}), requested by {experiment.requested_by}",
            image=self._compute.image,
            artifact_uri=experiment.artifact_uri,
            instance_type=self._compute.serving_instance,
            properties=held,
        )

    def _move(self, experiment: Experiment, state: ExperimentState, message: str) -> Experiment:
        entry = TimelineEntry(self._clock(), state, message)
        moved = replace(experiment, state=state, timeline=(*experiment.timeline, entry), note=None)
        return self._store.save(moved)

    def _end(self, experiment: Experiment, state: ExperimentState, message: str) -> Experiment:
        now = self._clock()
        failure = message if state is S.FAILED else None
        audit = AuditEntry(
            entry_id=f"{experiment.experiment_id}:training.{state}",
            at=now,
            actor=ACTOR,
            action="training.end",
            object=experiment.experiment_id,
            before={"state": str(experiment.state)},
            after={"state": str(state), "model_version": experiment.model_version, "failure": failure},
            outcome=str(state),
        )
        ended = replace(
            experiment,
            state=state,
            finished_at=now,
            failure=failure,
            note=None,
            timeline=(*experiment.timeline, TimelineEntry(now, state, message)),
        )
        return self._store.save(ended, audit=audit)


_STEPS: dict[ExperimentState, Callable[[ExperimentSteps, Experiment], Experiment]] = {
    S.REQUESTED: ExperimentSteps._requested,
    S.PREPARING: ExperimentSteps._preparing,
    S.TRAINING: ExperimentSteps._training,
    S.REGISTERING: ExperimentSteps._registering,
}
