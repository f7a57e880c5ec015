"""What the Lambda function may be sent: rows, features by name, the plain event; everything else is refused."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.unit.lambda_endpoint import ROWS, Call, Endpoint, caller, good, loaded, serving


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


PLAIN = {"endpoint_name": "fraud-desk", "input": [[1.0, 2.0]]}


def test_the_caller_cannot_choose_the_endpoint(call: Call, endpoint: Endpoint) -> None:
    answer = call({**ROWS, "EndpointName": "someone-elses"})
    assert answer == {
        "statusCode": 400,
        "body": {"error": "The event has fields that are not known: EndpointName."},
    }
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
