"""What may be sent to `fraud-desk-score`, read strictly: rows of numbers, or the plain event {endpoint_name, input}.

Missing values are null (or NaN); absent fields are not missing values but mistakes, and infinities are refused.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

MAX_ROWS = 1_000
MAX_FEATURES = 1_000
MAX_BODY_BYTES = 4 * 1024 * 1024
_LARGEST = 3.4e38  # beyond, a number does not fit the model's float32
_FORM = "The event must be an object with 'instances', a list of rows."
_INPUT = "'input' must be CSV text, a list of numbers, a list of rows, or features by name."

Row = list[float | None]
Named = dict[str, float | None]


class Refused(Exception):
    """The answer is an error: an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str, *, transient: bool = False) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.transient = transient


@dataclass(frozen=True)
class Asked:
    """`rows` are all equally wide lists, or all objects {feature: value}; `alias` is what the plain event named."""

    rows: list[Row] | list[Named]
    explain: bool
    alias: str | None

    @property
    def named(self) -> bool:
        return isinstance(self.rows[0], dict)


def read_event(event: Any) -> Asked:
    """A well-formed event. Refused 400 otherwise, before anything is asked of the model."""
    if isinstance(event, dict) and ("endpoint_name" in event or "input" in event):
        known, alias = {"endpoint_name", "input", "explain"}, event.get("endpoint_name")
        if not isinstance(alias, str) or not alias or "input" not in event:
            raise Refused(400, "The plain event needs 'endpoint_name', a text, and 'input'.")
        instances = _instances(event["input"])
    else:
        if not isinstance(event, dict) or not isinstance(event.get("instances"), list):
            raise Refused(400, _FORM)
        known, alias, instances = {"instances", "explain"}, None, event["instances"]
    unknown = sorted(str(key)[:40] for key in event if key not in known)
    if unknown:
        raise Refused(400, f"The event has fields that are not known: {', '.join(unknown[:5])}.")
    explain = event.get("explain", False)
    if not isinstance(explain, bool):
        raise Refused(400, "'explain' must be true or false.")
    if not 1 <= len(instances) <= MAX_ROWS:
        raise Refused(400, f"Between 1 and {MAX_ROWS:,} rows can be scored at once, got {len(instances):,}.")
    if all(isinstance(row, dict) for row in instances):
        return Asked([_named(index, row) for index, row in enumerate(instances)], explain, alias)
    width = len(instances[0]) if isinstance(instances[0], list) else 0
    if not 1 <= width <= MAX_FEATURES:
        raise Refused(400, f"Row 0 must be a list of 1 to {MAX_FEATURES:,} numbers.")
    return Asked([_row(index, row, width) for index, row in enumerate(instances)], explain, alias)


def payload(rows: list[Row], *, explain: bool) -> bytes:
    """The request's body. Refused 400 where it is too large."""
    body = json.dumps({"instances": rows, "explain": explain}, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_BODY_BYTES:
        raise Refused(400, f"The rows are {len(body):,} bytes long; at most {MAX_BODY_BYTES:,} can be scored at once.")
    return body


def in_order(asked: Asked, features: list[str] | None) -> list[Row]:
    """The rows as lists in the model's order. `features`: its schema, None where it does not tell one.

    Refused 400 for another width, and for features by name that are not exactly the model's.
    """
    if not asked.named:
        rows = [row for row in asked.rows if isinstance(row, list)]
        if features is not None and len(rows[0]) != len(features):
            raise Refused(400, f"Each row must have {len(features)} features, got {len(rows[0])}.")
        return rows
    if features is None:
        raise Refused(400, "This model does not tell its features: send rows as lists in the model's order.")
    expected, ordered = set(features), []
    for index, row in enumerate(asked.rows):
        assert isinstance(row, dict)
        if row.keys() != expected:
            raise Refused(400, _difference(index, sorted(expected - row.keys()), sorted(row.keys() - expected)))
        ordered.append([row[name] for name in features])
    return ordered


def _difference(index: int, absent: list[str], unknown: list[str]) -> str:
    said = [f"lacks {', '.join(absent[:5])}{' and more' if len(absent) > 5 else ''}"] if absent else []
    said += [f"has {', '.join(unknown[:5])}, which the model does not know"] if unknown else []
    return f"Row {index} {' and '.join(said)}. A missing value is sent as null."


def _instances(given: Any) -> list[Any]:
    """The rows of a plain event's input."""
    if isinstance(given, str):
        return _csv(given)
    if isinstance(given, dict):
        return given["instances"] if list(given) == ["instances"] and isinstance(given["instances"], list) else [given]
    if not isinstance(given, list):
        raise Refused(400, _INPUT)
    if given and not any(isinstance(row, list | dict) for row in given):
        return [given]
    return given


def _csv(text: str) -> list[Row]:
    if len(text) > MAX_BODY_BYTES:
        raise Refused(
            400, f"'input' is {len(text):,} characters long; at most {MAX_BODY_BYTES:,} can be scored at once."
        )
    try:
        rows = [row for row in csv.reader(text.splitlines()) if row]
        return [[float(cell) if cell.strip() else None for cell in row] for row in rows]
    except (ValueError, csv.Error):
        raise Refused(400, "Every cell of the CSV must be a number or empty, without a header.") from None


def _row(index: int, row: Any, width: int) -> Row:
    """One row with missing values (null or NaN) as None."""
    if not isinstance(row, list) or len(row) != width:
        raise Refused(400, f"Row {index} must be a list of {width} numbers like the first.")
    return [_number(value, f"Feature {place} of row {index}") for place, value in enumerate(row)]


def _named(index: int, row: dict[Any, Any]) -> Named:
    if not 1 <= len(row) <= MAX_FEATURES:
        raise Refused(400, f"Row {index} must have 1 to {MAX_FEATURES:,} features.")
    return {str(name): _number(value, f"Feature {str(name)[:60]} of row {index}") for name, value in row.items()}


def _number(value: Any, what: str) -> float | None:
    if value is None or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(400, f"{what} must be a number or null.")
    if abs(value) > _LARGEST:
        raise Refused(400, f"{what} is infinite or too large.")
    return value
