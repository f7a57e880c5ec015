"""Functions run their handlers in real processes: results, errors, timeouts, logs, concurrency, updates."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import uuid
import zipfile
from typing import Any

import pytest

from tests.integration.aws.servers import ROLE, Aws, error_of, wait_until

pytestmark = pytest.mark.timeout(60)

HANDLER = """
import json, os, sys, time, layered
def handler(event, context):
    kind = event.get("do")
    if kind == "raise":
        raise ValueError("no such column")
    if kind == "sleep":
        time.sleep(event["seconds"])
    if kind == "exit":
        os._exit(3)
    if kind == "env":
        return {k: os.environ.get(k) for k in event["names"]}
    print("seen", kind)
    return {"version": VERSION, "pid": os.getpid(), "layer": layered.NAME,
            "left_ms": context.get_remaining_time_in_millis(), "name": context.function_name}
VERSION = 1
"""


def _zip(source: str = HANDLER, name: str = "score.py") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr(name, source)
    return buffer.getvalue()


@pytest.fixture
def layer(tmp_path: Any) -> str:
    (tmp_path / "layered.py").write_text("NAME = 'from the layer'")
    return str(tmp_path)


def _create(aws: Aws, layer: str, **kwargs: Any) -> str:
    name = f"score-{uuid.uuid4().hex[:8]}"
    settings = {
        "Runtime": "python3.13",
        "Handler": "score.handler",
        "Code": {"ZipFile": _zip()},
        "Timeout": 5,
        "Environment": {"Variables": {"PYTHONPATH": layer, "FRAUD_DESK_ENDPOINT": "fraud-desk"}},
    }
    aws.client("lambda").create_function(FunctionName=name, Role=ROLE, **{**settings, **kwargs})
    return name


def _invoke(aws: Aws, name: str, event: Any = None, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    answer = aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}), **kwargs)
    body = answer["Payload"].read()
    return json.loads(body) if body else None, answer


def test_handler_runs_with_its_layer_and_its_log(aws: Aws, layer: str) -> None:
    name = _create(aws, layer)
    result, answer = _invoke(aws, name, {"do": "x"}, LogType="Tail")
    assert result["layer"] == "from the layer"
    assert result["name"] == name
    assert 0 < result["left_ms"] <= 5000
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert answer["ExecutedVersion"] == "$LATEST"
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert tail.startswith("START RequestId")
    assert "seen x" in tail
    assert "REPORT RequestId" in tail
    again, _ = _invoke(aws, name)
    assert again["pid"] == result["pid"], "the warm process is used again"
    assert "seen x" in aws.log_lines(f"/aws/lambda/{name}")


def test_environment_is_the_functions_own(aws: Aws, layer: str) -> None:
    name = _create(aws, layer)
    names = ["FRAUD_DESK_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_REGION", "OMP_NUM_THREADS", "MONGODB_URI"]
    result, _ = _invoke(aws, name, {"do": "env", "names": names})
    url = f"http://127.0.0.1:{aws.port}"
    assert list(result.values()) == ["fraud-desk", url, "us-east-1", "1", None]


def test_errors_of_the_handler_are_function_errors(aws: Aws, layer: str) -> None:
    name = _create(aws, layer)
    result, answer = _invoke(aws, name, {"do": "raise"})
    assert answer["FunctionError"] == "Unhandled"
    assert answer["StatusCode"] == 200
    assert (result["errorType"], result["errorMessage"]) == ("ValueError", "no such column")
    result, answer = _invoke(aws, name, {"do": "exit"})
    assert answer["FunctionError"] == "Unhandled"
    assert "Runtime exited" in result["errorMessage"]
    assert _invoke(aws, name)[0]["version"] == 1


def test_handler_that_cannot_be_loaded_is_a_function_error(aws: Aws, layer: str) -> None:
    name = _create(aws, layer, Code={"ZipFile": _zip("import no_such_module")})
    result, answer = _invoke(aws, name)
    assert answer["FunctionError"] == "Unhandled"
    assert "no_such_module" in result["errorMessage"]


def test_timeout_kills_and_the_next_call_works(aws: Aws, layer: str) -> None:
    name = _create(aws, layer, Timeout=1)
    began = time.monotonic()
    result, answer = _invoke(aws, name, {"do": "sleep", "seconds": 30}, LogType="Tail")
    assert time.monotonic() - began < 5
    assert answer["FunctionError"] == "Unhandled"
    assert "Task timed out after 1.00 seconds" in result["errorMessage"]
    assert "Task timed out" in base64.b64decode(answer["LogResult"]).decode()
    assert _invoke(aws, name)[0]["version"] == 1


def test_two_at_once_run_in_two_processes(aws: Aws, layer: str) -> None:
    name = _create(aws, layer)
    seen: list[int] = []

    def call() -> None:
        seen.append(_invoke(aws, name, {"do": "sleep", "seconds": 0.7})[0]["pid"])

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 3
    assert len(set(seen)) == 2


def test_event_and_dry_run_do_not_wait(aws: Aws, layer: str) -> None:
    name = _create(aws, layer)
    assert _invoke(aws, name, {"do": "later"}, InvocationType="Event")[1]["StatusCode"] == 202
    wait_until(lambda: "seen later" in aws.log_lines(f"/aws/lambda/{name}"), what="the event")
    assert _invoke(aws, name, InvocationType="DryRun")[1]["StatusCode"] == 204


def test_update_of_code_and_configuration(aws: Aws, layer: str) -> None:
    client = aws.client("lambda")
    name = _create(aws, layer)
    before = client.get_function(FunctionName=name)
    assert before["Code"]["RepositoryType"] == "S3"
    updated = client.update_function_code(
        FunctionName=name, ZipFile=_zip(HANDLER.replace("VERSION = 1", "VERSION = 2"))
    )
    assert updated["CodeSha256"] != before["Configuration"]["CodeSha256"]
    assert _invoke(aws, name)[0]["version"] == 2
    variables = {"PYTHONPATH": layer, "FRAUD_DESK_ENDPOINT": "other"}
    client.update_function_configuration(FunctionName=name, Timeout=7, Environment={"Variables": variables})
    assert _invoke(aws, name, {"do": "env", "names": ["FRAUD_DESK_ENDPOINT"]})[0] == {"FRAUD_DESK_ENDPOINT": "other"}
    stale = error_of(lambda: client.update_function_code(FunctionName=name, ZipFile=_zip(), RevisionId="old"))
    assert stale[:2] == ("PreconditionFailedException", 412)
    assert name in [f["FunctionName"] for page in _pages(client) for f in page["Functions"]]
    client.delete_function(FunctionName=name)
    assert error_of(lambda: client.get_function(FunctionName=name))[:2] == ("ResourceNotFoundException", 404)
    assert error_of(lambda: _invoke(aws, name))[:2] == ("ResourceNotFoundException", 404)


def _pages(client: Any) -> Any:
    return client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})


def test_code_from_s3(aws: Aws, layer: str, bucket: str) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="code.zip", Body=_zip())
    name = _create(aws, layer, Code={"S3Bucket": bucket, "S3Key": "code.zip"})
    assert _invoke(aws, name)[0]["version"] == 1


def test_bad_requests_are_refused(aws: Aws, layer: str) -> None:
    client = aws.client("lambda")
    name = _create(aws, layer)
    assert error_of(lambda: _create(aws, layer, Code={"ZipFile": b"no zip"}))[0] == "InvalidParameterValueException"
    assert error_of(lambda: _create(aws, layer, Code={"ZipFile": _zip(name="../x.py")}))[0] == (
        "InvalidParameterValueException"
    )
    reserved = {"Variables": {"AWS_REGION": "x"}}
    code, status, message = error_of(lambda: _create(aws, layer, Environment=reserved))
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert "AWS_REGION" in message
    assert error_of(lambda: _create(aws, layer, Timeout=901))[0] == "InvalidParameterValueException"
    assert error_of(lambda: _create(aws, layer, Runtime="python9"))[0] == "ValidationException"
    for payload in (b"{not json", b'{"n": NaN}', b'{"n": -Infinity}', b"\xff", b"[" * 200_000):
        bad = error_of(lambda payload=payload: client.invoke(FunctionName=name, Payload=payload))
        assert bad[:2] == ("InvalidRequestContentException", 400)
    for payload in (b'{"n": ' + b"9" * 400 + b"}", b'{"name": "\\ud800"}'):
        passed = client.invoke(FunctionName=name, Payload=payload, InvocationType="DryRun")
        assert passed["StatusCode"] == 204
        assert passed["Payload"].read() == b""
    twice = error_of(
        lambda: client.create_function(
            FunctionName=name, Role=ROLE, Runtime="python3.13", Handler="a.b", Code={"ZipFile": _zip()}
        )
    )
    assert twice[:2] == ("ResourceConflictException", 409)


def test_functions_come_back_after_a_kill(own_aws: Aws, layer: str) -> None:
    name = _create(own_aws, layer)
    first = _invoke(own_aws, name)[0]["pid"]
    own_aws.kill()
    own_aws.start()
    assert _invoke(own_aws, name)[0]["pid"] != first
