"""One step as a person fills it in: the fields of each kind, and the step they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from services.flow_fitting import FOLDS, MOST_CATEGORIES, SMOOTHING
from services.flow_steps import DATE_PARTS, FILLS, KINDS, TYPES, Step

HELP = {
    "drop": "The columns are gone for all later steps and for the model.",
    "keep": "All other columns are gone.",
    "rename": "Reasons keep the words of the column it was.",
    "cast": "What cannot be changed becomes missing.",
    "impute": "Mean, median and mode are those of the training rows.",
    "clip": "Values beyond a bound become the bound. Quantiles are those of the training rows.",
    "log": "sign(x) · ln(1 + |x|): 0 stays 0, negative values stay negative.",
    "bucket": "The number of edges at or below the value: 0, 1, 2 …",
    "one_hot": "A column of 0 and 1 for each of the most frequent values; a value not seen in training is all zero.",
    "target_encode": "(frauds + m · share of frauds) / (rows + m) of each value; training rows see earlier rows only.",
    "date_parts": "In UTC; weekday 1 is Monday.",
    "expression": "One SQL expression of the row's columns: arithmetic, CASE, text and dates. What fails is missing.",
}


def form(columns: Mapping[str, str]) -> Step | None:
    """Draw the fields and answer the step once "Add step" was pressed. `columns`: name -> its type."""
    do = st.selectbox(
        "Step", list(KINDS), format_func=lambda key: KINDS[key].title, key="td-do", help="What is done next."
    )
    options = _FIELDS[do](columns)
    st.caption(HELP[do])
    pressed = st.button("Add step", icon=":material/add:", key="td-add", width="stretch", disabled=options is None)
    return Step(do, options) if pressed and options is not None else None


def _of(columns: Mapping[str, str], *kinds: str) -> list[str]:
    return [name for name, kind in columns.items() if not kinds or kind in kinds]


def _column(columns: Mapping[str, str], *kinds: str) -> str | None:
    found = _of(columns, *kinds)
    if not found:
        st.caption(f":orange[There is no column of {' or '.join(kinds)} at this place.]")
        return None
    return st.selectbox("Column", found, key="td-column")


def _several(columns: Mapping[str, str]) -> dict[str, Any] | None:
    chosen = st.multiselect("Columns", list(columns), key="td-columns-of-step")
    return {"columns": chosen} if chosen else None


def _rename(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column, to = _column(columns), st.text_input("New name", key="td-to", max_chars=80).strip()
    return {"column": column, "to": to} if column and to else None


def _cast(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column, to = _column(columns), st.selectbox("New type", TYPES, key="td-type")
    return {"column": column, "to": to} if column else None


def _impute(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "number", "text", "flag")
    if column is None:
        return None
    fills = FILLS if columns[column] == "number" else ("constant", "mode")
    way = st.selectbox("With", fills, index=fills.index("median") if "median" in fills else 0, key="td-with")
    if way != "constant":
        return {"column": column, "with": way}
    if columns[column] == "text":
        return {"column": column, "with": way, "value": st.text_input("Constant", key="td-value-text", max_chars=80)}
    return {"column": column, "with": way, "value": float(st.number_input("Constant", value=0.0, key="td-value") or 0)}


def _clip(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "number")
    if column is None:
        return None
    if (
        st.segmented_control("To", ["Quantiles", "Bounds"], default="Quantiles", required=True, key="td-clip")
        == "Quantiles"
    ):
        low, high = st.slider("Quantiles, %", 0.0, 100.0, (1.0, 99.0), 0.5, key="td-shares")
        return {"column": column, "quantiles": [low / 100, high / 100]} if low < high else None
    left, right = st.columns(2)
    low_bound = left.number_input("Lowest", value=None, key="td-low", placeholder="none")
    high_bound = right.number_input("Highest", value=None, key="td-high", placeholder="none")
    bounds = {"low": low_bound, "high": high_bound}
    given = {side: float(value) for side, value in bounds.items() if value is not None}
    return {"column": column, **given} if given and (len(given) < 2 or given["low"] < given["high"]) else None


def _log(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "number")
    return {"column": column} if column else None


def _bucket(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "number")
    if column is None:
        return None
    if (
        st.segmented_control("By", ["Quantiles", "Edges"], default="Quantiles", required=True, key="td-bucket")
        == "Quantiles"
    ):
        return {"column": column, "quantiles": int(st.number_input("Buckets", 2, 100, 10, key="td-buckets") or 10)}
    text = st.text_input("Edges, rising", key="td-edges", placeholder="10, 50, 100")
    edges = numbers(text)
    if text and edges is None:
        st.caption(":orange[Write rising numbers with commas between them.]")
    return {"column": column, "edges": edges} if edges else None


def numbers(text: str) -> list[float] | None:
    """'10, 50' -> [10.0, 50.0]; None unless they are numbers that rise."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    return found if found == sorted(set(found)) else None


def _one_hot(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "text")
    most = int(st.number_input("Values, at most", 1, 100, MOST_CATEGORIES, key="td-most") or MOST_CATEGORIES)
    return {"column": column, "most": most} if column else None


def _target(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "text")
    left, right = st.columns(2)
    smoothing = float(left.number_input("Smoothing m", 0.0, 10_000.0, SMOOTHING, key="td-smoothing") or 0.0)
    folds = int(right.number_input("Time folds", 2, 20, FOLDS, key="td-folds") or FOLDS)
    return {"column": column, "smoothing": smoothing, "folds": folds} if column else None


def _dates(columns: Mapping[str, str]) -> dict[str, Any] | None:
    column = _column(columns, "time")
    parts = st.multiselect("Parts", DATE_PARTS, default=["hour", "weekday"], key="td-parts")
    return {"column": column, "parts": parts} if column and parts else None


def _expression(columns: Mapping[str, str]) -> dict[str, Any] | None:
    to = st.text_input("Name of the column", key="td-to", max_chars=80).strip()
    sql = st.text_area("Expression", key="td-sql", max_chars=2_000, height=90, placeholder="amount_minor / 100")
    return {"to": to, "sql": sql} if to and sql.strip() else None


_FIELDS: Mapping[str, Callable[[Mapping[str, str]], dict[str, Any] | None]] = {
    "drop": _several,
    "keep": _several,
    "rename": _rename,
    "cast": _cast,
    "impute": _impute,
    "clip": _clip,
    "log": _log,
    "bucket": _bucket,
    "one_hot": _one_hot,
    "target_encode": _target,
    "date_parts": _dates,
    "expression": _expression,
}


def kinds_of(names: Sequence[str], types: Sequence[Any]) -> dict[str, str]:
    """Columns with the word for their Arrow type."""
    import pyarrow as pa

    def word(kind: Any) -> str:
        if pa.types.is_string(kind):
            return "text"
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return "time"
        return "flag" if pa.types.is_boolean(kind) else "number"

    return {name: word(kind) for name, kind in zip(names, types, strict=True)}
