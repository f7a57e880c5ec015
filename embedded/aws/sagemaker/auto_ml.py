"""CreateAutoMLJobV2, DescribeAutoMLJobV2, ListAutoMLJobs, StopAutoMLJob, ListCandidatesForAutoMLJob: tabular jobs."""

from __future__ import annotations

from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError, validation
from embedded.aws.paging import select
from embedded.aws.registry import operation
from embedded.aws.sagemaker import auto_ml_plan as plan
from embedded.aws.sagemaker.job_state import FINAL
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]
_SUFFIX = 8


def _existing(cloud: Cloud, name: str) -> Record:
    record = cloud.store["auto_ml_jobs"].get(name)
    if record is None:
        raise AwsError("ResourceNotFound", f"The AutoML job {name} does not exist.")
    return record


def _check(params: Params) -> None:
    """The rules the service model does not state, and what is not offered here."""
    tabular = params["AutoMLProblemTypeConfig"].get("TabularJobConfig")
    if tabular is None:
        raise validation("The embedded server runs tabular jobs only: give TabularJobConfig.")
    if ("ProblemType" in tabular) != ("AutoMLJobObjective" in params):
        raise validation("ProblemType and AutoMLJobObjective must be given together, or neither.")
    if tabular.get("ProblemType", "BinaryClassification") != "BinaryClassification":
        raise validation(f"The embedded server offers BinaryClassification, not {tabular['ProblemType']}.")
    for member in ("SampleWeightAttributeName", "CandidateGenerationConfig", "GenerateCandidateDefinitionsOnly"):
        if tabular.get(member):
            raise validation(f"{member} is not offered by the embedded server.")
    plan.objective_of(params)
    most = tabular.get("CompletionCriteria", {}).get("MaxCandidates", plan.DEFAULT_CANDIDATES)
    if most > plan.MOST_CANDIDATES:
        raise validation(f"The embedded server tries at most {plan.MOST_CANDIDATES} candidates.")
    _check_channels(params)
    deploy = params.get("ModelDeployConfig", {})
    if deploy and deploy.get("AutoGenerateEndpointName", False) == ("EndpointName" in deploy):
        raise validation("ModelDeployConfig takes either EndpointName or AutoGenerateEndpointName: true.")


def _check_channels(params: Params) -> None:
    kinds = [channel.get("ChannelType", "training") for channel in params["AutoMLJobInputDataConfig"]]
    if kinds.count("training") != 1 or kinds.count("validation") > 1:
        raise validation("Give one training channel and at most one validation channel.")
    if "validation" in kinds and "DataSplitConfig" in params:
        raise validation("Give a validation channel or DataSplitConfig, not both.")
    for channel in params["AutoMLJobInputDataConfig"]:
        source = channel.get("DataSource", {}).get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            raise validation("The embedded server reads S3 data sources of type S3Prefix only.")
        if channel.get("CompressionType", "None") != "None":
            raise validation("The embedded server reads uncompressed CSV and Parquet.")
        kind = channel.get("ContentType", "text/csv;header=present").replace(" ", "")
        if kind not in ("text/csv;header=present", "x-application/vnd.amazon+parquet"):
            raise validation(f"Unsupported content type {kind}: text/csv;header=present or Parquet.")


@operation("sagemaker", "CreateAutoMLJobV2")
async def create_auto_ml_job_v2(cloud: Cloud, params: Params) -> Params:
    _check(params)
    name = params["AutoMLJobName"]
    arn = cloud.config.sagemaker_arn("automl-job", name)
    at = now()
    record: Record = {
        **params,
        "AutoMLJobArn": arn,
        "AutoMLProblemTypeConfigName": "Tabular",
        "AutoMLJobObjective": {"MetricName": plan.objective_of(params)},
        "AutoMLJobStatus": "InProgress",
        "AutoMLJobSecondaryStatus": "Starting",
        "CreationTime": at,
        "LastModifiedTime": at,
    }
    if params.get("ModelDeployConfig", {}).get("AutoGenerateEndpointName"):
        record["endpoint_name"] = f"{name}-{format(int(at.timestamp()), 'x')[-_SUFFIX:]}"
    else:
        record["endpoint_name"] = params.get("ModelDeployConfig", {}).get("EndpointName")
    try:
        await cloud.store["auto_ml_jobs"].create(name, record)
    except AlreadyExists:
        raise AwsError("ResourceInUse", f"An AutoML job named {name} exists already ({arn}).") from None
    cloud.searches.start(cloud, name)
    return {"AutoMLJobArn": arn}


@operation("sagemaker", "DescribeAutoMLJobV2")
async def describe_auto_ml_job_v2(cloud: Cloud, params: Params) -> Params:
    record = _existing(cloud, params["AutoMLJobName"])
    tabular = record["AutoMLProblemTypeConfig"]["TabularJobConfig"]
    resolved = {
        "AutoMLJobObjective": record["AutoMLJobObjective"],
        "CompletionCriteria": tabular.get("CompletionCriteria", {}),
        "AutoMLProblemTypeResolvedAttributes": {
            "TabularResolvedAttributes": {"ProblemType": "BinaryClassification"},
        },
    }
    return {**record, "ResolvedAttributes": resolved}


@operation("sagemaker", "ListAutoMLJobs")
async def list_auto_ml_jobs(cloud: Cloud, params: Params) -> Params:
    status = params.get("StatusEquals")
    page, token = select(
        cloud.store["auto_ml_jobs"],
        params,
        name="AutoMLJobName",
        sort_fields={"Name": "AutoMLJobName", "Status": "AutoMLJobStatus"},
        descending=True,
        keep=lambda record: status is None or record["AutoMLJobStatus"] == status,
    )
    return {"AutoMLJobSummaries": page, "NextToken": token}


@operation("sagemaker", "StopAutoMLJob")
async def stop_auto_ml_job(cloud: Cloud, params: Params) -> Params:
    """Stopping twice is no error; stopping what has ended is one."""
    name = params["AutoMLJobName"]
    _existing(cloud, name)

    def stopping(record: Record) -> Record:
        if record["AutoMLJobStatus"] in FINAL:
            raise validation(
                f"The request was rejected because the AutoML job is in status {record['AutoMLJobStatus']}."
            )
        return {"AutoMLJobStatus": "Stopping", "AutoMLJobSecondaryStatus": "Stopping", "LastModifiedTime": now()}

    await cloud.store["auto_ml_jobs"].update(name, stopping)
    return {}


@operation("sagemaker", "ListCandidatesForAutoMLJob")
async def list_candidates_for_auto_ml_job(cloud: Cloud, params: Params) -> Params:
    record = _existing(cloud, params["AutoMLJobName"])
    objective = record["AutoMLJobObjective"]["MetricName"]
    found = [plan.candidate_of(job, objective) for job in cloud.searches.jobs_of(cloud, params["AutoMLJobName"])]
    status, wanted = params.get("StatusEquals"), params.get("CandidateNameEquals")
    page, token = select(
        [{**c, "value": plan.value_of(c) if plan.value_of(c) >= 0 else -1.0} for c in found],
        params,
        name="CandidateName",
        sort_fields={"Status": "CandidateStatus", "FinalObjectiveMetricValue": "value"},
        descending=True,
        keep=lambda c: status in (None, c["CandidateStatus"]) and wanted in (None, c["CandidateName"]),
    )
    return {"Candidates": page, "NextToken": token}
