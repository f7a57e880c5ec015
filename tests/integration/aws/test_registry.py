"""The model registry, tags, lists and what the server refuses before any handler sees it."""

from __future__ import annotations

import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.integration.aws.servers import IMAGE, ROLE, Aws, error_of
from tests.integration.aws.serving import Serving

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def group(aws: Aws) -> str:
    name = f"group-{uuid.uuid4().hex[:8]}"
    aws.sagemaker.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="fraud models")
    return name


def _package(aws: Aws, group: str, **kwargs: Any) -> str:
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    answer = aws.sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification, **kwargs
    )
    return str(answer["ModelPackageArn"])


def test_packages_are_numbered_and_approved(aws: Aws, group: str) -> None:
    first = _package(aws, group, CustomerMetadataProperties={"experiment": "e-1"})
    second = _package(aws, group)
    assert [first.rpartition("/")[2], second.rpartition("/")[2]] == ["1", "2"]
    described = aws.sagemaker.describe_model_package(ModelPackageName=first)
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelPackageVersion"] == 1
    aws.sagemaker.update_model_package(
        ModelPackageArn=first,
        ModelApprovalStatus="Approved",
        ApprovalDescription="looks right",
        CustomerMetadataProperties={"approver": "mara"},
        CustomerMetadataPropertiesToRemove=["experiment"],
    )
    described = aws.sagemaker.describe_model_package(ModelPackageName=first)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "looks right"
    assert described["CustomerMetadataProperties"] == {"approver": "mara"}
    listed = aws.sagemaker.list_model_packages(ModelPackageGroupName=group, SortBy="Name", SortOrder="Ascending")
    assert [p["ModelPackageVersion"] for p in listed["ModelPackageSummaryList"]] == [1, 2]
    approved = aws.sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert [p["ModelPackageArn"] for p in approved["ModelPackageSummaryList"]] == [first]
    assert aws.sagemaker.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupStatus"] == (
        "Completed"
    )


def test_same_client_token_makes_one_package(aws: Aws, group: str) -> None:
    token = uuid.uuid4().hex
    assert _package(aws, group, ClientToken=token) == _package(aws, group, ClientToken=token)


def test_groups_and_packages_that_are_not_there(aws: Aws, group: str) -> None:
    assert error_of(lambda: _package(aws, "nobody"))[0] == "ValidationException"
    assert error_of(lambda: aws.sagemaker.describe_model_package(ModelPackageName="nobody"))[0] == "ValidationException"
    again = error_of(lambda: aws.sagemaker.create_model_package_group(ModelPackageGroupName=group))
    assert again[0] == "ValidationException"
    assert "already exists" in again[2]


def test_tags_are_merged(aws: Aws, group: str) -> None:
    arn = aws.sagemaker.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]
    aws.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "fraud"}, {"Key": "stage", "Value": "a"}])
    aws.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "b"}])
    paginator = aws.sagemaker.get_paginator("list_tags")
    tags = [t for page in paginator.paginate(ResourceArn=arn, PaginationConfig={"PageSize": 50}) for t in page["Tags"]]
    assert {t["Key"]: t["Value"] for t in tags} == {"team": "fraud", "stage": "b"}
    missing = arn.replace(group, "nobody")
    assert error_of(lambda: aws.sagemaker.list_tags(ResourceArn=missing))[0] == "ValidationException"


