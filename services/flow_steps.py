"""Flows: what is done to the columns of transactions before a model sees them, as JSON that a person can read.

A flow is {"format": "fraud-desk-flow/1", "columns": [input columns], "steps": [{"do": kind, ...options}]}. Steps run in
order; each sees the columns as the steps before it left them. Columns that are still text or times after the last
step are not given to the model. This module knows the form of a flow, not how it is run (`services.flow_engine`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from services.errors import InvalidData, Problem

FORMAT = "fraud-desk-flow/1"
MAX_STEPS, MAX_COLUMNS, MAX_NAME, MAX_SQL = 100, 400, 80, 2_000
DATE_PARTS = ("hour", "weekday", "weekend", "day", "month")
TYPES = ("number", "text", "flag", "time")
FILLS = ("constant", "mean", "median", "mode")

Check = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One transform: `do` is a key of KINDS, `options` as that kind asks for them."""

    do: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """The column it works on; '' for steps on none or several."""
        return str(self.options.get("column", ""))


@dataclass(frozen=True, slots=True)
class Flow:
    """`columns` are the inputs: features of the plan and columns of `services.flow_inputs`, in the model's order."""

    columns: tuple[str, ...]
    steps: tuple[Step, ...] = ()


def _name(value: Any) -> str | None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        return f"must be a name of 1 to {MAX_NAME} printable characters"
    if value.startswith("__") or any(sign in value for sign in '[]<"'):
        return 'must not begin with two underscores nor contain [ ] < or "'
    return None


