"""Rows of numbers as they travel: CSV, JSON and JSON Lines in and out of the container.

One rule for what is missing, in every format: NaN, null and an empty cell are missing values; an infinity, or a number
too large for float32, is refused, never read as missing. Texts and booleans are no numbers. Every answer says the
versions: as fields in JSON, as a field of every line in JSON Lines, as the second column in CSV.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"
_KINDS = {JSON: JSON, CSV: CSV, LINES: LINES, "application/x-ndjson": LINES}
_TOO_LARGE = "A feature is infinite or too large; only missing (NaN) is allowed."
_NUMBERS = {float, int, type(None)}


class BadRequest(ValueError):
    """The request cannot be scored; the message is one sentence for its sender."""


@dataclass(frozen=True)
class Batch:
    """Rows to score: [n, f] float32 with nan for missing; `explain` asks for contributions, `explain_from` for those of
    the rows whose score is at least that. A batch without rows asks which features the model takes.
    """

    matrix: NDArray[np.float32]
    explain: bool
    explain_from: float | None = None

    @property
    def describe(self) -> bool:
        return not len(self.matrix)

    def wants(self, scored: Answer) -> bool:
        """Whether contributions belong to the answer."""
        since = self.explain_from
        return self.explain or (since is not None and bool((scored.scores >= since).any()))


@dataclass(frozen=True)
class Answer:
    """scores [n] float64 from 0 to 1; contributions [n, f] float32 in log-odds, without the bias, or None. Where only
    some rows are explained, `explained` has their places and contributions are [len(explained), f].

    engine: what computed the scores, `onnxruntime` or `xgboost`. features: the names in matrix order, when asked for.
    """

    scores: NDArray[np.float64]
    contributions: NDArray[np.float32] | None
    model_version: str
    features_version: str
    engine: str
    features: tuple[str, ...] | None = None
    explained: tuple[int, ...] | None = None

    def terms(self) -> list[NDArray[np.float32] | None]:
        """The contributions row by row, None where there are none."""
        if self.contributions is None:
            return [None] * len(self.scores)
        if self.explained is None:
            return list(self.contributions)
        told = dict(zip(self.explained, self.contributions, strict=True))
        return [told.get(row) for row in range(len(self.scores))]


def read_rows(body: str | bytes, content_type: str) -> Batch:
    """A request's body as rows. Contributions can only be asked for in JSON. Raises BadRequest."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise BadRequest(f"The content type must be one of {JSON}, {CSV}, {LINES}, got '{kind[:60]}'.")
    try:
        text = body.decode("utf-8") if isinstance(body, bytes | bytearray) else body
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None
    if _KINDS[kind] == JSON:
        return _from_json(text)
    if _KINDS[kind] == LINES:
        return Batch(_matrix(_lines(text)), False)
    return Batch(_matrix(_csv_rows(text)), False)


def accepted(accept: str) -> str | None:
    """The format to answer in: the first known one of an Accept header, JSON for none or */*; None: none is known."""
    if not accept or accept == JSON:
        return JSON
    for wanted in accept.split(","):
        kind = wanted.partition(";")[0].strip().lower()
        if kind in ("*/*", "application/*"):
            return JSON
        if kind in _KINDS:
            return _KINDS[kind]
    return None


def write_answer(answer: Answer, kind: str) -> bytes:
    """`kind` is one of JSON, CSV, LINES. CSV is `score,model_version` a line, without a header and contributions."""
    if kind == CSV:
        return "".join(f"{score!r},{answer.model_version}\n" for score in answer.scores.tolist()).encode()
    if kind == LINES:
        return "\n".join([*_answer_lines(answer), ""]).encode()
    head: dict[str, Any] = {
        "model_version": answer.model_version,
        "features_version": answer.features_version,
        "engine": answer.engine,
        **({} if answer.features is None else {"features": answer.features}),
        "scores": answer.scores.tolist(),
        "contributions": None,
    }
    text = json.dumps(head, separators=(",", ":"))
    if answer.contributions is not None:
        # Row by row: one long call of the encoder would hold the interpreter, and requests wait, for its whole length.
        rows = ",".join("null" if t is None else json.dumps(t.tolist(), separators=(",", ":")) for t in answer.terms())
        text = text[: -len("null}")] + f"[{rows}]}}"
    return text.encode()


def _answer_lines(answer: Answer) -> Iterable[str]:
    common = {"model_version": answer.model_version, "features_version": answer.features_version}
    for score, terms in zip(answer.scores.tolist(), answer.terms(), strict=True):
        line: dict[str, Any] = {"score": score, **common, "engine": answer.engine}
        if terms is not None:
            line["contributions"] = terms.tolist()
        yield json.dumps(line, separators=(",", ":"))


def _from_json(text: str) -> Batch:
    request = _parsed(text, "The body is not JSON.")
    if request == {"describe": True}:
        return Batch(np.empty((0, 0), dtype=np.float32), False)
    if not isinstance(request, dict) or not isinstance(request.get("instances"), list):
        raise BadRequest('The body must be {"instances": [[number, ..], ..], "explain": true|false}.')
    explain = request.get("explain", False)
    if not isinstance(explain, bool):
        raise BadRequest("'explain' must be true or false.")
    since = request.get("explain_from")
    if since is not None and (isinstance(since, bool) or not isinstance(since, int | float) or since != since):
        raise BadRequest("'explain_from' must be a score, or null.")
    return Batch(_matrix(request["instances"]), explain, since)


def _parsed(text: str, refusal: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest(refusal) from None


def _lines(text: str) -> list[Any]:
    """A line is a list of numbers or {"features": [..]}; empty lines are passed over."""
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        row = _parsed(line, f"Line {number} is not JSON.")
        row = row.get("features") if isinstance(row, dict) else row
        if not isinstance(row, list):
            raise BadRequest(f'Line {number} must be a list of numbers or {{"features": [number, ..]}}.')
        rows.append(row)
    return rows


def _csv_rows(text: str) -> list[list[float]]:
    if "_" not in text:  # Python reads 1_000 as a number; CSV has no such thing
        try:
            return [list(map(float, line.split(","))) for line in text.splitlines()]
        except ValueError:
            pass  # an empty or quoted cell, read below
        try:
            return [[float(cell) if cell.strip() else np.nan for cell in row] for row in csv.reader(io.StringIO(text))]
        except (ValueError, csv.Error):
            pass
    raise BadRequest("Every cell of the CSV must be a number or empty, without a header.")


def _matrix(rows: list[Any]) -> NDArray[np.float32]:
    if not rows:
        raise BadRequest("There are no rows to score.")
    if not all(type(row) is list for row in rows):
        raise BadRequest("Every row must be a list of equally many numbers.")
    if len(set(map(len, rows))) > 1:
        raise BadRequest("Every row must be a list of equally many numbers.")
    if not set(map(type, chain.from_iterable(rows))) <= _NUMBERS:
        raise BadRequest("Every feature must be a number or null.")
    try:
        with np.errstate(over="ignore"):
            matrix = np.array(rows, dtype=np.float32)
    except OverflowError:  # an integer beyond every float
        raise BadRequest(_TOO_LARGE) from None
    if np.isinf(matrix).any():
        raise BadRequest(_TOO_LARGE)
    return matrix
