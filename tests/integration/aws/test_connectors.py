"""MSK Connect: the one connector is the desk's stream, as it reports and as it obeys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest

from tests.integration.aws.servers import Aws, error_of, wait_until

NAME = "fraud-desk-stream"


@pytest.fixture
def desk(aws: Aws) -> Any:
    """The database in which the stream reports, emptied of what others left."""
    with pymongo.MongoClient[dict[str, Any]](aws.mongod.uri, tz_aware=True) as client:
        database = client["fraud_desk"]
        database["workers"].delete_many({})
        database["controls"].delete_many({})
        yield database
        database["workers"].delete_many({})
        database["controls"].delete_many({})


def beat(desk: Any, state: str = "running", *, error: str | None = None, seconds_ago: float = 0) -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    status = {"state": state, "pid": 41, "started_at": at, "heartbeat_at": at}
    if error:
        status["last_error"] = {"message": error, "at": at}
    desk["workers"].replace_one({"_id": "stream"}, status, upsert=True)


def arn_of(aws: Aws) -> str:
    return str(aws.client("kafkaconnect").list_connectors()["connectors"][0]["connectorArn"])


def state_of(aws: Aws) -> str:
    return str(aws.client("kafkaconnect").list_connectors()["connectors"][0]["connectorState"])


def test_there_is_no_connector_before_the_streams_first_start_and_then_one_by_its_name(aws, desk):
    connect = aws.client("kafkaconnect")
    assert connect.list_connectors()["connectors"] == []
    beat(desk)
    found = connect.list_connectors(connectorNamePrefix="fraud-")["connectors"]
    assert [(c["connectorName"], c["connectorState"]) for c in found] == [(NAME, "RUNNING")]
    assert connect.list_connectors(connectorNamePrefix="other")["connectors"] == []


@pytest.mark.parametrize(
    ("state", "error", "seconds_ago", "shown"),
    [
        ("running", None, 0, "RUNNING"),
        ("waiting", "S3 is not reachable.", 0, "RUNNING"),
        ("starting", None, 0, "RESTARTING"),
        ("failed", "MongoDB no longer has the changes.", 0, "FAILED"),
        ("stopped", None, 0, "FAILED"),
        ("running", None, 15, "FAILED"),
    ],
    ids=["running", "waits for S3", "starting", "failed", "stopped", "silent"],
)
def test_the_state_is_what_the_worker_says(aws, desk, state, error, seconds_ago, shown):
    beat(desk, state, error=error, seconds_ago=seconds_ago)
    described = aws.client("kafkaconnect").describe_connector(connectorArn=arn_of(aws))
    assert described["connectorState"] == shown
    if error:
        assert described["stateDescription"]["message"] == error


def test_a_pause_is_told_to_the_worker_and_is_over_when_the_worker_has_stopped_and_so_is_its_undo(aws, desk):
    connect = aws.client("kafkaconnect")
    beat(desk)
    arn = arn_of(aws)
    begun = connect.pause_connector(connectorArn=arn)["connectorOperationArn"]
    assert desk["controls"].find_one({"_id": "stream"})["paused"] is True
    assert state_of(aws) == "PAUSING"
    assert (
        connect.describe_connector_operation(connectorOperationArn=begun)["connectorOperationState"]
        == "PAUSE_IN_PROGRESS"
    )
    beat(desk, "waiting", error="Paused by the Kafka Connect API at 14:02.")
    assert state_of(aws) == "PAUSED"
    described = connect.describe_connector_operation(connectorOperationArn=begun)
    assert described["connectorOperationState"] == "PAUSE_COMPLETE"
    assert described["endTime"] >= described["creationTime"]
    assert error_of(lambda: connect.pause_connector(connectorArn=arn))[:2] == ("ConflictException", 409)

    undone = connect.resume_connector(connectorArn=arn)["connectorOperationArn"]
    assert desk["controls"].find_one({"_id": "stream"})["paused"] is False
    assert state_of(aws) == "RESUMING"
    beat(desk)
    assert state_of(aws) == "RUNNING"
    listed = connect.list_connector_operations(connectorArn=arn, maxResults=1)
    assert listed["connectorOperations"][0]["connectorOperationArn"] == undone
    assert listed["connectorOperations"][0]["connectorOperationState"] == "RESUME_COMPLETE"
    rest = connect.list_connector_operations(connectorArn=arn, nextToken=listed["nextToken"])["connectorOperations"]
    assert begun in {one["connectorOperationArn"] for one in rest}
    assert error_of(lambda: connect.resume_connector(connectorArn=arn))[:2] == ("ConflictException", 409)


def test_what_does_not_exist_is_not_found(aws, desk):
    connect = aws.client("kafkaconnect")
    beat(desk)
    wrong = arn_of(aws) + "x"
    calls = (connect.describe_connector, connect.pause_connector, connect.resume_connector)
    for call in (*calls, connect.list_connector_operations):
        assert error_of(lambda call=call: call(connectorArn=wrong))[:2] == ("NotFoundException", 404)
    describe = connect.describe_connector_operation
    assert error_of(lambda: describe(connectorOperationArn=wrong))[:2] == ("NotFoundException", 404)


def test_running_tasks_are_counted_in_cloudwatch(aws, desk):
    beat(desk, seconds_ago=-120)  # the clock of the test's worker is ahead, so that it is not silent meanwhile
    query = {
        "Id": "running",
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/KafkaConnect",
                "MetricName": "RunningTaskCount",
                "Dimensions": [{"Name": "ConnectorName", "Value": NAME}],
            },
            "Period": 60,
            "Stat": "Maximum",
        },
    }

    def counted() -> list[float]:
        now = datetime.now(UTC)
        answer = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=[query], StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1)
        )
        return list(answer["MetricDataResults"][0]["Values"])

    wait_until(lambda: 1.0 in counted(), what="a sample of the running task")
