"""The Lambda function and its model: what it asks, what it makes of every answer, and of none."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.unit.lambda_endpoint import ROWS, Call, Context, Endpoint, caller, good, loaded, serving


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


@pytest.fixture
def function(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with loaded(endpoint, monkeypatch) as module:
        yield module


@pytest.fixture
def call(function: ModuleType) -> Call:
    return caller(function)


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


def test_without_an_endpoint_nothing_is_called(call: Call, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAUD_DESK_ENDPOINT")
    assert call(ROWS)["statusCode"] == 502
    assert endpoint.asked == []


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
