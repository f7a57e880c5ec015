"""Athena as the engine: what is asked of its API, in which order, and what becomes of every way it can end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from services import lake_queries
from services.adapters import aws
from services.adapters.athena import AthenaEngine, compiled
from services.errors import Unavailable

QUERY = lake_queries.values(("channel",), date(2026, 3, 1), date(2026, 3, 2), dense=False)
ID = "5a3c2f0e-0000-4000-8000-000000000001"
CSV = b'"day","dimension","value","transactions"\n"20513","channel","pos","7"\n"20513","channel","ecom","2"\n'


class Clock:
    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def engine(s3_endpoint: str) -> AthenaEngine:
    clock = Clock()
    return AthenaEngine(
        region="eu-central-1", workgroup="desk", database="fraud", sleep=clock.sleep, monotonic=clock,
        output="s3://results/athena/",
    )  # fmt: skip


@pytest.fixture
def athena(engine: AthenaEngine) -> Iterator[Stubber]:
    with Stubber(engine._athena) as stubber:
        text, values = compiled(QUERY, 99)
        asked = {
            "QueryString": text,
            "ExecutionParameters": values,
            "QueryExecutionContext": {"Database": "fraud"},
            "WorkGroup": "desk",
            "ResultConfiguration": {"OutputLocation": "s3://results/athena/"},
        }
        stubber.add_response("start_query_execution", {"QueryExecutionId": ID}, asked)
        yield stubber
        stubber.assert_no_pending_responses()


def status(stubber: Stubber, state: str, **more: Any) -> None:
    execution = {"QueryExecution": {"QueryExecutionId": ID, "Status": {"State": state, **more}}}
    if state == "SUCCEEDED":
        execution["QueryExecution"]["ResultConfiguration"] = {"OutputLocation": more.pop("at", "")}
        execution["QueryExecution"]["Status"] = {"State": state}
    stubber.add_response("get_query_execution", execution, {"QueryExecutionId": ID})


def test_a_query_is_started_waited_for_and_its_result_read_from_s3(
    engine: AthenaEngine, athena: Stubber, bucket: str
) -> None:
    s3 = aws.client("s3", region="us-east-1")
    s3.put_object(Bucket=bucket, Key=f"athena/{ID}.csv", Body=CSV)
    s3.close()
    status(athena, "QUEUED")
    status(athena, "RUNNING")
    status(athena, "SUCCEEDED", at=f"s3://{bucket}/athena/{ID}.csv")
    kinds = [("day", "bigint"), ("dimension", "varchar"), ("value", "varchar"), ("transactions", "bigint")]
    columns = [{"Name": name, "Type": kind} for name, kind in kinds]
    page = {"ResultSet": {"Rows": [], "ResultSetMetadata": {"ColumnInfo": columns}}}
    athena.add_response("get_query_results", page, {"QueryExecutionId": ID, "MaxResults": 1})
    assert engine.run(QUERY, [], 99).to_pylist() == [
        {"day": 20513, "dimension": "channel", "value": "pos", "transactions": 7},
        {"day": 20513, "dimension": "channel", "value": "ecom", "transactions": 2},
    ]


def test_a_query_that_fails_says_why(engine: AthenaEngine, athena: Stubber) -> None:
    status(athena, "FAILED", StateChangeReason="TABLE_NOT_FOUND: line 1:1: Table does not exist")
    with pytest.raises(Unavailable, match="TABLE_NOT_FOUND") as caught:
        engine.run(QUERY, [], 99)
    assert caught.value.dependency == "Athena"


def test_a_query_that_takes_too_long_is_stopped(engine: AthenaEngine, athena: Stubber) -> None:
    for _ in range(33):
        status(athena, "RUNNING")
    athena.add_response("stop_query_execution", {}, {"QueryExecutionId": ID})
    with pytest.raises(Unavailable, match="30 seconds"):
        engine.run(QUERY, [], 99)


def test_an_athena_that_is_too_busy_or_away_is_unavailable(engine: AthenaEngine, s3_endpoint: str) -> None:
    with Stubber(engine._athena) as stubber:
        stubber.add_client_error("start_query_execution", "TooManyRequestsException", "slow down", 400)
        with pytest.raises(Unavailable):
            engine.run(QUERY, [], 99)
    away = boto3.client("athena", region_name="eu-central-1", endpoint_url="http://127.0.0.1:1")
    engine._athena.close()
    engine._athena = away
    with pytest.raises(Unavailable) as caught:
        engine.run(QUERY, [], 99)
    assert caught.value.dependency == "Athena"
