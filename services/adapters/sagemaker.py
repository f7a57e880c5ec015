"""SageMaker's control plane, as the desk uses it: jobs, registry, models, endpoint configurations, endpoints.

Every `create` raises Conflict when the name is taken; whether that is our own earlier attempt is the caller's to judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from services.adapters import aws
from services.deployment import EndpointDescription
from services.errors import NotFound
from services.models import Package
from services.training_jobs import TrainingJob, TrainingJobSpec, Transition

DEPENDENCY = "SageMaker"
VARIANT = "primary"


class SageMaker:
    """`SageMaker(region=settings.region)` for workers; pages pass read_seconds=2.5, attempts=1 to answer in time."""

    def __init__(
        self,
        *,
        region: str,
        connect_seconds: float = aws.CONNECT_SECONDS,
        read_seconds: float = aws.READ_SECONDS,
        attempts: int = aws.ATTEMPTS,
    ) -> None:
        self._client = aws.client(
            "sagemaker", region=region, connect_seconds=connect_seconds, read_seconds=read_seconds, attempts=attempts
        )
        # A package never changes but for its approval, which the list tells; so each is described once.
        self._described: dict[str, Package] = {}
        self._lock = Lock()

    # Training jobs

    def create_training_job(self, spec: TrainingJobSpec) -> None:
        """Conflict when the name is taken."""
        channels = [
            {
                "ChannelName": name,
                "ContentType": "application/x-parquet",
                "InputMode": "File",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name, uri in spec.channels.items()
        ]
        with _translated():
            self._client.create_training_job(
                TrainingJobName=spec.name,
                HyperParameters=dict(spec.hyperparameters),
                AlgorithmSpecification={
                    "TrainingImage": spec.image,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": k, "Regex": v} for k, v in spec.metric_definitions.items()],
                },
                RoleArn=spec.role_arn,
                InputDataConfig=channels,
                OutputDataConfig={"S3OutputPath": spec.output_uri},
                ResourceConfig={
                    "InstanceType": spec.instance_type,
                    "InstanceCount": 1,
                    "VolumeSizeInGB": spec.volume_gb,
                },
                StoppingCondition={"MaxRuntimeInSeconds": spec.max_runtime_seconds},
                Tags=[{"Key": k, "Value": v} for k, v in spec.tags.items()],
            )

    def describe_training_job(self, name: str) -> TrainingJob:
        with _translated():
            held = self._client.describe_training_job(TrainingJobName=name)
        return TrainingJob(
            name=held["TrainingJobName"],
            status=held["TrainingJobStatus"],
            secondary_status=held["SecondaryStatus"],
            transitions=tuple(
                Transition(_utc(t["StartTime"]), t["Status"], t.get("StatusMessage") or "")
                for t in held.get("SecondaryStatusTransitions") or ()
            ),
            metrics={m["MetricName"]: float(m["Value"]) for m in held.get("FinalMetricDataList") or ()},
            hyperparameters=held.get("HyperParameters") or {},
            artifact_uri=(held.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or None,
            failure=held.get("FailureReason") or None,
        )

    def stop_training_job(self, name: str) -> None:
        """A job that has ended already is left as it is."""
        with _translated():
            self._client.stop_training_job(TrainingJobName=name)

    # Registry

    def create_package_group(self, group: str) -> None:
        with _translated():
            self._client.create_model_package_group(
                ModelPackageGroupName=group, ModelPackageGroupDescription="Fraud Desk: scoring models"
            )

    def packages(self, group: str, *, limit: int) -> tuple[Package, ...]:
        """The newest `limit` packages of the group, newest first."""
        summaries: list[dict[str, Any]] = []
        request: dict[str, Any] = {"ModelPackageGroupName": group, "SortBy": "CreationTime", "SortOrder": "Descending"}
        with _translated():
            while len(summaries) < limit:
                page = self._client.list_model_packages(**request, MaxResults=min(limit - len(summaries), 100))
                summaries += page["ModelPackageSummaryList"]
                if not page.get("NextToken"):
                    break
                request["NextToken"] = page["NextToken"]
        found = [self._package(s["ModelPackageArn"], s.get("ModelApprovalStatus", "")) for s in summaries[:limit]]
        return tuple(sorted(found, key=lambda package: package.version, reverse=True))

    def _package(self, arn: str, approval_status: str) -> Package:
        with self._lock:
            known = self._described.get(arn)
        if known is not None and known.approval_status == approval_status:
            return known
        with _translated():
            held = self._client.describe_model_package(ModelPackageName=arn)
        container = (held.get("InferenceSpecification") or {}).get("Containers", [{}])[0]
        package = Package(
            arn=held["ModelPackageArn"],
            version=int(held["ModelPackageVersion"]),
            created_at=_utc(held["CreationTime"]),
            approval_status=held.get("ModelApprovalStatus", ""),
            artifact_uri=container.get("ModelDataUrl", ""),
            image=container.get("Image", ""),
            properties=dict(held.get("CustomerMetadataProperties") or {}),
        )
        with self._lock:
            self._described[arn] = package
        return package

    def create_package(
        self,
        group: str,
        *,
        token: str,
        description: str,
        image: str,
        artifact_uri: str,
        instance_type: str,
        properties: Mapping[str, str],
    ) -> str:
        """Register a version awaiting approval; returns its ARN. The same token again is the same package."""
        with _translated():
            answer = self._client.create_model_package(
                ModelPackageGroupName=group,
                ModelPackageDescription=description[:1024],
                InferenceSpecification={
                    "Containers": [{"Image": image, "ModelDataUrl": artifact_uri}],
                    "SupportedContentTypes": ["application/json", "text/csv"],
                    "SupportedResponseMIMETypes": ["application/json"],
                    "SupportedRealtimeInferenceInstanceTypes": [instance_type],
                },
                ModelApprovalStatus="PendingManualApproval",
                CustomerMetadataProperties=dict(properties),
                ClientToken=token,
            )
        return str(answer["ModelPackageArn"])

    def approve_package(self, arn: str, *, description: str) -> None:
        with _translated():
            self._client.update_model_package(
                ModelPackageArn=arn,
                ModelApprovalStatus="Approved",
                ApprovalDescription=" ".join(description.split())[:1024],
            )

    # Models and endpoints

    def create_model(
        self, name: str, *, image: str, artifact_uri: str, environment: Mapping[str, str], role_arn: str
    ) -> None:
        with _translated():
            self._client.create_model(
                ModelName=name,
                PrimaryContainer={"Image": image, "ModelDataUrl": artifact_uri, "Environment": dict(environment)},
                ExecutionRoleArn=role_arn,
            )

    def model_artifact(self, name: str) -> str:
        """The artifact URI of a model."""
        with _translated():
            held = self._client.describe_model(ModelName=name)
        return str((held.get("PrimaryContainer") or {}).get("ModelDataUrl", ""))

    def create_endpoint_config(self, name: str, *, model_name: str, instance_type: str) -> None:
        variant = {
            "VariantName": VARIANT,
            "ModelName": model_name,
            "InstanceType": instance_type,
            "InitialInstanceCount": 1,
            "InitialVariantWeight": 1.0,
        }
        with _translated():
            self._client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def endpoint_config_model(self, name: str) -> str:
        """The model of the configuration's first variant."""
        with _translated():
            held = self._client.describe_endpoint_config(EndpointConfigName=name)
        return str(held["ProductionVariants"][0].get("ModelName", ""))

    def create_endpoint(self, name: str, *, config_name: str) -> None:
        with _translated():
            self._client.create_endpoint(EndpointName=name, EndpointConfigName=config_name)

    def update_endpoint(self, name: str, *, config_name: str) -> None:
        """Blue/green, all traffic at once; the old fleet stays until the new one answers its health check."""
        policy = {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 0,
            "MaximumExecutionTimeoutInSeconds": 1800,
        }
        with _translated():
            self._client.update_endpoint(
                EndpointName=name,
                EndpointConfigName=config_name,
                DeploymentConfig={"BlueGreenUpdatePolicy": policy},
            )

    def delete_endpoint(self, name: str) -> None:
        with _translated():
            self._client.delete_endpoint(EndpointName=name)

    def describe_endpoint(self, name: str) -> EndpointDescription:
        with _translated():
            held = self._client.describe_endpoint(EndpointName=name)
        if not held.get("EndpointConfigName"):
            raise NotFound(f"The endpoint {name} has no configuration.")
        return EndpointDescription(
            name=held["EndpointName"],
            status=held["EndpointStatus"],
            config_name=held["EndpointConfigName"],
            changed_at=_utc(held["LastModifiedTime"]),
            pending_config=(held.get("PendingDeploymentSummary") or {}).get("EndpointConfigName"),
            failure=held.get("FailureReason") or None,
        )


@contextmanager
def _translated() -> Iterator[None]:
    with aws.translated(DEPENDENCY):
        yield


def _utc(at: datetime) -> datetime:
    """UTC at MongoDB's resolution, so that what was stored compares equal to what is described again."""
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
