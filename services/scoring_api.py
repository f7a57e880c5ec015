"""Scoring through the desk's own API (the Lambda function in front of the endpoint), as everybody outside would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.breaker import Breaker
from services.endpoint import DEPENDENCY, LEFT_ALONE, EndpointScores, feature_matrix, read_scores


class Functions(Protocol):
    def invoke(self, function: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a good answer; InvalidData or Unavailable."""
        ...


class ScoringApi:
    """`ScoringApi(functions=LambdaFunctions(...), function=settings.score_function)`. Satisfies `scoring.Scores`."""

    def __init__(self, *, functions: Functions, function: str) -> None:
        self._functions, self._function = functions, function
        self._breaker = Breaker(LEFT_ALONE, dependency=DEPENDENCY)

    def score(self, rows: Sequence[Sequence[float]], explain: bool | float = False) -> EndpointScores:
        """As `Endpoint.score`, but latency_ms is the time the API says its own call of the model took; and it has no
        question for the contributions of some rows: a number gets none."""
        matrix = feature_matrix(rows)
        rows_sent, features = matrix.shape
        with self._breaker.calling():
            body = self._functions.invoke(self._function, {"instances": matrix, "explain": explain is True})
            spent = body.get("model_latency_ms")
            latency_ms = float(spent) if isinstance(spent, int | float) and not isinstance(spent, bool) else 0.0
            return read_scores(body, rows=rows_sent, features=features, explain=explain, latency_ms=latency_ms)
