"""The Lambda function against a local HTTP server that speaks as the SageMaker runtime does."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "infra/lambda/score.py"
ROWS = {"instances": [[1.0, 2.0], [3.0, None]]}


@dataclass
class Context:
    """What the function reads of Lambda's context: milliseconds left, one value a call, the last one for ever."""

    left_ms: list[int] = field(default_factory=lambda: [30_000])

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms.pop(0) if len(self.left_ms) > 1 else self.left_ms[0]


class Endpoint(ThreadingHTTPServer):
    """Answers from `answers` in turn, the last one for ever, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.asked: list[tuple[str, Any]] = []
        self.delay_seconds = 0.0
        # What the model tells of itself when it is asked; None: it was packaged before it could.
        self.features: list[str] | None = None
        self.version = "v3"
        self.described = 0

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        self.answers.append((status, {k.replace("_", "-"): v for k, v in headers.items()}, body))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if sent == {"describe": True}:
            status, headers, body = self._description()
        else:
            self.server.asked.append((self.path, sent))
            time.sleep(self.server.delay_seconds)
            answers = self.server.answers
            status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            pass  # the function gave up waiting

    def _description(self) -> tuple[int, dict[str, str], Any]:
        self.server.described += 1
        if self.server.features is None:
            said = {"OriginalStatusCode": 400, "OriginalMessage": '{"error": "The body must be rows."}'}
            return 424, {"x-amzn-errortype": "ModelError"}, said
        return 200, {}, {**good([]), "model_version": self.server.version, "features": self.server.features}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fraud_desk_score", SOURCE)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


Call = Callable[..., dict[str, Any]]


@pytest.fixture
def function(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{endpoint.server_address[1]}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("FRAUD_DESK_ENDPOINT", "fraud-desk")
    monkeypatch.syspath_prepend(str(SOURCE.parent))
    module = load()
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    yield module
    module.runtime.close()


@pytest.fixture
def call(function: ModuleType) -> Call:
    def call(event: Any, context: Context | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = function.handler(event, context or Context())
        json.dumps(answer, allow_nan=False)  # Lambda must be able to serialise it
        return answer

    return call


def good(scores: list[Any], contributions: Any = None) -> dict[str, Any]:
    return {"model_version": "v3", "features_version": "1", "scores": scores, "contributions": contributions}


def test_scores_come_with_the_model_that_gave_them(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(good([0.1, 0.9], [[0.1, -0.2], [1.0, 0.0]]))
    answer = call({"instances": [[1, float("nan")], [3.5, None]], "explain": True})
    assert answer["statusCode"] == 200
    latency_ms = answer["body"].pop("model_latency_ms")
    assert 0 < latency_ms < 5_000
    assert answer["body"] == good([0.1, 0.9], [[0.1, -0.2], [1.0, 0.0]])
    path, sent = endpoint.asked[0]
    assert path == "/endpoints/fraud-desk/invocations"
    assert sent == {"instances": [[1, None], [3.5, None]], "explain": True}


def test_contributions_are_left_out_unless_asked_for(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(good([0.1, 0.9], [[0.1, -0.2], [1.0, 0.0]]))
    assert call(ROWS)["body"]["contributions"] is None


def test_the_caller_cannot_choose_the_endpoint(call: Call, endpoint: Endpoint) -> None:
    answer = call({**ROWS, "EndpointName": "someone-elses"})
    assert answer == {
        "statusCode": 400,
        "body": {"error": "The event has fields that are not known: EndpointName."},
    }
    assert endpoint.asked == []


def test_without_an_endpoint_nothing_is_called(call: Call, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUD_DESK_ENDPOINT")
    assert call(ROWS)["statusCode"] == 502
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (None, "The event must be an object with 'instances', a list of rows."),
        ([], "The event must be an object with 'instances', a list of rows."),
        ({"instances": "x"}, "The event must be an object with 'instances', a list of rows."),
        ({"instances": []}, "Between 1 and 1,000 rows can be scored at once, got 0."),
        ({"instances": [[1.0]] * 1_001}, "Between 1 and 1,000 rows can be scored at once, got 1,001."),
        ({"instances": [1.0]}, "Row 0 must be a list of 1 to 1,000 numbers."),
        ({"instances": [[]]}, "Row 0 must be a list of 1 to 1,000 numbers."),
        ({"instances": [[1, 2], [1]]}, "Row 1 must be a list of 2 numbers like the first."),
        ({"instances": [[1, "2"]]}, "Feature 1 of row 0 must be a number or null."),
        ({"instances": [[1, True]]}, "Feature 1 of row 0 must be a number or null."),
        ({"instances": [[1, float("inf")]]}, "Feature 1 of row 0 is infinite or too large."),
        ({"instances": [[1, 10**400]]}, "Feature 1 of row 0 is infinite or too large."),
        ({"instances": [[1]], "explain": "yes"}, "'explain' must be true or false."),
    ],
)
def test_a_malformed_event_is_refused_before_the_model_is_asked(
    call: Call, endpoint: Endpoint, event: Any, sentence: str
) -> None:
    assert call(event) == {"statusCode": 400, "body": {"error": sentence}}
    assert endpoint.asked == []


def test_a_body_beyond_the_limit_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("score_event.MAX_BODY_BYTES", 40)
    answer = call({"instances": [[0.123456789] * 10]})
    assert answer["statusCode"] == 400
    assert "bytes long; at most 40" in answer["body"]["error"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (good([0.1]), "The model returned 1 scores for 2 rows."),
        (good([0.1, 1.2]), "The model returned a score outside 0 to 1."),
        (good([0.1, -0.1]), "The model returned a score outside 0 to 1."),
        (good([0.1, None]), "The model returned a score outside 0 to 1."),
        (b'{"scores": [0.1, NaN]}', "The model returned a score outside 0 to 1."),
        (good([True, 0.1]), "The model returned a score outside 0 to 1."),
        ({"predictions": [0.1, 0.2]}, "The model's answer has no scores."),
        ([0.1, 0.2], "The model's answer has no scores."),
        (b"<html>", "The model's answer is not JSON."),
    ],
)
def test_an_answer_that_does_not_fit_the_question_is_an_error(
    call: Call, endpoint: Endpoint, body: Any, sentence: str
) -> None:
    endpoint.says(body)
    assert call(ROWS) == {"statusCode": 502, "body": {"error": sentence}}


@pytest.mark.parametrize("contributions", [None, [[0.1, 0.2]], [[0.1], [0.2]], [[0.1, None], [0.1, 0.2]], [1, 2]])
def test_contributions_must_match_the_rows(call: Call, endpoint: Endpoint, contributions: Any) -> None:
    endpoint.says(good([0.1, 0.2], contributions))
    answer = call({**ROWS, "explain": True})
    assert answer == {"statusCode": 502, "body": {"error": "The model's contributions do not match the rows."}}


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"Code": code, "message": "m", **more}


def test_throttling_is_tried_once_more_and_then_said(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(error("ThrottlingException"), 400, x_amzn_errortype="ThrottlingException")
    answer = call(ROWS)
    assert answer["statusCode"] == 429
    assert len(endpoint.asked) == 2
    endpoint.answers.insert(0, (429, {}, error("Slow")))
    endpoint.answers[1:] = []
    endpoint.says(good([0.1, 0.2]))
    assert call(ROWS)["statusCode"] == 200


def test_a_model_that_fails_is_a_502_and_not_asked_again(call: Call, endpoint: Endpoint) -> None:
    endpoint.says({"OriginalStatusCode": 500, "OriginalMessage": "x"}, 424, x_amzn_errortype="ModelError")
    answer = call(ROWS)
    assert answer == {"statusCode": 502, "body": {"error": "The model failed with status 500."}}
    assert len(endpoint.asked) == 1


def test_rows_the_model_refuses_are_the_callers_error_in_the_models_words(call: Call, endpoint: Endpoint) -> None:
    said = {"OriginalStatusCode": 400, "OriginalMessage": '{"error": "Each row must have 40 features, got 2."}'}
    endpoint.says(said, 424, x_amzn_errortype="ModelError")
    assert call(ROWS) == {"statusCode": 400, "body": {"error": "Each row must have 40 features, got 2."}}


def test_an_unknown_endpoint_is_not_the_callers_mistake(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(error("ValidationError"), 400, x_amzn_errortype="ValidationError")
    assert call(ROWS)["statusCode"] == 502


def test_an_endpoint_that_is_down_is_a_502(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(error("ServiceUnavailable"), 503, x_amzn_errortype="ServiceUnavailable")
    answer = call(ROWS)
    assert answer["statusCode"] == 502
    assert len(endpoint.asked) == 2


def test_nobody_listening_is_a_502(monkeypatch: pytest.MonkeyPatch, function: ModuleType, endpoint: Endpoint) -> None:
    endpoint.shutdown()
    endpoint.server_close()
    answer = function.handler(ROWS, Context())
    assert answer["statusCode"] == 502
    assert "cannot be reached" in answer["body"]["error"]


def test_a_model_that_does_not_answer_is_a_504(endpoint: Endpoint, function: ModuleType) -> None:
    from botocore.config import Config

    slow = Config(connect_timeout=0.2, read_timeout=0.2, retries={"total_max_attempts": 1})
    function.runtime.close()
    function.runtime = function.boto3.client("sagemaker-runtime", config=slow)
    endpoint.delay_seconds = 0.6
    endpoint.says(good([0.1, 0.2]))
    answer = function.handler(ROWS, Context())
    assert answer == {"statusCode": 504, "body": {"error": "The model did not answer in time."}}
    assert len(endpoint.asked) == 1


def test_the_model_is_not_asked_without_time_to_answer(call: Call, endpoint: Endpoint) -> None:
    answer = call(ROWS, Context([3_000]))
    assert answer["statusCode"] == 504
    assert endpoint.asked == []


def test_there_is_no_second_attempt_without_time_for_it(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(error("ThrottlingException"), 429)
    assert call(ROWS, Context([8_000, 8_000, 4_000]))["statusCode"] == 429
    assert len(endpoint.asked) == 1


PLAIN = {"endpoint_name": "fraud-desk", "input": [[1.0, 2.0]]}


def test_rows_of_another_width_than_the_models_are_refused_before_it_is_asked(call: Call, endpoint: Endpoint) -> None:
    endpoint.features = ["a", "b", "c"]
    answer = call(ROWS)
    assert answer == {"statusCode": 400, "body": {"error": "Each row must have 3 features, got 2."}}
    assert endpoint.asked == []


def test_the_models_features_are_asked_for_once(call: Call, endpoint: Endpoint) -> None:
    endpoint.features = ["a", "b"]
    endpoint.says(good([0.1, 0.9]))
    assert [call(ROWS)["statusCode"] for _ in range(3)] == [200] * 3
    assert endpoint.described == 1


def test_a_model_that_does_not_tell_its_features_checks_alone(call: Call, endpoint: Endpoint) -> None:
    endpoint.says(good([0.1, 0.9]))
    assert [call(ROWS)["statusCode"] for _ in range(3)] == [200] * 3
    assert endpoint.described == 1
    named = call({"instances": [{"a": 1.0}]})
    assert named["statusCode"] == 400
    assert "does not tell its features" in named["body"]["error"]


def test_features_by_name_are_put_in_the_models_order(call: Call, endpoint: Endpoint) -> None:
    endpoint.features = ["b", "a"]
    endpoint.says(good([0.1, 0.9]))
    assert call({"instances": [{"a": 1.0, "b": 2.0}, {"b": None, "a": 4}]})["statusCode"] == 200
    assert endpoint.asked[0][1]["instances"] == [[2.0, 1.0], [None, 4]]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"a": 1.0}, "Row 0 lacks b. A missing value is sent as null."),
        ({"a": 1, "b": 2, "c": 3}, "Row 0 has c, which the model does not know. A missing value is sent as null."),
        ({"a": "1", "b": 2}, "Feature a of row 0 must be a number or null."),
        ({}, "Row 0 must have 1 to 1,000 features."),
    ],
)
def test_features_by_name_must_be_exactly_the_models(
    call: Call, endpoint: Endpoint, row: dict[str, Any], sentence: str
) -> None:
    endpoint.features = ["b", "a"]
    assert call({"instances": [row]}) == {"statusCode": 400, "body": {"error": sentence}}
    assert endpoint.asked == []


def test_after_a_deployment_the_new_models_features_count(call: Call, endpoint: Endpoint) -> None:
    endpoint.features = ["a", "b"]
    endpoint.says(good([0.1, 0.9]))
    assert call(ROWS)["statusCode"] == 200
    endpoint.features, endpoint.version = ["a", "b", "c"], "v4"
    endpoint.answers[:] = []
    endpoint.says({**good([0.5]), "model_version": "v4"})
    assert call({"instances": [[1.0, 2.0, 3.0]]})["body"]["model_version"] == "v4"
    assert call(ROWS)["body"]["error"] == "Each row must have 3 features, got 2."


def test_features_by_name_are_not_scored_in_the_order_of_the_model_before(call: Call, endpoint: Endpoint) -> None:
    endpoint.features = ["a", "b"]
    endpoint.says({**good([0.1]), "model_version": "v4"})
    answer = call({"instances": [{"a": 1.0, "b": 2.0}]})
    assert answer == {
        "statusCode": 502,
        "body": {"error": "The model was replaced while it was asked; send the same again."},
    }


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ([1.0, None], [[1.0, None]]),
        ([[1.0, 2.0], [3, None]], [[1.0, 2.0], [3, None]]),
        ("1,\n3.5,4\n", [[1.0, None], [3.5, 4.0]]),
        ({"b": 2.0, "a": 1.0}, [[1.0, 2.0]]),
        ([{"a": 1.0, "b": 2.0}], [[1.0, 2.0]]),
        ({"instances": [[1.0, 2.0]]}, [[1.0, 2.0]]),
    ],
)
def test_the_plain_event_takes_rows_in_every_usual_form(
    call: Call, endpoint: Endpoint, given: Any, rows: list[Any]
) -> None:
    endpoint.features = ["a", "b"]
    endpoint.says(good([0.5] * len(rows)))
    answer = call({"endpoint_name": "fraud-desk", "input": given})
    assert answer["statusCode"] == 200
    assert answer["body"]["scores"] == [0.5] * len(rows)
    assert endpoint.asked == [("/endpoints/fraud-desk/invocations", {"instances": rows, "explain": False})]


def test_the_plain_event_reaches_only_endpoints_that_the_environment_allows(
    call: Call, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.says(good([0.5]))
    refused = call({**PLAIN, "endpoint_name": "someone-elses"})
    assert refused["statusCode"] == 400
    assert refused["body"]["error"] == "The endpoint 'someone-elses' is not one that this function may ask."
    assert (endpoint.asked, endpoint.described) == ([], 0)
    monkeypatch.setenv("FRAUD_DESK_ENDPOINT_ALIASES", "shadow, live=fraud-desk-eu")
    for alias in ("fraud-desk", "shadow", "live"):
        assert call({**PLAIN, "endpoint_name": alias})["statusCode"] == 200
    assert [path.split("/")[2] for path, _ in endpoint.asked] == ["fraud-desk", "shadow", "fraud-desk-eu"]
    assert call({**PLAIN, "endpoint_name": "fraud-desk-eu"})["statusCode"] == 400


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"input": [[1.0]]}, "The plain event needs 'endpoint_name', a text, and 'input'."),
        ({"endpoint_name": "fraud-desk"}, "The plain event needs 'endpoint_name', a text, and 'input'."),
        ({"endpoint_name": 7, "input": [[1.0]]}, "The plain event needs 'endpoint_name', a text, and 'input'."),
        ({**PLAIN, "instances": [[1.0]]}, "The event has fields that are not known: instances."),
        ({**PLAIN, "input": 7}, "'input' must be CSV text, a list of numbers, a list of rows, or features by name."),
        ({**PLAIN, "input": "a,b\n1,2"}, "Every cell of the CSV must be a number or empty, without a header."),
        ({**PLAIN, "input": ""}, "Between 1 and 1,000 rows can be scored at once, got 0."),
        ({**PLAIN, "input": [[1.0], {"a": 1.0}]}, "Row 1 must be a list of 1 numbers like the first."),
    ],
)
def test_a_plain_event_that_is_not_one_is_refused(
    call: Call, endpoint: Endpoint, event: dict[str, Any], sentence: str
) -> None:
    assert call(event) == {"statusCode": 400, "body": {"error": sentence}}
    assert endpoint.asked == []
