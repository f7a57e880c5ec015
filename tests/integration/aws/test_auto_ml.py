"""Autopilot over boto3: families trained for real within the limits, blended, deployed; stopped, failed, killed."""

from __future__ import annotations

import io
import json
import math
import random
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.aws.servers import ROLE, Aws, error_of, wait_until

pytestmark = pytest.mark.timeout(120)


def table(rows: int = 1500, seed: int = 5) -> pa.Table:
    """A tenth fraud: likely where a is high and b low; c is noise."""
    rng = random.Random(seed)
    a, b, c = ([rng.gauss(0, 1) for _ in range(rows)] for _ in range(3))
    label = [int(rng.random() < 1 / (1 + math.exp(-(2.5 * x - 2 * y - 3.2)))) for x, y in zip(a, b, strict=True)]
    return pa.table({"is_fraud": label, "a": a, "b": b, "c": c, "id": [f"t{n}" for n in range(rows)]})


def begin(aws: Aws, data: pa.Table, *, limits: dict[str, int], csv: bool = False, **changes: Any) -> str:
    """A search over `data`; `mode`, `features` and `deploy` among the changes. Its name."""
    bucket, name = f"auto-{uuid.uuid4().hex[:10]}", f"search-{uuid.uuid4().hex[:8]}"
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    if csv:
        lines = [",".join(data.column_names), *(",".join(map(str, r.values())) for r in data.to_pylist())]
        body, kind = "\n".join(lines).encode(), "text/csv;header=present"
    else:
        buffer = io.BytesIO()
        pq.write_table(data, buffer)
        body, kind = buffer.getvalue(), "x-application/vnd.amazon+parquet"
    s3.put_object(Bucket=bucket, Key="data/part-0", Body=body)
    names = changes.get("features", ["a", "b", "c"])
    s3.put_object(Bucket=bucket, Key="features.json", Body=json.dumps({"FeatureAttributeNames": names}).encode())
    aws.sagemaker.create_auto_ml_job_v2(
        AutoMLJobName=name,
        RoleArn=ROLE,
        AutoMLJobInputDataConfig=[
            {
                "ChannelType": "training",
                "ContentType": kind,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
        AutoMLProblemTypeConfig={
            "TabularJobConfig": {
                "TargetAttributeName": "is_fraud",
                "FeatureSpecificationS3Uri": f"s3://{bucket}/features.json",
                "Mode": changes.get("mode", "ENSEMBLING"),
                "ProblemType": "BinaryClassification",
                "CompletionCriteria": limits,
            }
        },
        AutoMLJobObjective={"MetricName": "AUC"},
        DataSplitConfig={"ValidationFraction": 0.4},
        **({"ModelDeployConfig": changes["deploy"]} if "deploy" in changes else {}),
    )
    return name


def describe(aws: Aws, name: str) -> dict[str, Any]:
    found: dict[str, Any] = aws.sagemaker.describe_auto_ml_job_v2(AutoMLJobName=name)
    return found


def ended(aws: Aws, name: str, seconds: float = 90.0) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        job = describe(aws, name)
        return job if job["AutoMLJobStatus"] not in ("InProgress", "Stopping") else None

    found: dict[str, Any] = wait_until(over, seconds=seconds, what=f"the end of {name}")
    return found


def candidates(aws: Aws, name: str, **wanted: Any) -> list[dict[str, Any]]:
    """All of them: a page holds ten unless more are asked for."""
    pages = aws.sagemaker.get_paginator("list_candidates_for_auto_ml_job").paginate(AutoMLJobName=name, **wanted)
    return [candidate for page in pages for candidate in page["Candidates"]]


def value(candidate: dict[str, Any]) -> float:
    return float(candidate["FinalAutoMLJobObjectiveMetric"]["Value"])


def test_families_are_trained_blended_ranked_and_the_best_is_deployed(aws: Aws) -> None:
    name = begin(aws, table(800), limits={"MaxCandidates": 4}, csv=True, deploy={"EndpointName": "searched"})
    job = ended(aws, name)
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    assert job["ModelDeployResult"] == {"EndpointName": "searched"}
    ranked = candidates(aws, name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    assert candidates(aws, name, SortBy="CreationTime")[0]["CandidateName"] == f"{name}-blend", ranked
    assert len(ranked) == 4
    assert {c["CandidateStatus"] for c in ranked} == {"Completed"}, ranked
    values = [c["FinalAutoMLJobObjectiveMetric"]["Value"] for c in ranked]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert job["BestCandidate"]["FinalAutoMLJobObjectiveMetric"]["Value"] == values[0]
    body = json.dumps({"instances": [[3.0, -2.0, 0.0], [-3.0, 2.0, 0.0]]}).encode()
    answer = json.loads(aws.invoke("searched", body, ContentType="application/json")["Body"])
    assert answer["scores"][0] > 0.5 > answer["scores"][1]
    aws.sagemaker.delete_endpoint(EndpointName="searched")
    tried = aws.sagemaker.describe_training_job(TrainingJobName=ranked[0]["CandidateName"])
    assert tried["AutoMLJobArn"] == job["AutoMLJobArn"]
    listed = aws.sagemaker.list_auto_ml_jobs(NameContains=name, StatusEquals="Completed")["AutoMLJobSummaries"]
    assert [item["AutoMLJobName"] for item in listed] == [name]


def test_what_cannot_be_learned_is_a_sentence_before_any_candidate(aws: Aws) -> None:
    data = table(60)
    one = data.set_column(0, "is_fraud", pa.array([0] * 60))
    same = begin(aws, one, limits={"MaxCandidates": 2})
    text = begin(aws, data, limits={"MaxCandidates": 2}, features=["a", "id"])
    absent = begin(aws, data, limits={"MaxCandidates": 2}, features=["a", "nothing"])
    reasons = [ended(aws, name)["FailureReason"] for name in (same, text, absent)]
    assert "hold 1 of the two values of 'is_fraud'" in reasons[0]
    assert "The column 'id' is string" in reasons[1]
    assert "no column 'nothing'" in reasons[2]
    assert candidates(aws, same) == []


def test_requests_that_contradict_themselves_are_refused(aws: Aws) -> None:
    data = table(60)
    code, status, message = error_of(
        lambda: begin(aws, data, limits={}, deploy={"EndpointName": "e", "AutoGenerateEndpointName": True})
    )
    assert (code, status) == ("ValidationException", 400)
    assert "either EndpointName" in message
    assert "at most 50" in error_of(lambda: begin(aws, data, limits={"MaxCandidates": 51}))[2]
    assert error_of(lambda: describe(aws, "nobody"))[0] == "ResourceNotFound"


def test_stopping_ends_the_candidates_and_keeps_the_best_so_far(aws: Aws) -> None:
    stopped = begin(aws, table(300), limits={"MaxCandidates": 50}, mode="HYPERPARAMETER_TUNING")
    wait_until(lambda: candidates(aws, stopped, StatusEquals="Completed"), seconds=30, what="a candidate")
    aws.sagemaker.stop_auto_ml_job(AutoMLJobName=stopped)
    job = ended(aws, stopped)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Stopped", "Stopped")
    tried = candidates(aws, stopped)
    assert {c["CandidateStatus"] for c in tried} <= {"Completed", "Stopped"}
    assert len(tried) < 50
    assert value(job["BestCandidate"]) == max(value(c) for c in tried if c["CandidateStatus"] == "Completed")
    assert error_of(lambda: aws.sagemaker.stop_auto_ml_job(AutoMLJobName=stopped))[0] == "ValidationException"


def test_a_search_ends_at_its_time_limit_with_the_best_so_far_and_a_candidate_at_its_own(aws: Aws) -> None:
    limits = {"MaxCandidates": 50, "MaxAutoMLJobRuntimeInSeconds": 10}
    within = begin(aws, table(300), limits=limits, mode="HYPERPARAMETER_TUNING")
    hasty = begin(aws, table(100_000), limits={"MaxCandidates": 1, "MaxRuntimePerTrainingJobInSeconds": 1})
    job = ended(aws, within)
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    assert job["AutoMLJobSecondaryStatus"] == "MaxAutoMLJobRuntimeReached"
    assert (job["EndTime"] - job["CreationTime"]).total_seconds() >= 10
    tried = candidates(aws, within)
    assert len(tried) < 50
    assert value(job["BestCandidate"]) == max(value(c) for c in tried if c["CandidateStatus"] == "Completed")
    late = ended(aws, hasty)
    assert (late["AutoMLJobStatus"], late["AutoMLJobSecondaryStatus"]) == ("Failed", "Failed")
    assert late["FailureReason"].startswith("Not trained within the 1 s that each candidate may take")
    assert [c["CandidateStatus"] for c in candidates(aws, hasty)] == ["Stopped"]


def test_a_killed_server_continues_the_search_with_the_same_candidates(own_aws: Aws) -> None:
    name = begin(own_aws, table(300), limits={"MaxCandidates": 3})
    wait_until(lambda: candidates(own_aws, name, StatusEquals="InProgress"), seconds=30, what="a candidate at work")
    own_aws.kill()
    own_aws.start()
    job = ended(own_aws, name)
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    tried = candidates(own_aws, name)
    assert sorted(c["CandidateName"].rpartition("-")[2] for c in tried) == ["blend", "c01", "c02"]
