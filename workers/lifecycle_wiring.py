"""The lifecycle worker's parts, made for one installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from services.adapters.automl import Autopilot
from services.adapters.model_artifacts import ModelArtifacts
from services.adapters.mongo.client import connect
from services.adapters.mongo.deployments import MongoDeployments
from services.adapters.mongo.experiments import MongoExperiments
from services.adapters.mongo.recent_changes import MongoRecentChanges
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.s3 import ObjectStore
from services.adapters.sagemaker import SageMaker
from services.deployment import DeploymentService, DeploymentStore
from services.lake import Lake
from services.models import Models
from services.settings import Settings
from services.training import ExperimentStore
from services.worker_status import Reporter, utc_now
from workers.lifecycle_auto_deploy import Deployer
from workers.lifecycle_building import BUILD, Builders
from workers.lifecycle_deployment import DeploymentSteps
from workers.lifecycle_lake import CaughtUp, Tables
from workers.lifecycle_ports import Compute, Serving
from workers.lifecycle_training import ExperimentSteps

MONGODB_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    reporter: Reporter
    experiments: ExperimentStore
    deployments: DeploymentStore
    experiment_steps: ExperimentSteps
    deployment_steps: DeploymentSteps
    close: Callable[[], None]


def _lake(settings: Settings) -> Tables:
    from services.adapters.iceberg import IcebergLake

    return Lake(IcebergLake(settings, patient=True))


def wire(
    settings: Settings, *, lake: Callable[[], Tables] | None = None, build_command: tuple[str, ...] | None = None
) -> Parts:
    """Nothing is contacted here. `lake` and `build_command` replace the lake and the program that builds from it."""
    db = connect(settings, timeout_seconds=MONGODB_SECONDS, app="fraud-desk-lifecycle")
    sagemaker = SageMaker(region=settings.region)
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=10.0, attempts=3)
    builders = Builders(objects=objects, bucket=settings.bucket, command=build_command or BUILD)
    experiments, deployments = MongoExperiments(db), MongoDeployments(db)
    compute = Compute(
        bucket=settings.bucket,
        role_arn=settings.sagemaker_role_arn,
        image=settings.training_image,
        instance_type=settings.training_instance,
        serving_instance=settings.serving_instance,
        package_group=settings.model_package_group,
    )
    serving = Serving(
        endpoint_name=settings.endpoint_name,
        package_group=settings.model_package_group,
        role_arn=settings.sagemaker_role_arn,
        image=settings.training_image,
        instance_type=settings.serving_instance,
    )

    models = Models(registry=sagemaker, group=settings.model_package_group)
    deploying = DeploymentService(
        store=deployments, endpoints=sagemaker, models=models, endpoint_name=settings.endpoint_name
    )

    def close() -> None:
        builders.close()
        db.client.close()

    return Parts(
        # A short timeout of its own: a heartbeat that waits is no heartbeat.
        reporter=Reporter("lifecycle", MongoStatusStore(connect(settings, app="fraud-desk-lifecycle-pulse"))),
        experiments=experiments,
        deployments=deployments,
        experiment_steps=ExperimentSteps(
            store=experiments,
            lake=CaughtUp(recent=MongoRecentChanges(db), lake=lake or partial(_lake, settings)),
            builder=builders,
            jobs=sagemaker,
            artifacts=ModelArtifacts(region=settings.region),
            compute=compute,
            clock=utc_now,
            searches=Autopilot(region=settings.region),
            deployments=Deployer(service=deploying, store=deployments, desk=settings.endpoint_name),
        ),
        deployment_steps=DeploymentSteps(
            store=deployments,
            control=sagemaker,
            models=models,
            serving=serving,
            clock=utc_now,
        ),
        close=close,
    )
