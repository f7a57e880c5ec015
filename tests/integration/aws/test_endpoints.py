"""Endpoints serve for real: created, invoked, updated without a gap, restarted when they die, deleted."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.integration.aws.servers import Aws, Mongod, error_of, wait_until
from tests.integration.aws.serving import Serving

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def endpoint(serving: Serving) -> str:
    name = serving.endpoint(serving.config(serving.model("v1"), serving.model("v2")))
    serving.aws.wait_endpoint(name, "InService")
    return name


def test_endpoint_becomes_in_service_and_answers(aws: Aws, serving: Serving) -> None:
    config = serving.config(serving.model("v1"), serving.model("v2"))
    name = serving.endpoint(config)
    assert aws.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    assert error_of(lambda: aws.invoke(name))[:2] == ("ValidationError", 400)
    described = aws.wait_endpoint(name, "InService")
    assert described["EndpointConfigName"] == config
    assert [variant["VariantName"] for variant in described["ProductionVariants"]] == ["primary", "other-1"]
    answer = aws.invoke(name, b"row", CustomAttributes="trace=1", ContentType="text/csv", Accept="text/csv")
    assert answer["Body"] == b"v1:row"
    assert answer["InvokedProductionVariant"] == "primary"
    assert answer["CustomAttributes"] == "trace=1"
    assert aws.invoke(name, b"row", TargetVariant="other-1")["Body"] == b"v2:row"
    code, status, message = error_of(lambda: aws.invoke(name, TargetVariant="nobody"))
    assert (code, status) == ("ValidationError", 400)
    assert "nobody" in message
    listed = aws.sagemaker.list_endpoints(NameContains=name, StatusEquals="InService")["Endpoints"]
    assert [item["EndpointName"] for item in listed] == [name]
    assert any("serving v1" in line for line in aws.log_lines(f"/aws/sagemaker/Endpoints/{name}"))


def test_errors_of_the_model_are_model_errors(aws: Aws, endpoint: str) -> None:
    for body, original in ((b"bad", 400), (b"boom", 500)):
        with pytest.raises(ClientError) as caught:
            aws.invoke(endpoint, body)
        answer = caught.value.response
        assert answer["Error"]["Code"] == "ModelError"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert answer["OriginalStatusCode"] == original
        assert answer["OriginalMessage"] == {400: "bad row", 500: "boom"}[original]
        assert answer["LogStreamArn"].startswith("arn:aws:logs:")


def test_unknown_endpoint_is_a_validation_error(aws: Aws) -> None:
    assert error_of(lambda: aws.invoke("nobody"))[:2] == ("ValidationError", 400)
    missing = error_of(lambda: aws.sagemaker.describe_endpoint(EndpointName="nobody"))
    assert missing[:2] == ("ValidationException", 400)
    assert "Could not find endpoint" in missing[2]


def test_metrics_count_what_happened(aws: Aws, endpoint: str) -> None:
    for body in (b"1", b"2", b"3"):
        aws.invoke(endpoint, body)
    for body in (b"bad", b"boom"):
        with pytest.raises(ClientError):
            aws.invoke(endpoint, body)
    wanted = {
        "calls": ("Invocations", "Sum"),
        "client": ("Invocation4XXErrors", "Sum"),
        "server": ("Invocation5XXErrors", "Sum"),
        "model": ("ModelLatency", "Average"),
        "p95": ("OverheadLatency", "p95"),
    }
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "primary"}]
    queries = [
        {
            "Id": key,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": dimensions},
                "Period": 3600,
                "Stat": stat,
            },
        }
        for key, (name, stat) in wanted.items()
    ]
    now = datetime.now(UTC)
    results = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(hours=2), EndTime=now + timedelta(hours=1)
    )["MetricDataResults"]
    values = {result["Id"]: sum(result["Values"]) for result in results}
    assert values["calls"] == 5
    assert values["client"] == 1
    assert values["server"] == 1
    assert 0 < values["model"] < 1e6
    assert 0 < values["p95"] < 1e6
    assert error_of(
        lambda: aws.client("cloudwatch").get_metric_data(MetricDataQueries=queries, StartTime=now, EndTime=now)
    )[:2] == ("ValidationError", 400)


def test_update_switches_without_a_failed_request(aws: Aws, serving: Serving, endpoint: str) -> None:
    failures: list[BaseException] = []
    seen: list[bytes] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            try:
                seen.append(aws.invoke(endpoint, b"x")["Body"])
            except ClientError as exc:
                failures.append(exc)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        config = serving.config(serving.model("v3"))
        aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
        assert described["EndpointStatus"] == "Updating"
        assert described["PendingDeploymentSummary"]["EndpointConfigName"] == config
        busy = error_of(lambda: aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config))
        assert busy[0] == "ValidationException"
        assert aws.wait_endpoint(endpoint, "InService")["EndpointConfigName"] == config
        wait_until(lambda: seen and seen[-1] == b"v3:x", what="the new version")
        time.sleep(0.3)
    finally:
        done.set()
        caller.join()
    assert not failures
    assert b"v1:x" in seen
    assert all(body == b"v3:x" for body in seen[seen.index(b"v3:x") :])


def test_update_to_a_broken_model_keeps_the_old_one(aws: Aws, serving: Serving, endpoint: str) -> None:
    before = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    broken = serving.config(serving.model("v4", BROKEN="1"))
    aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=broken)
    described = aws.wait_endpoint(endpoint, "InService")
    assert described["EndpointConfigName"] == before
    assert "did not pass the ping health check" in described["FailureReason"]
    assert aws.invoke(endpoint, b"x")["Body"] == b"v1:x"


def test_update_to_a_damaged_archive_keeps_the_old_one(aws: Aws, serving: Serving, endpoint: str) -> None:
    before = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    model = serving.model("v6")
    key, s3 = "models/v6/model.tar.gz", aws.client("s3")
    with s3.get_object(Bucket=serving.bucket, Key=key)["Body"] as body:
        whole = body.read()
    s3.put_object(Bucket=serving.bucket, Key=key, Body=whole[: len(whole) // 2])
    aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=serving.config(model))
    described = aws.wait_endpoint(endpoint, "InService")
    assert described["EndpointConfigName"] == before
    assert "Failed to download model data" in described["FailureReason"]
    assert aws.invoke(endpoint, b"x")["Body"] == b"v1:x"


def test_endpoint_of_a_broken_model_fails_with_a_reason(aws: Aws, serving: Serving) -> None:
    name = serving.endpoint(serving.config(serving.model("v5", BROKEN="1")))
    assert "ping health check" in aws.wait_endpoint(name, "Failed")["FailureReason"]
    assert any("cannot load the model" in line for line in aws.log_lines(f"/aws/sagemaker/Endpoints/{name}"))
    aws.sagemaker.delete_endpoint(EndpointName=name)
    wait_until(lambda: not aws.sagemaker.list_endpoints(NameContains=name)["Endpoints"], what="deletion")


def test_killed_container_comes_back(aws: Aws, endpoint: str) -> None:
    first = int(aws.invoke(endpoint, b"pid")["Body"])
    os.kill(first, signal.SIGKILL)
    time.sleep(0.02)
    assert error_of(lambda: aws.invoke(endpoint, b"pid"))[:2] == ("ServiceUnavailable", 503)

    codes: set[str] = set()

    def second() -> int | None:
        try:
            return int(aws.invoke(endpoint, b"pid")["Body"])
        except ClientError as exc:
            codes.add(exc.response["Error"]["Code"])
            return None

    assert wait_until(second, what="a new container") != first
    assert codes <= {"ServiceUnavailable"}


def test_delete_ends_the_container(aws: Aws, serving: Serving, endpoint: str) -> None:
    pid = int(aws.invoke(endpoint, b"pid")["Body"])
    config = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    in_use = error_of(lambda: aws.sagemaker.delete_endpoint_config(EndpointConfigName=config))
    assert in_use[0] == "ValidationException"
    aws.sagemaker.delete_endpoint(EndpointName=endpoint)
    with contextlib.suppress(ClientError):
        aws.sagemaker.delete_endpoint(EndpointName=endpoint)
    wait_until(lambda: not aws.sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"], what="deletion")
    assert not os.path.exists(f"/proc/{pid}")
    assert error_of(lambda: aws.invoke(endpoint))[0] == "ValidationError"
    aws.sagemaker.delete_endpoint_config(EndpointConfigName=config)
    assert (
        error_of(lambda: aws.sagemaker.describe_endpoint_config(EndpointConfigName=config))[0] == "ValidationException"
    )


def test_killed_server_serves_its_endpoints_again(own_aws: Aws) -> None:
    own_aws.client("s3").create_bucket(Bucket="recover-bucket")
    serving = Serving(own_aws, "recover-bucket")
    config = serving.config(serving.model("v1"))
    name = serving.endpoint(config)
    own_aws.wait_endpoint(name, "InService")
    pid = int(own_aws.invoke(name, b"pid")["Body"])
    slow = serving.config(serving.model("v2", DELAY="1.5"))
    own_aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=slow)
    own_aws.kill()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="the container's end with its server")
    own_aws.start()
    assert own_aws.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating"
    wait_until(lambda: _body(own_aws, name) == b"v1:x", what="the old version again")
    assert own_aws.wait_endpoint(name, "InService")["EndpointConfigName"] == slow
    wait_until(lambda: _body(own_aws, name) == b"v2:x", what="the update's end")


def _body(aws: Aws, endpoint: str) -> bytes | None:
    try:
        body: bytes = aws.invoke(endpoint, b"x")["Body"]
    except ClientError as exc:
        return exc.response["Error"]["Code"].encode()
    return body


def test_invocations_go_on_while_the_database_is_away(own_aws: Aws, restless_mongod: Mongod) -> None:
    own_aws.client("s3").create_bucket(Bucket="away-bucket")
    serving = Serving(own_aws, "away-bucket")
    name = serving.endpoint(serving.config(serving.model("v1")))
    own_aws.wait_endpoint(name, "InService")
    restless_mongod.kill()
    try:
        wait_until(lambda: _status(own_aws, name) == 503, what="503 of the control plane")
        assert own_aws.invoke(name, b"x")["Body"] == b"v1:x"
        os.kill(int(own_aws.invoke(name, b"pid")["Body"]), signal.SIGKILL)
        wait_until(lambda: _body(own_aws, name) == b"v1:x", what="a new container without the database")
    finally:
        restless_mongod.start()
    wait_until(lambda: _status(own_aws, name) == 200, what="the control plane's return")


def _status(aws: Aws, endpoint: str) -> int:
    try:
        answer = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as exc:
        answer = exc.response
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def test_endpoint_being_created_can_be_deleted(aws: Aws, serving: Serving) -> None:
    name = serving.endpoint(serving.config(serving.model("v6", DELAY="30")))
    aws.sagemaker.delete_endpoint(EndpointName=name)
    wait_until(lambda: not aws.sagemaker.list_endpoints(NameContains=name)["Endpoints"], what="deletion")


def test_container_of_a_deleted_artifact_is_a_failure_with_its_url(aws: Aws, serving: Serving) -> None:
    config = serving.config(serving.model("v7"))
    aws.client("s3").delete_object(Bucket=serving.bucket, Key="models/v7/model.tar.gz")
    name = serving.endpoint(config)
    reason = aws.wait_endpoint(name, "Failed")["FailureReason"]
    assert "Failed to download model data" in reason
    assert "models/v7/model.tar.gz" in reason


def test_deployment_policies_that_are_not_offered_are_refused(aws: Aws, serving: Serving, endpoint: str) -> None:
    config = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    routing = {"Type": "CANARY", "WaitIntervalInSeconds": 60, "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10}}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    call = {"EndpointName": endpoint, "EndpointConfigName": config, "DeploymentConfig": policy}
    assert error_of(lambda: aws.sagemaker.update_endpoint(**call))[0] == "ValidationException"
