"""The figures beneath the chart: one row a bucket, a value or a pair. A row that is picked opens its transactions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from services.rates import Dimension
from ui import format as fmt
from ui import rates_drill
from ui.rates_bar import title_of
from ui.rates_choice import Choice, Point, bucket_words, value_words
from ui.rates_frames import ALL, Measure, by_value, with_alert_rate

TABLE = "rates-table"
_POINTS = "rates-table-points"


def rows_of(frame: pd.DataFrame, former: pd.DataFrame | None, choice: Choice) -> pd.DataFrame:
    """Columns bucket or first (and second), both rates, change (bps by the measure, with a former period), counts."""
    if choice.dimensions:
        keys = ["first", "second"][: len(choice.dimensions)]
        rows = by_value(frame, keys, choice.measure, choice.rank)
        if former is not None:
            before = by_value(former, keys, choice.measure, choice.rank)[[*keys, choice.measure.column]]
            rows = rows.merge(before.rename(columns={choice.measure.column: "before"}), on=keys, how="left")
    else:
        rows = frame.sort_values("bucket", ascending=False, ignore_index=True)
        if former is not None:
            before = former[["at", choice.measure.column]].rename(
                columns={"at": "bucket", choice.measure.column: "before"}
            )
            rows = rows.merge(before, on="bucket", how="left")
    if former is not None:
        rows["change"] = rows[choice.measure.column] - rows["before"]
    return with_alert_rate(rows).assign(
        fraud_amount=rows["fraud_amount_minor"].map(fmt.units), amount=rows["amount_minor"].map(fmt.units)
    )


def points_of(rows: pd.DataFrame, choice: Choice) -> list[Point]:
    if not choice.dimensions:
        return [Point(bucket.to_pydatetime()) for bucket in rows["bucket"]]
    seconds: Sequence[str] = rows["second"].tolist() if len(choice.dimensions) > 1 else [ALL] * len(rows)
    return [Point(None, first, second) for first, second in zip(rows["first"], seconds, strict=True)]


def _pick() -> None:
    """The row's place into its point with the rows drawn last."""
    drawn: list[Point] = st.session_state.get(_POINTS, [])
    rows = st.session_state[TABLE]["selection"]["rows"]
    if rows and rows[0] < len(drawn):
        rates_drill.open_at(drawn[rows[0]])
    elif not rows:
        rates_drill.close()


def draw(rows: pd.DataFrame, choice: Choice, dimensions: Sequence[Dimension], chosen: Point | None) -> None:
    points = points_of(rows, choice)
    st.session_state[_POINTS] = points
    place = [points.index(chosen)] if chosen in points else []
    st.session_state[TABLE] = {"selection": {"rows": place, "columns": [], "cells": []}}
    other = next(measure.column for measure in Measure if measure is not choice.measure)
    keys = ["first", "second"][: len(choice.dimensions)] or ["bucket"]
    order = [*keys, choice.measure.column]
    order += ["change"] if "change" in rows else []
    order += ["trend", "share_of_fraud"] if choice.dimensions else []
    order += [other, "fraud", "transactions", "fraud_amount", "amount", "alert_rate", "matured_share"]
    if fmt.several():
        order = [name for name in order if name not in ("fraud_bps_value", "fraud_amount", "amount")]
    named = rows[order].copy()
    for key in keys:
        named[key] = [_word(value, choice) for value in rows[key]]
    st.dataframe(
        named,
        hide_index=True,
        column_config=_columns(choice, dimensions),
        key=TABLE,
        on_select=_pick,
        selection_mode="single-row",
        placeholder=fmt.MISSING,
        row_height=32,
        alt="Fraud rates with their counts, as charted above; picking a row opens its transactions",
    )


def _word(value: str | datetime, choice: Choice) -> str:
    return value_words(value) if isinstance(value, str) else bucket_words(value, choice.bucket, choice.zone)


def _columns(choice: Choice, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    titles = [title_of(dimensions, key) for key in choice.dimensions]
    currency = f" ({fmt.symbol().strip()})" if fmt.symbol() else ""
    return {
        "bucket": text(fmt.word(choice.bucket), pinned=True),
        "first": text(titles[0] if titles else "", pinned=True),
        "second": text(titles[1] if len(titles) > 1 else "", pinned=True),
        "fraud_bps_value": number("By value (bps)", format="%.1f"),
        "fraud_bps_count": number("By count (bps)", format="%.1f"),
        "change": number("Change (bps)", format="%+.1f", help="Against the former period, by the measure chosen"),
        "trend": st.column_config.LineChartColumn("Over the range", y_min=0, width=110),
        "share_of_fraud": st.column_config.ProgressColumn(
            f"Share of fraud {choice.measure}", format="percent", min_value=0, max_value=1, color="blue"
        ),
        "fraud": number("Frauds", format="localized"),
        "transactions": number("Transactions", format="localized"),
        "fraud_amount": number(f"Fraud{currency}", format="%,.0f"),
        "amount": number(f"Amount{currency}", format="%,.0f"),
        "alert_rate": number("Alerted", format="percent"),
        "matured_share": number("Matured", format="percent"),
    }