def test_models_and_configurations(aws: Aws, serving: Serving) -> None:
    model = serving.model("v1")
    described = aws.sagemaker.describe_model(ModelName=model)
    assert described["PrimaryContainer"]["Environment"] == {"VERSION": "v1"}
    config = serving.config(model)
    variant = aws.sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]
    assert variant["ModelName"] == model
    listed = aws.sagemaker.list_endpoint_configs(NameContains=config)["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in listed] == [config]
    again = {"ModelName": model, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    assert "already existing" in error_of(lambda: aws.sagemaker.create_model(**again))[2]
    aws.sagemaker.delete_endpoint_config(EndpointConfigName=config)
    aws.sagemaker.delete_model(ModelName=model)
    assert "Could not find model" in error_of(lambda: aws.sagemaker.describe_model(ModelName=model))[2]
    assert "Could not find model" in error_of(lambda: serving.config(model))[2]


def test_lists_page_in_order_without_gaps(aws: Aws) -> None:
    prefix = f"paged-{uuid.uuid4().hex[:6]}"
    names = [f"{prefix}-{n}" for n in range(7)]
    for name in names:
        aws.sagemaker.create_model_package_group(ModelPackageGroupName=name)
    for by, order, expected in (("Name", "Ascending", names), ("CreationTime", "Descending", names[::-1])):
        pages = aws.sagemaker.get_paginator("list_model_package_groups").paginate(
            NameContains=prefix, SortBy=by, SortOrder=order, PaginationConfig={"PageSize": 3}
        )
        found = [g["ModelPackageGroupName"] for page in pages for g in page["ModelPackageGroupSummaryList"]]
        assert found == expected
    models = aws.sagemaker.list_models(MaxResults=1)
    assert len(models["Models"]) <= 1
    bad = error_of(lambda: aws.sagemaker.list_models(NextToken="!!not-a-token"))
    assert bad[0] == "ValidationException"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"SortOrder": "Sideways"}, "enum value set"),
        ({"NameContains": "bad name!"}, "regular expression pattern"),
        ({"NameContains": "x" * 64}, "length less than or equal to 63"),
        ({"MaxResults": 101}, "value less than or equal to 100"),
    ],
)
def test_requests_that_break_the_model_are_refused(aws: Aws, arguments: dict[str, Any], rule: str) -> None:
    code, status, message = error_of(lambda: aws.sagemaker.list_models(**arguments))
    assert (code, status) == ("ValidationException", 400)
    assert rule in message
    assert message.startswith("1 validation error detected: Value ")


def test_all_violations_are_reported_together(aws: Aws) -> None:
    call = {"ModelName": "bad name", "ExecutionRoleArn": "x" * 20, "PrimaryContainer": {"Image": "i i"}}
    code, _, message = error_of(lambda: aws.sagemaker.create_model(**call))
    assert code == "ValidationException"
    assert message.startswith("3 validation errors detected")
    assert "'primaryContainer.image'" in message


def test_operation_that_is_not_offered(aws: Aws) -> None:
    assert error_of(lambda: aws.sagemaker.list_notebook_instances())[:2] == ("UnknownOperationException", 404)


def test_wrong_credentials_are_refused(aws: Aws) -> None:
    for keys, code in (
        ({"aws_access_key_id": "AKIAWRONG"}, "UnrecognizedClientException"),
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
    ):
        good = {"aws_access_key_id": "AKIAEMBEDDEDTEST", "aws_secret_access_key": "embedded-test-secret-key-0123456789"}
        for service in ("sagemaker", "lambda"):
            client = boto3.client(
                service,
                endpoint_url=f"http://127.0.0.1:{aws.port}",
                region_name="us-east-1",
                config=Config(retries={"max_attempts": 0}),
                **{**good, **keys},
            )
            call = client.list_models if service == "sagemaker" else client.list_functions
            assert error_of(call)[:2] == (code, 403)


def test_logs_page_forward_and_backward(aws: Aws, serving: Serving) -> None:
    endpoint = serving.endpoint(serving.config(serving.model("v9")))
    aws.wait_endpoint(endpoint, "InService")
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    logs = aws.client("logs")
    stream = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"][0]
    where = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
    head = logs.get_log_events(**where, startFromHead=True)
    assert [event["message"] for event in head["events"]] == ["serving v9"]
    end = logs.get_log_events(**where, nextToken=head["nextForwardToken"])
    assert end["events"] == []
    assert end["nextForwardToken"] == head["nextForwardToken"]
    tail = logs.get_log_events(**where, limit=1)
    assert tail["events"] == head["events"]
    missing = {"logGroupName": group, "logStreamName": "nobody"}
    assert error_of(lambda: logs.get_log_events(**missing))[0] == "ResourceNotFoundException"
    assert error_of(lambda: logs.describe_log_streams(logGroupName="/nobody"))[0] == "ResourceNotFoundException"
    assert error_of(lambda: logs.get_log_events(**where, nextToken="x"))[0] == "InvalidParameterException"
    assert error_of(lambda: logs.get_log_events(**where, limit=10_001))[0] == "InvalidParameterException"
