"""A step as SQL: the columns after it, each as an expression over the columns before it. Pure text.

Names and texts are quoted here and nowhere else; an expression of a person comes in only through
`flow_sandbox.check_expression`. Missing is NULL everywhere; a step keeps missing values missing unless it is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.errors import InvalidData
from services.flow_sandbox import check_expression
from services.flow_steps import Step, hot_name

Fit = Mapping[str, Any]
Columns = list[tuple[str, str]]

_CAST = {"number": "DOUBLE", "text": "VARCHAR", "flag": "BOOLEAN", "time": "TIMESTAMP"}
_PARTS = {
    "hour": "date_part('hour', {0})",
    "weekday": "date_part('isodow', {0})",
    "weekend": "CASE WHEN date_part('isodow', {0}) >= 6 THEN 1 ELSE 0 * date_part('isodow', {0}) END",
    "day": "date_part('day', {0})",
    "month": "date_part('month', {0})",
}


def name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def literal(value: str | float | bool) -> str:
    """Numbers so that DuckDB reads the very same double."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"{float(value)!r}::DOUBLE"


def layer(step: Step, fit: Fit, columns: Sequence[str]) -> Columns:
    """(name, SQL) of every column after the step, in order. InvalidData, one sentence, where it cannot be."""
    o, kept = step.options, list(columns)
    if step.do in ("drop", "keep"):
        _known(o["columns"], columns)
        left = [c for c in columns if (c in o["columns"]) == (step.do == "keep")]
        if not left:
            raise InvalidData("No column would be left.")
        return [(c, name(c)) for c in left]
    if step.do == "expression":
        check_expression(o["sql"], columns)
        made = f"TRY((\n{o['sql']}\n))"
        if fit["floating"]:  # an infinity or NaN is no value: later steps may fill it
            made = f"CASE WHEN isfinite({made}) THEN {made} END"
        out = [(c, made if c == o["to"] else name(c)) for c in columns]
        return _once(out if o["to"] in kept else [*out, (o["to"], made)])
    _known([step.column], columns)
    made_of = _made(step, fit)
    out = []
    for c in columns:
        out += made_of if c == step.column else [(c, name(c))]
    return _once(out)


def _once(columns: Columns) -> Columns:
    """DuckDB takes names that differ in capitals for one."""
    lowered = [column.lower() for column, _ in columns]
    if len(set(lowered)) < len(lowered):
        twice = next(c for c, low in zip(columns, lowered, strict=True) if lowered.count(low) > 1)
        raise InvalidData(f"There is already a column {twice[0]}.")
    return columns


def _made(step: Step, fit: Fit) -> Columns:
    """What stands in the place of the step's column."""
    o, column = step.options, step.column
    quoted = name(column)
    if step.do == "rename":
        return [(o["to"], quoted)]
    if step.do == "cast":
        return [(column, f"TRY_CAST({quoted} AS {_CAST[o['to']]})")]
    if step.do == "impute":
        return [(column, f"coalesce({quoted}, {literal(fit['value'])})")]
    if step.do == "clip":
        # NULL bounds are none: least and greatest pass over NULL, so a missing value must be kept out of them.
        low, high = (fit.get(side) for side in ("low", "high"))
        inner = quoted if low is None else f"greatest({quoted}, {literal(low)})"
        inner = inner if high is None else f"least({inner}, {literal(high)})"
        return [(column, f"CASE WHEN {quoted} IS NOT NULL THEN {inner} END")]
    if step.do == "log":
        return [(column, f"sign({quoted}) * ln(1 + abs({quoted}))")]
    if step.do == "bucket":
        return [(column, " + ".join(f"CAST({quoted} >= {literal(edge)} AS INTEGER)" for edge in fit["edges"]))]
    if step.do == "one_hot":
        hot = ((category, f"coalesce(CAST({quoted} = {literal(category)} AS INTEGER), 0)") for category in _hot(fit))
        return [(hot_name(column, category), sql) for category, sql in hot]
    if step.do == "target_encode":
        encoded = _target(quoted, fit)
        to = o.get("to", column)
        return [(to, encoded)] if to == column else [(column, quoted), (to, encoded)]
    if step.do == "date_parts":
        return [(f"{column}.{part}", f"({_PARTS[part].format(quoted)})") for part in o["parts"]]
    raise AssertionError(step.do)


def _hot(fit: Fit) -> list[str]:
    return list(fit["categories"])


def _target(quoted: str, fit: Fit) -> str:
    prior = literal(fit["prior"])
    if not fit["table"]:
        return prior
    keys = ", ".join(literal(key) for key in fit["table"])
    values = ", ".join(literal(value) for value in fit["table"].values())
    return f"coalesce(MAP([{keys}], [{values}])[{quoted}], {prior})"


def _known(wanted: Sequence[str], columns: Sequence[str]) -> None:
    lost = [column for column in wanted if column not in columns]
    if lost:
        raise InvalidData(f"There is no column {lost[0]} at this step.")


def chain(layers: Sequence[Columns], outputs: Sequence[str], source: str = "rows") -> str:
    """One SELECT that runs every layer on `source` and gives the outputs as float32."""
    parts, before = [], source
    for place, columns in enumerate(layers):
        parts.append(f"s{place} AS (SELECT {select(columns)} FROM {before})")
        before = f"s{place}"
    last = ", ".join(f"{number(c)} AS {name(c)}" for c in outputs)
    return f"{'WITH ' if parts else ''}{', '.join(parts)} SELECT {last} FROM {before}"


def select(columns: Columns) -> str:
    return ", ".join(f"{sql} AS {name(column)}" for column, sql in columns)


def number(column: str) -> str:
    """The float32 of a numeric column, missing where it does not fit."""
    return f"TRY_CAST({name(column)} AS FLOAT)"
