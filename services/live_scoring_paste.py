"""Pasted JSON -> records. One object, a list of them, or one a line; everything that is wrong is told at once. What a
sender would give the front door can be pasted as it is: {"transactions": [..]}, or {"source": [..]} with rows in the
columns of the desk's own mapping.

JSON has no NaN and no Infinity, and neither has a score: they are refused with their place, as are members named
twice, of which a reader could only keep one.
"""

from __future__ import annotations

import json
import math
from typing import Any

from services.errors import InvalidData, Problem
from services.live_scoring import MAX_ROWS
from services.mapped_rows import SourceRows

MAX_CHARACTERS = 4_000_000


class _Strange:
    """What stands in the text in place of a value that JSON does not have."""

    def __init__(self, text: str) -> None:
        self.text = text


def records_of(text: str, source: SourceRows | None = None) -> list[Any]:
    """The records; `source` reads rows in the source's columns.

    Raises InvalidData with every problem: where the JSON ends being JSON, or the fields that hold NaN, Infinity, a
    number too large, or are named twice.
    """
    if not text.strip():
        raise InvalidData("There is nothing to score: paste one payment as a JSON object, or a list of them.")
    if len(text) > MAX_CHARACTERS:
        raise InvalidData(f"This is {len(text):,} characters; at most {MAX_CHARACTERS:,} are read. Send it as a file.")
    found, of_source = _event(_parsed(text))
    records = [found] if isinstance(found, _Pairs) or not isinstance(found, list) else found
    if not records:
        raise InvalidData("The list is empty; there is nothing to score.")
    if len(records) > MAX_ROWS:
        raise InvalidData(f"These are {len(records):,} records; at most {MAX_ROWS:,} at once. Send them as a file.")
    problems: list[Problem] = []
    for row, record in enumerate(records):
        _look(record, row, "", problems)
    if problems:
        bad = len({problem.row for problem in problems})
        raise InvalidData(f"{bad} of {len(records)} records hold what is no JSON; nothing was scored.", problems)
    made = [_plain(record) for record in records]
    return _read(made, source) if of_source else made


def _event(found: Any) -> tuple[Any, bool]:
    """What the front door would take, whole: its list, and whether that is of rows in the source's columns."""
    if isinstance(found, _Pairs) and len(found) == 1 and isinstance(found[0][1], list):
        name, rows = found[0]
        if name in ("source", "transactions") and not isinstance(rows, _Pairs):
            return rows, name == "source"
    return found, False


def _read(rows: list[Any], source: SourceRows | None) -> list[Any]:
    if source is None:
        raise InvalidData("This desk has no mapping of data: paste payments in its own fields.")
    read = source.read(rows)
    if read.problems:
        bad = len(rows) - len(read.records)
        raise InvalidData(f"{bad} of {len(rows)} rows cannot be scored; nothing was scored.", read.problems)
    return list(read.records)


def _parsed(text: str) -> Any:
    try:
        return _decoded(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if error.msg != "Extra data" or len(lines) < 2:
            raise _no_json(error) from error
    except RecursionError as error:
        raise InvalidData("The JSON is nested too deeply.") from error
    records, problems = [], []
    for number, line in enumerate(lines):
        try:
            records.append(_decoded(line))
        except json.JSONDecodeError as error:
            problems.append(Problem(number, "", f"is no JSON: {error.msg} (character {error.colno})"))
    if problems:
        raise InvalidData(f"{len(problems)} of {len(lines)} lines are no JSON; nothing was scored.", problems)
    return records


def _decoded(text: str) -> Any:
    return json.loads(text, parse_constant=_Strange, object_pairs_hook=_Pairs)


def _no_json(error: json.JSONDecodeError) -> InvalidData:
    place = f"line {error.lineno}, character {error.colno}"
    return InvalidData(f"This is no JSON: {error.msg} at {place}. Nothing was scored.")


class _Pairs(list[tuple[str, Any]]):
    """An object as its members in order, also those named twice."""


def _look(value: Any, row: int, path: str, problems: list[Problem]) -> None:
    if isinstance(value, _Strange):
        problems.append(Problem(row, path, f"is {value.text}, which is no number of JSON; leave the field out"))
    elif isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(row, path, "is a number too large to be told"))
    elif isinstance(value, _Pairs):
        names = [name for name, _ in value]
        doubles = sorted({name for name in names if names.count(name) > 1})
        problems += [Problem(row, f"{path}.{name}".lstrip("."), "is there twice") for name in doubles]
        for name, member in value:
            _look(member, row, f"{path}.{name}".lstrip("."), problems)
    elif isinstance(value, list):
        for place, member in enumerate(value):
            _look(member, row, f"{path}[{place}]", problems)


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(member) for name, member in value}
    return [_plain(member) for member in value] if isinstance(value, list) else value
