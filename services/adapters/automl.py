"""SageMaker Autopilot (AutoML jobs, version 2). Satisfies `workers.lifecycle_ports.Searches`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.adapters import aws
from services.training_jobs import Search, SearchCandidate, SearchSpec

_DEPENDENCY = "SageMaker"
_PARQUET = "x-application/vnd.amazon+parquet"
_OURS = {"AUC": "auc", "F1": "f1", "Precision": "precision_at_review", "Recall": "recall_at_review"}
_KINDS = {"train": "training", "validation": "validation"}
_MOST = 1_000


class Autopilot:
    """`Autopilot(region=settings.region)`."""

    def __init__(self, *, region: str, client: Any = None) -> None:
        self._client = client or aws.client("sagemaker", region=region)

    def create_search(self, spec: SearchSpec) -> None:
        """Conflict when the name is taken."""
        criteria: dict[str, int] = {
            "MaxCandidates": spec.max_candidates,
            "MaxAutoMLJobRuntimeInSeconds": spec.max_runtime_seconds,
        }
        if spec.max_candidate_runtime_seconds is not None:
            criteria["MaxRuntimePerTrainingJobInSeconds"] = spec.max_candidate_runtime_seconds
        tabular = {
            "TargetAttributeName": spec.target,
            "FeatureSpecificationS3Uri": spec.features_uri,
            "Mode": spec.mode,
            "ProblemType": "BinaryClassification",
            "CompletionCriteria": criteria,
        }
        with aws.translated(_DEPENDENCY):
            self._client.create_auto_ml_job_v2(
                AutoMLJobName=spec.name,
                AutoMLJobInputDataConfig=[_channel(_KINDS[name], uri) for name, uri in spec.channels.items()],
                OutputDataConfig={"S3OutputPath": spec.output_uri},
                AutoMLProblemTypeConfig={"TabularJobConfig": tabular},
                AutoMLJobObjective={"MetricName": spec.objective},
                RoleArn=spec.role_arn,
                Tags=[{"Key": key, "Value": value} for key, value in spec.tags.items()],
            )

    def describe_search(self, name: str) -> Search:
        """NotFound."""
        with aws.translated(_DEPENDENCY):
            held = self._client.describe_auto_ml_job_v2(AutoMLJobName=name)
        tabular = (held.get("AutoMLProblemTypeConfig") or {}).get("TabularJobConfig") or {}
        return Search(
            name=held["AutoMLJobName"],
            status=held["AutoMLJobStatus"],
            secondary_status=held["AutoMLJobSecondaryStatus"],
            failure=held.get("FailureReason") or None,
            best=(held.get("BestCandidate") or {}).get("CandidateName"),
            features_uri=tabular.get("FeatureSpecificationS3Uri"),
        )

    def search_candidates(self, name: str) -> tuple[SearchCandidate, ...]:
        """All candidates, the first created first."""
        found: list[Mapping[str, Any]] = []
        request: dict[str, Any] = {"AutoMLJobName": name, "SortBy": "CreationTime", "SortOrder": "Ascending"}
        with aws.translated(_DEPENDENCY):
            while len(found) < _MOST:
                page = self._client.list_candidates_for_auto_ml_job(**request, MaxResults=100)
                found += page["Candidates"]
                if not page.get("NextToken"):
                    break
                request["NextToken"] = page["NextToken"]
        return tuple(_candidate(held) for held in found)

    def stop_search(self, name: str) -> None:
        with aws.translated(_DEPENDENCY):
            self._client.stop_auto_ml_job(AutoMLJobName=name)


def _channel(kind: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    return {"ChannelType": kind, "ContentType": _PARQUET, "DataSource": {"S3DataSource": source}}


def _candidate(held: Mapping[str, Any]) -> SearchCandidate:
    measured = (held.get("CandidateProperties") or {}).get("CandidateMetrics") or ()
    containers: list[Mapping[str, Any]] = held.get("InferenceContainers") or [{}]
    return SearchCandidate(
        name=held["CandidateName"],
        status=held["CandidateStatus"],
        metrics={_OURS[m["MetricName"]]: float(m["Value"]) for m in measured if m.get("MetricName") in _OURS},
        artifact_uri=containers[0].get("ModelDataUrl"),
        failure=held.get("FailureReason") or None,
    )