def _column(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "must name a column"


def _columns(value: Any) -> str | None:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        return "must list at least one column"
    return None


def _number(value: Any) -> str | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return None if good else "must be a number"


def _one_of(*words: str) -> Check:
    return lambda value: None if value in words else f"must be one of {', '.join(words)}"


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if good else f"must be a whole number from {low} to {high:,}"

    return check


def _edges(value: Any) -> str | None:
    if not isinstance(value, list) or not 1 <= len(value) <= 100 or any(_number(edge) for edge in value):
        return "must list 1 to 100 numbers"
    return None if all(a < b for a, b in pairwise(value)) else "must rise from one to the next"


def _shares(value: Any) -> str | None:
    good = isinstance(value, list) and len(value) == 2 and not any(_number(share) for share in value)
    return None if good and 0 <= value[0] < value[1] <= 1 else "must be two shares, rising, from 0 to 1"


def _parts(value: Any) -> str | None:
    known = isinstance(value, list) and value and all(part in DATE_PARTS for part in value)
    return None if known and len(set(value)) == len(value) else f"must list some of {', '.join(DATE_PARTS)}, each once"


def _sql(value: Any) -> str | None:
    good = isinstance(value, str) and 1 <= len(value.strip()) <= MAX_SQL
    return None if good else f"must be an expression of 1 to {MAX_SQL:,} characters"


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return None if len(value) <= MAX_NAME else f"must have at most {MAX_NAME} characters"
    return _number(value) and "must be a number or a text"


@dataclass(frozen=True, slots=True)
class Kind:
    """A transform: what people call it, and the options it must and may have."""

    title: str
    needs: Mapping[str, Check]
    may: Mapping[str, Check] = field(default_factory=dict)


KINDS: Mapping[str, Kind] = {
    "drop": Kind("Drop columns", {"columns": _columns}),
    "keep": Kind("Keep only", {"columns": _columns}),
    "rename": Kind("Rename", {"column": _column, "to": _name}),
    "cast": Kind("Change type", {"column": _column, "to": _one_of(*TYPES)}),
    "impute": Kind("Fill missing", {"column": _column, "with": _one_of(*FILLS)}, {"value": _scalar}),
    "clip": Kind("Clip", {"column": _column}, {"low": _number, "high": _number, "quantiles": _shares}),
    "log": Kind("Logarithm", {"column": _column}),
    "bucket": Kind("Bucket", {"column": _column}, {"edges": _edges, "quantiles": _whole(2, 100)}),
    "one_hot": Kind("One-hot", {"column": _column}, {"most": _whole(1, 100)}),
    "target_encode": Kind(
        "Target-encode", {"column": _column}, {"smoothing": _number, "folds": _whole(2, 20), "to": _name}
    ),
    "date_parts": Kind("Date parts", {"column": _column, "parts": _parts}),
    "expression": Kind("SQL expression", {"to": _name, "sql": _sql}),
}


def read_flow(given: str | Mapping[str, Any]) -> Flow:
    """The flow of a JSON text or object. InvalidData lists every problem; `Problem.row` is the step, counted from 0."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise InvalidData(f"This is not JSON ({error}); nothing was imported.") from error
    if not isinstance(given, Mapping) or given.get("format") != FORMAT:
        raise InvalidData(f'This is not a flow of this desk: its "format" must be "{FORMAT}".')
    problems: list[Problem] = []
    columns, steps = given.get("columns"), given.get("steps", [])
    if _columns(columns) or not isinstance(columns, list) or len({c.lower() for c in columns}) != len(columns):
        problems.append(Problem(0, "columns", "must list at least one column, each once (capitals make no difference)"))
    if not isinstance(steps, list) or len(steps) > MAX_STEPS:
        problems.append(Problem(0, "steps", f"must be a list of at most {MAX_STEPS} steps"))
        steps = []
    for place, step in enumerate(steps):
        problems += _step_problems(place, step)
    if problems:
        raise InvalidData(f"The flow has {len(problems)} problem(s); nothing was imported.", problems)
    assert isinstance(columns, list)
    return Flow(tuple(columns), tuple(Step(s["do"], {k: v for k, v in s.items() if k != "do"}) for s in steps))


def as_json(flow: Flow) -> dict[str, Any]:
    """What `read_flow` reads."""
    return {
        "format": FORMAT,
        "columns": list(flow.columns),
        "steps": [{"do": step.do, **step.options} for step in flow.steps],
    }


def check_steps(steps: Sequence[Step]) -> tuple[Problem, ...]:
    """Everything wrong with the form of steps; whether their columns are there only the engine can tell."""
    return tuple(p for i, step in enumerate(steps) for p in _step_problems(i, {"do": step.do, **step.options}))


def _step_problems(place: int, step: Any) -> list[Problem]:
    if not isinstance(step, Mapping) or step.get("do") not in KINDS:
        return [Problem(place, "do", f"must be one of {', '.join(KINDS)}")]
    kind = KINDS[step["do"]]
    found = [Problem(place, key, "is missing") for key in kind.needs if key not in step]
    for key, value in step.items():
        check = kind.needs.get(key) or kind.may.get(key)
        if key != "do":
            message = check(value) if check else f"is not an option of {step['do']}"
            found += [Problem(place, key, message)] if message else []
    return found or [Problem(place, key, message) for key, message in _together(step)]


def _together(step: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What single options cannot tell."""
    if step["do"] == "impute" and ("value" in step) != (step["with"] == "constant"):
        return [("value", "must be given with constant and only then")]
    if step["do"] == "clip":
        low, high = step.get("low"), step.get("high")
        if ("quantiles" in step) == (low is not None or high is not None):
            return [("quantiles", "give either bounds or quantiles")]
        if low is not None and high is not None and low >= high:
            return [("low", "must be below high")]
    if step["do"] == "bucket" and ("edges" in step) == ("quantiles" in step):
        return [("edges", "give either edges or a number of quantiles")]
    if step["do"] == "target_encode" and step.get("smoothing", 1) < 0:
        return [("smoothing", "must not be negative")]
    return []


def words(step: Step) -> str:
    """A step in one line, as the list of steps shows it."""
    o = step.options
    if step.do in ("drop", "keep"):
        names = list(o["columns"])
        return (
            f"{KINDS[step.do].title}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        )
    tail = {
        "rename": lambda: f"to {o['to']}",
        "cast": lambda: f"to {o['to']}",
        "impute": lambda: f"with {o['value']}" if o["with"] == "constant" else f"with the {o['with']}",
        "clip": lambda: (
            "to the {:.1%} and {:.1%} quantiles".format(*o["quantiles"])
            if "quantiles" in o
            else f"to {o.get('low', '-∞')} … {o.get('high', '∞')}"
        ),
        "bucket": lambda: f"at {', '.join(f'{e:g}' for e in o['edges'])}" if "edges" in o else f"in {o['quantiles']}",
        "date_parts": lambda: ", ".join(o["parts"]),
        "expression": lambda: f"{o['to']} = {o['sql'].strip()}",
    }.get(step.do, lambda: "")()
    return f"{KINDS[step.do].title}: {f'{step.column} {tail}'.strip()}"


def hot_name(column: str, category: str) -> str:
    """The column of a category; signs that XGBoost does not take in names become underscores."""
    return f"{column}={category.translate(str.maketrans('[]<', '___'))}"
