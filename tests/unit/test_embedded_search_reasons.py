"""DescribeAutoMLJobV2 says which candidates fell away, and why, although the search as a whole succeeded."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from embedded.aws.sagemaker import auto_ml_run
from embedded.aws.sagemaker.auto_ml_deploy import NotDeployed
from embedded.aws.sagemaker.auto_ml_run import Search

AT = datetime(2026, 11, 22, tzinfo=UTC)


class Table(dict[str, dict[str, Any]]):
    async def update_surely(self, name: str, change: Any) -> None:
        self[name].update(change(self[name]))


def job(name: str, status: str, secondary: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name, "TrainingJobArn": f"arn:{name}", "TrainingJobStatus": status,
        "SecondaryStatus": secondary, "AlgorithmSpecification": {"TrainingImage": "i"},
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://b/{name}"}, "CreationTime": AT, "LastModifiedTime": AT, **more,
    }  # fmt: skip


def chosen(endpoint: str | None) -> dict[str, Any]:
    """The search's record after it chose among one that succeeded, one too slow and one that failed."""
    jobs = [
        job("s-c01", "Completed", "Completed", FinalMetricDataList=[{"MetricName": "auc", "Value": 0.8}]),
        job("s-c02", "Stopped", "MaxRuntimeExceeded"),
        job("s-c03", "Failed", "Failed", FailureReason="AlgorithmError: out of memory"),
    ]
    record: dict[str, Any] = {
        "AutoMLJobStatus": "InProgress", "CreationTime": AT, "AutoMLJobObjective": {"MetricName": "AUC"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"}, "RoleArn": "r", "endpoint_name": endpoint,
        "AutoMLProblemTypeConfig": {
            "TabularJobConfig": {"CompletionCriteria": {"MaxRuntimePerTrainingJobInSeconds": 60}}
        },
    }  # fmt: skip
    tables = {"auto_ml_jobs": Table(s=record), "training_jobs": Table({j["TrainingJobName"]: j for j in jobs})}
    cloud: Any = SimpleNamespace(store=tables, searches=SimpleNamespace(jobs_of=lambda cloud, name: jobs))
    asyncio.run(Search(cloud, "s")._choose(8))
    return record


LATE = "s-c02: Not trained within the 60 s that each candidate may take; allow more time for each."
FAILED = "s-c03: AlgorithmError: out of memory"


def reasons(record: dict[str, Any]) -> list[str]:
    return [reason["PartialFailureMessage"] for reason in record["PartialFailureReasons"]]


def test_a_candidate_beyond_its_own_time_limit_is_a_partial_failure_of_a_search_that_succeeds() -> None:
    record = chosen(endpoint=None)
    assert (record["AutoMLJobStatus"], record["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    assert record["BestCandidate"]["CandidateName"] == "s-c01"
    assert reasons(record) == [LATE, FAILED]


def test_a_model_that_cannot_be_deployed_is_told_before_the_candidates_that_fell_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: Any) -> None:
        raise NotDeployed("The endpoint is being updated.")

    monkeypatch.setattr(auto_ml_run, "deploy", refuse)
    record = chosen(endpoint="other")
    assert (record["AutoMLJobStatus"], record["AutoMLJobSecondaryStatus"]) == ("Completed", "ModelDeploymentError")
    assert reasons(record) == ["The endpoint is being updated.", LATE, FAILED]
