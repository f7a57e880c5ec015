"""CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob."""

from __future__ import annotations

import re
from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError, validation
from embedded.aws.paging import select
from embedded.aws.registry import operation
from embedded.aws.sagemaker.job_state import FINAL, enter
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]


def _existing(cloud: Cloud, name: str) -> Record:
    record = cloud.store["training_jobs"].get(name)
    if record is None:
        raise validation("Requested resource not found.")
    return record


def _check(params: Params) -> None:
    """The rules the service model does not state."""
    for member in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if member not in params:
            raise validation(f"{member} is required for a training job in script mode.")
    for definition in params["AlgorithmSpecification"].get("MetricDefinitions", ()):
        try:
            re.compile(definition["Regex"])
        except re.error as exc:
            raise validation(f"Invalid Regex '{definition['Regex']}' for metric {definition['Name']}: {exc}") from None
    seen: set[str] = set()
    for channel in params.get("InputDataConfig", ()):
        name = channel["ChannelName"]
        if name in seen:
            raise validation(f"Channel names must be unique. {name} is given twice.")
        seen.add(name)
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            raise validation(f"Channel {name}: the embedded server reads S3 data sources of type S3Prefix only.")


@operation("sagemaker", "CreateTrainingJob")
async def create_training_job(cloud: Cloud, params: Params) -> Params:
    _check(params)
    name = params["TrainingJobName"]
    arn = cloud.config.sagemaker_arn("training-job", name)
    at = now()
    artifact = f"{params['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/output/model.tar.gz"
    record: Record = {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **params,
        "TrainingJobArn": arn,
        "CreationTime": at,
        "ModelArtifacts": {"S3ModelArtifacts": artifact},
        "ProfilingStatus": "Disabled",
    }
    record |= enter(record, "Starting", at)
    try:
        await cloud.store["training_jobs"].create(name, record)
    except AlreadyExists:
        message = (
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({arn})"
        )
        raise AwsError("ResourceInUse", message) from None
    cloud.jobs.start(name)
    return {"TrainingJobArn": arn}


@operation("sagemaker", "DescribeTrainingJob")
async def describe_training_job(cloud: Cloud, params: Params) -> Params:
    return _existing(cloud, params["TrainingJobName"])


@operation("sagemaker", "ListTrainingJobs")
async def list_training_jobs(cloud: Cloud, params: Params) -> Params:
    status = params.get("StatusEquals")
    page, token = select(
        cloud.store["training_jobs"],
        params,
        name="TrainingJobName",
        sort_fields={"Name": "TrainingJobName", "Status": "TrainingJobStatus"},
        descending=True,
        keep=lambda record: status is None or record["TrainingJobStatus"] == status,
    )
    return {"TrainingJobSummaries": page, "NextToken": token}


@operation("sagemaker", "StopTrainingJob")
async def stop_training_job(cloud: Cloud, params: Params) -> Params:
    """Stopping twice is no error; stopping what has ended is one, as in the service."""
    name = params["TrainingJobName"]
    _existing(cloud, name)

    def stopping(record: Record) -> Record:
        status = record["TrainingJobStatus"]
        if status in FINAL:
            raise validation(f"The request was rejected because the training job is in status {status}.")
        return {} if status == "Stopping" else enter(record, "Stopping", now())

    await cloud.store["training_jobs"].update(name, stopping)
    cloud.jobs.stop(name)
    return {}
