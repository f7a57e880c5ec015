"""Scoring a feature matrix with the deployed model, through the endpoint.

One call is one request of the model: it either answers every row with a usable number or the whole call fails.
Nothing here ever turns "no answer" into a score.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson

from services.breaker import Breaker
from services.errors import InvalidData, Problem, Unavailable

DEPENDENCY = "the model endpoint"
NOT_SCORED = "Not scored (the model did not answer)"
LEFT_ALONE = f"{NOT_SCORED}: it failed several times in a row and is asked again in a moment."
# An endpoint takes bodies of up to 6 MB; 2,000 rows of 100 features are about 2 MB of JSON.
MAX_ROWS = 2_000

Matrix = Sequence[Sequence[float]] | np.ndarray


@dataclass(frozen=True, slots=True)
class EndpointScores:
    """Answers in the order of the rows.

    scores: probability-like numbers in [0, 1]. contributions: per row one log-odds term per feature in matrix order,
    without the bias; None unless asked for, and of rows below the score from which they were asked for. latency_ms: the
    whole round trip as the caller saw it.
    """

    scores: tuple[float, ...]
    contributions: tuple[tuple[float, ...] | None, ...] | None
    model_version: str
    features_version: str
    latency_ms: float


class Runtime(Protocol):
    def invoke(self, endpoint: str, body: bytes) -> bytes:
        """Post JSON, return the JSON answer. InvalidData when the model refused the rows; Unavailable otherwise."""
        ...


class Endpoint:
    """`Endpoint(runtime=SageMakerRuntime(...), name=settings.endpoint_name)`."""

    def __init__(self, *, runtime: Runtime, name: str, breaker: Breaker | None = None) -> None:
        self._runtime, self._name = runtime, name
        self._breaker = breaker or Breaker(LEFT_ALONE, dependency=DEPENDENCY)

    def score(self, rows: Matrix, explain: bool | float = False) -> EndpointScores:
        """Score `rows` (n x features, n from 1 to 2,000). NaN means missing and travels as null; JSON has no NaN.

        `explain`: contributions of all rows, or, a number, of those with at least that score. Models made before there
        was such a question answer it without contributions.
        Raises InvalidData when the rows themselves are at fault (ragged, infinite, or refused by the model with a
        4xx: one poisoned record spoils its batch, so try the rows one by one), and Unavailable when the model did not
        answer or answered something that is not a score for every row; after five such answers in a row at once, for
        two seconds, without asking.
        """
        matrix = feature_matrix(rows)
        asked = {"explain": explain} if isinstance(explain, bool) else {"explain": False, "explain_from": explain}
        body = orjson.dumps({"instances": matrix, **asked}, option=orjson.OPT_SERIALIZE_NUMPY)
        with self._breaker.calling():
            started = time.perf_counter()
            answer = self._runtime.invoke(self._name, body)
            latency_ms = (time.perf_counter() - started) * 1000
            try:
                document = orjson.loads(answer)
            except orjson.JSONDecodeError as error:
                raise _unusable("its answer is not JSON") from error
            return read_scores(
                document, rows=matrix.shape[0], features=matrix.shape[1], explain=explain, latency_ms=latency_ms
            )


def feature_matrix(rows: Matrix) -> np.ndarray:
    """The rows as an n x features float32 array the model can be asked about, or InvalidData.

    float32 is what the model reads; its shortest decimals are half as long to send and to read.
    """
    try:
        with np.errstate(over="ignore"):
            matrix = np.ascontiguousarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidData("The feature matrix must hold numbers, as many in every row.") from error
    except OverflowError as error:  # a whole number beyond every float
        raise InvalidData("A feature is infinite or too large, which no model can score.") from error
    if matrix.ndim != 2 or not matrix.size:
        raise InvalidData("The feature matrix must have rows and columns.")
    if matrix.shape[0] > MAX_ROWS:
        raise InvalidData(f"At most {MAX_ROWS:,} rows can be scored at once; these are {matrix.shape[0]:,}.")
    infinite = np.isinf(matrix)
    if infinite.any():  # must be caught here: as JSON an infinity would look like a missing value
        places = np.argwhere(infinite)[:100]
        problems = [Problem(int(r), f"feature {int(c)}", "is infinite or too large") for r, c in places]
        raise InvalidData("A feature is infinite or too large, which no model can score.", problems)
    return matrix


def read_scores(document: Any, *, rows: int, features: int, explain: bool | float, latency_ms: float) -> EndpointScores:
    """Check a decoded answer of the model against what was asked; Unavailable unless every row got a usable number."""
    if not isinstance(document, dict):
        raise _unusable("its answer is not an object")
    scores = _numbers(document.get("scores"), length=rows, what="score")
    if any(not 0.0 <= score <= 1.0 for score in scores):
        raise _unusable("a score is outside 0 to 1")
    contributions: tuple[tuple[float, ...] | None, ...] | None = None
    held = document.get("contributions")
    if explain is True or (explain is not False and held is not None):
        if not isinstance(held, list) or len(held) != rows:
            raise _unusable("contributions are missing")
        contributions = tuple(
            None if row is None and explain is not True else _numbers(row, length=features, what="contribution")
            for row in held
        )
    version, features_version = document.get("model_version"), document.get("features_version")
    if not (isinstance(version, str) and version and isinstance(features_version, str)):
        raise _unusable("it does not say which version it is")
    return EndpointScores(scores, contributions, version, features_version, latency_ms)


def _numbers(held: Any, *, length: int, what: str) -> tuple[float, ...]:
    if not isinstance(held, list) or len(held) != length:
        raise _unusable(f"there is not one {what} for every value asked")
    for value in held:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _unusable(f"a {what} is not a finite number")
    return tuple(float(value) for value in held)


def _unusable(why: str) -> Unavailable:
    return Unavailable(f"{NOT_SCORED}: {why}.", dependency=DEPENDENCY)
