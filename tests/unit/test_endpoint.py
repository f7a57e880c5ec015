from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest

from services.breaker import Breaker
from services.endpoint import MAX_ROWS, NOT_SCORED, Endpoint
from services.errors import InvalidData, Unavailable

GOOD: dict[str, Any] = {"model_version": "v3", "features_version": "1", "scores": [0.0, 1.0], "contributions": None}


class Runtime:
    def __init__(self, answer: Any) -> None:
        self.answer = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        self.bodies: list[bytes] = []

    def invoke(self, endpoint: str, body: bytes) -> bytes:
        self.bodies.append(body)
        return self.answer


def score(answer: Any, rows: Any = ((1.0, 2.0), (3.0, 4.0)), explain: bool | float = False) -> Any:
    return Endpoint(runtime=Runtime(answer), name="fraud-desk").score(rows, explain=explain)


def test_scores_come_back_in_order_with_the_versions() -> None:
    answer = score(GOOD)
    assert answer.scores == (0.0, 1.0)
    assert (answer.model_version, answer.features_version, answer.contributions) == ("v3", "1", None)
    assert answer.latency_ms >= 0


def test_missing_values_travel_as_null() -> None:
    runtime = Runtime(GOOD)
    Endpoint(runtime=runtime, name="e").score(np.array([[math.nan, 1.5], [2, 3]], dtype=np.float32))
    assert orjson.loads(runtime.bodies[0]) == {"instances": [[None, 1.5], [2, 3]], "explain": False}


def test_an_infinite_feature_is_refused_before_it_could_pass_for_a_missing_one() -> None:
    runtime = Runtime(GOOD)
    with pytest.raises(InvalidData) as refused:
        Endpoint(runtime=runtime, name="e").score([[1, 2], [3, -math.inf]])
    assert [(p.row, p.field) for p in refused.value.problems] == [(1, "feature 1")]
    assert runtime.bodies == []


@pytest.mark.parametrize("rows", [[], [[]], [[1, 2], [3]], [["x", 1]], [1, 2], [[1.0]] * (MAX_ROWS + 1)])
def test_what_is_no_matrix_is_refused(rows: Any) -> None:
    with pytest.raises(InvalidData):
        score(GOOD, rows=rows)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>502</html>",
        b"",
        b"NaN",
        [],
        GOOD | {"scores": [0.5]},
        GOOD | {"scores": [0.5, 0.5, 0.5]},
        GOOD | {"scores": [0.5, None]},
        GOOD | {"scores": [0.5, 1.7]},
        GOOD | {"scores": [0.5, -0.1]},
        GOOD | {"scores": [0.5, "0.5"]},
        GOOD | {"scores": [0.5, True]},
        GOOD | {"scores": None},
        b'{"model_version":"v3","features_version":"1","scores":[0.5,NaN]}',
        GOOD | {"model_version": ""},
        {k: v for k, v in GOOD.items() if k != "features_version"},
    ],
)
def test_an_answer_without_a_usable_score_for_every_row_is_no_answer(answer: Any) -> None:
    with pytest.raises(Unavailable) as refused:
        score(answer)
    assert refused.value.message.startswith(NOT_SCORED)
    assert refused.value.dependency == "the model endpoint"


@pytest.mark.parametrize("contributions", [None, [[1.0, 2.0]], [[1.0, 2.0], [1.0]], [[1.0, 2.0], [1.0, None]]])
def test_asked_for_reasons_every_row_needs_them(contributions: Any) -> None:
    with pytest.raises(Unavailable):
        score(GOOD | {"contributions": contributions}, explain=True)


def test_contributions_are_one_number_a_feature() -> None:
    answer = score(GOOD | {"contributions": [[0.5, -1], [0, 2]]}, explain=True)
    assert answer.contributions == ((0.5, -1.0), (0.0, 2.0))


@pytest.mark.parametrize("contributions", [None, [None, [0, 2]], [[0.5, -1], None]])
def test_reasons_from_a_score_on_are_those_that_came(contributions: Any) -> None:
    answer = score(GOOD | {"contributions": contributions}, explain=0.5)
    assert answer.contributions == (None if contributions is None else tuple(c and tuple(c) for c in contributions))
    with pytest.raises(Unavailable):
        score(GOOD | {"contributions": [[0.5, -1]]}, explain=0.5)


@pytest.mark.parametrize("value", [1e300, 10**400, -math.inf])
def test_what_does_not_fit_the_models_float32_is_refused(value: float) -> None:
    with pytest.raises(InvalidData, match="infinite or too large"):
        score(GOOD, rows=[[1.0, value]])


def test_what_is_sent_is_what_the_model_reads_in_its_shortest_form() -> None:
    runtime = Runtime(GOOD)
    Endpoint(runtime=runtime, name="e").score([[0.1, 1 / 3], [1.0, 2.5]])
    assert runtime.bodies[0] == b'{"instances":[[0.1,0.33333334],[1.0,2.5]],"explain":false}'
    assert np.float32(0.33333334) == np.float32(1 / 3)


def test_after_several_failures_the_model_is_left_alone_and_then_asked_by_one_caller() -> None:
    now = [0.0]
    breaker = Breaker(
        "Left alone.", dependency="the model endpoint", failures=3, pause_seconds=2.0, clock=lambda: now[0]
    )
    runtime = Runtime(b"<html>502</html>")
    endpoint = Endpoint(runtime=runtime, name="e", breaker=breaker)

    def said() -> str:
        with pytest.raises(Unavailable) as failed:
            endpoint.score([[1.0], [2.0]])
        return str(failed.value)

    assert [said()[:26] for _ in range(3)] == [f"{NOT_SCORED}: i"[:26]] * 3
    assert len(runtime.bodies) == 3
    assert (said(), len(runtime.bodies)) == ("Left alone.", 3)
    now[0] = 2.0
    assert said() != "Left alone."
    assert (said(), len(runtime.bodies)) == ("Left alone.", 4)
    now[0] = 4.0
    runtime.answer = orjson.dumps(GOOD)
    assert endpoint.score([[1.0], [2.0]]).scores == (0.0, 1.0)
    assert endpoint.score([[1.0], [2.0]]).scores == (0.0, 1.0)


def test_rows_that_the_model_refuses_do_not_open_the_breaker() -> None:
    class Refusing(Runtime):
        def invoke(self, endpoint: str, body: bytes) -> bytes:
            super().invoke(endpoint, body)
            raise InvalidData("The model refused these rows: x")

    runtime = Refusing(GOOD)
    endpoint = Endpoint(runtime=runtime, name="e")
    for _ in range(20):
        with pytest.raises(InvalidData):
            endpoint.score([[1.0]])
    assert len(runtime.bodies) == 20
