"""What an endpoint can do wrong, over HTTP and the real SDK, and what the scorer makes of it: it waits, asks again,
and writes only what the model said."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from services.adapters.mongo.scoring_feed import FeedBatch, ScoredWrite
from services.adapters.sagemaker_runtime import SageMakerRuntime
from services.breaker import Breaker
from services.domain.thresholds import Thresholds
from services.endpoint import DEPENDENCY, LEFT_ALONE, NOT_SCORED
from services.endpoint import Endpoint as Asking
from services.scoring import Scoring
from services.worker_status import Reporter, WorkerStatus
from tests.records import document
from tests.unit.lambda_endpoint import Endpoint, good, serving
from workers.scorer import Scorer

GOOD = good([0.25, 0.125])
MODEL_ERROR = {"OriginalStatusCode": 500, "OriginalMessage": "x"}
Fault = tuple[Any, int, dict[str, str]]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    with serving() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield server


class Clock(threading.Event):
    """The scorer's stop: every wait ends at once and counts as half a second."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += 0.5
        return self.is_set()


class Once:
    """A feed of one batch of two transactions, and the entities; `committed` are the calls of commit."""

    def __init__(self, stop: Clock) -> None:
        self._stop = stop
        self.committed: list[Sequence[ScoredWrite]] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def read(self, limit: int) -> FeedBatch:
        return FeedBatch((("transactions", document("t-1")), ("transactions", document("t-2"))), {"_data": "1"})

    def commit(self, token: Mapping[str, Any], *, states: Mapping[str, Any], writes: Sequence[ScoredWrite]) -> int:
        self.committed.append(writes)
        self._stop.set()
        return len(writes)

    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        return {}

    def transactions(self, ids: Sequence[str]) -> dict[str, Any]:
        return {}

    def for_version(self, model_version: str) -> Thresholds:
        return Thresholds(model_version, 0.5, 0.9)


class Status:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def get(self, name: str) -> WorkerStatus | None:
        return None

    def all(self) -> tuple[WorkerStatus, ...]:
        return ()

    def put(self, status: WorkerStatus) -> None:
        if status.last_error and status.last_error not in self.errors[-1:]:
            self.errors.append(status.last_error)


def scored(read_seconds: float = 5.0) -> tuple[list[float], list[str]]:
    """The scores that one scorer commits, and what it said while it could not."""
    stop = Clock()
    feed, status = Once(stop), Status()
    runtime = SageMakerRuntime(region="eu-central-1", read_seconds=read_seconds, attempts=1)
    breaker = Breaker(LEFT_ALONE, dependency=DEPENDENCY, clock=lambda: stop.now)
    asking = Asking(runtime=runtime, name="fraud-desk", breaker=breaker)
    Scorer(feed, feed, Scoring(asking, feed), Reporter("scorer", status)).run(stop)
    runtime._client.close()
    (writes,) = feed.committed
    assert [write.transaction_id for write in writes] == ["t-1", "t-2"]
    return [write.changes["score"]["value"] for write in writes], status.errors


@pytest.mark.parametrize(
    "fault",
    [
        ({"Code": "ThrottlingException"}, 400, {"x_amzn_errortype": "ThrottlingException"}),
        ({"Code": "ServiceUnavailable"}, 503, {"x_amzn_errortype": "ServiceUnavailable"}),
        ({}, 429, {}),
        (MODEL_ERROR, 424, {"x_amzn_errortype": "ModelError"}),
        (b'{"model_version": "v3", "features_version": "1", "scores": [0.25, NaN]}', 200, {}),
        (good([0.25, 1.7]), 200, {}),
        (good([0.25]), 200, {}),
        (b"<html><body>502 Bad Gateway</body></html>", 200, {}),
        (b"<html><body>502 Bad Gateway</body></html>", 502, {}),
        (b"", 200, {}),
    ],
    ids=["throttled", "unavailable", "429", "424", "NaN", "1.7", "too few", "HTML", "HTML and 502", "empty"],
)
def test_whatever_is_no_score_is_asked_again_and_never_written(endpoint: Endpoint, fault: Fault) -> None:
    body, status, headers = fault
    endpoint.says(body, status, **headers)
    endpoint.says(GOOD)
    scores, said = scored()
    assert scores == [0.25, 0.125]
    (sentence,) = said
    assert sentence.startswith(NOT_SCORED)
    assert sentence.endswith("Transactions wait unscored.")
    assert "<html>" not in sentence
    assert len(endpoint.asked) == 2


def test_a_model_that_answers_too_late_is_asked_again(endpoint: Endpoint) -> None:
    endpoint.says(GOOD)
    endpoint.delays = [0.5]
    scores, said = scored(read_seconds=0.1)
    assert scores == [0.25, 0.125]
    assert said[0].startswith(f"{NOT_SCORED}: it is not reachable.")


def test_after_five_failures_the_model_is_left_alone_for_the_pause_and_nothing_is_lost(endpoint: Endpoint) -> None:
    for _ in range(7):
        endpoint.says(b"<html>")
    endpoint.says(GOOD)
    scores, said = scored()
    assert scores == [0.25, 0.125]
    assert len(endpoint.asked) == 8, "while it is left alone nobody asks"
    assert [LEFT_ALONE in sentence for sentence in said] == [False, True] * 3
    assert all(sentence.startswith(NOT_SCORED) for sentence in said)
