"""The desk's connectors over the wire: MSK Connect's API, Kafka Connect's REST, and the audit in MongoDB."""

from __future__ import annotations

from typing import Any

import boto3
import pymongo
import pytest

from services.access import Actor, Role
from services.adapters.kafka_connect import KafkaConnect
from services.adapters.mongo.controls import MongoControls
from services.adapters.msk_connect import MskConnect
from services.connectors import ConnectApi, Connectors, ConnectorState
from services.errors import Conflict, InvalidData, NotFound, Unavailable
from tests.integration.aws.servers import ACCESS_KEY, SECRET_KEY, Aws, free_port, wait_until
from tests.integration.aws.test_connectors import NAME, beat, desk  # noqa: F401 - a fixture

ADMIN = Actor("a", "Ada Novak", Role.ADMIN)


@pytest.fixture(params=["MSK Connect", "Kafka Connect"])
def api(request: pytest.FixtureRequest, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> ConnectApi:
    url = f"http://127.0.0.1:{aws.port}"
    if request.param == "Kafka Connect":
        return KafkaConnect(f"{url}/kafka-connect", user=ACCESS_KEY, password=SECRET_KEY)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in (
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ):
        monkeypatch.setenv(name, value)
    return MskConnect(region="us-east-1", prefix="fraud-desk", read_seconds=5.0)


def test_a_pause_from_the_desk_reaches_the_stream_and_is_audited_with_its_undo(api, desk):  # noqa: F811
    audit = desk["audit"]
    audit.delete_many({})
    connectors = Connectors(api, MongoControls(desk))
    beat(desk)
    (seen,) = connectors.list()
    assert (seen.name, seen.state) == (NAME, ConnectorState.RUNNING)
    connectors.pause(NAME, reason="The bucket moves", actor=ADMIN)
    assert desk["controls"].find_one({"_id": "stream"})["paused"] is True
    beat(desk, "waiting", error="Paused by the Kafka Connect API at 14:02.")
    (seen,) = connectors.list()
    assert (seen.state, seen.pause.by, seen.pause.reason) == (ConnectorState.PAUSED, "Ada Novak", "The bucket moves")
    with pytest.raises(Conflict, match="paused by Ada Novak already"):
        connectors.pause(NAME, reason="Again", actor=ADMIN)
    connectors.resume(NAME, actor=ADMIN)
    assert desk["controls"].find_one({"_id": "stream"})["paused"] is False
    beat(desk)
    (seen,) = connectors.list()
    assert (seen.state, seen.pause) == (ConnectorState.RUNNING, None)
    entries = list(audit.find({}).sort([("at", 1), ("_id", -1)]))
    assert [(entry["action"], entry["outcome"]) for entry in entries] == [
        ("connector.pause", "requested"),
        ("connector.pause", "done"),
        ("connector.resume", "requested"),
        ("connector.resume", "done"),
    ]
    assert entries[0]["after"] == {"paused": True, "reason": "The bucket moves"}
    assert entries[0]["actor"]["name"] == "Ada Novak"


def test_a_failed_stream_says_why(api, desk):  # noqa: F811
    beat(desk, "failed", error="MongoDB no longer has the changes.")
    (seen,) = api.connectors()
    assert (seen.state, seen.failure) == (ConnectorState.FAILED, "MongoDB no longer has the changes.")


def test_what_is_not_there_is_not_found(api, desk):  # noqa: F811
    assert api.connectors() == ()
    beat(desk)
    (seen,) = api.connectors()
    for call in (api.pause, api.resume):
        with pytest.raises(NotFound):
            call(seen.ref + "x")


def test_tasks_come_from_cloudwatch_and_from_the_status(aws, api, desk):  # noqa: F811
    beat(desk, seconds_ago=-120)
    wait_until(lambda: api.connectors()[0].tasks is not None, what="the tasks")
    tasks = api.connectors()[0].tasks
    assert (tasks.at is None) == isinstance(api, KafkaConnect)
    if isinstance(api, KafkaConnect):
        assert (tasks.running, tasks.paused, tasks.failed) == (1, 0, 0)


def test_kafka_connect_refuses_whoever_has_no_password_on_every_path(aws, desk):  # noqa: F811
    url = f"http://127.0.0.1:{aws.port}/kafka-connect"
    for unknown in (KafkaConnect(url), KafkaConnect(url, user=ACCESS_KEY, password="guess")):
        for call in (unknown.connectors, lambda u=unknown: u.pause(NAME), lambda u=unknown: u.resume(NAME)):
            with pytest.raises(Unavailable, match="refused the desk's credentials"):
                call()
    assert desk["controls"].count_documents({}) == 0
    for path in ("/", "/connectors", f"/connectors/{NAME}", f"/connectors/{NAME}/status"):
        assert aws.http_status(f"/kafka-connect{path}") == 401


def test_its_plain_interface_is_kafka_connects(aws, desk):  # noqa: F811
    connect: Any = KafkaConnect(f"http://127.0.0.1:{aws.port}/kafka-connect", user=ACCESS_KEY, password=SECRET_KEY)
    assert connect._call("GET", "/connectors") == []
    beat(desk)
    assert set(connect._call("GET", "/")) == {"version", "commit", "kafka_cluster_id"}
    assert connect._call("GET", "/connectors") == [NAME]
    assert connect._call("GET", f"/connectors/{NAME}")["config"]["tasks.max"] == "1"
    assert connect._call("GET", f"/connectors/{NAME}/tasks")[0]["id"] == {"connector": NAME, "task": 0}
    status = connect._call("GET", f"/connectors/{NAME}/status")
    assert (status["connector"]["state"], status["tasks"][0]["state"]) == ("RUNNING", "RUNNING")
    connect.pause(NAME)
    connect.pause(NAME)  # asking for what is so already is no error
    assert connect._call("GET", f"/connectors/{NAME}/status")["connector"]["state"] == "PAUSED"


def test_an_address_nobody_listens_on_is_unavailable_and_one_that_is_none_is_refused():
    with pytest.raises(Unavailable, match="Kafka Connect is not reachable"):
        KafkaConnect(f"http://127.0.0.1:{free_port()}").connectors()
    with pytest.raises(InvalidData, match="must begin with http"):
        KafkaConnect("connect:8083")


def test_the_database_of_controls_that_is_away_is_unavailable():
    with (
        pymongo.MongoClient[dict[str, Any]](
            f"mongodb://127.0.0.1:{free_port()}", serverSelectionTimeoutMS=200
        ) as client,
        pytest.raises(Unavailable),
    ):
        MongoControls(client["x"]).pauses()
