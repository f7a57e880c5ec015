"""The leaderboard: every experiment with its figures, sortable by any of them; a row opens its experiment."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import streamlit as st

from services.training import Experiment
from ui import format as fmt
from ui import model_comparison, retrain_address, retrain_view

_COLUMNS = {
    "Experiment": st.column_config.TextColumn(width="medium", pinned=True),
    "AP": st.column_config.NumberColumn(format="%.3f", help=model_comparison.ESTIMATOR),
    "AUC": st.column_config.NumberColumn(format="%.3f"),
    "CP@100": st.column_config.NumberColumn(
        format="%.3f", help="Of the 100 riskiest cards a day, the share defrauded; found cards are not looked at again."
    ),
    "Precision": st.column_config.NumberColumn(format="%.3f", help="Of the alerts at the review threshold."),
    "Recall": st.column_config.NumberColumn(format="%.3f", help="Frauds at or above the review threshold."),
    "Value caught": st.column_config.NumberColumn(format="%.3f", help="Of the money in frauds, at the threshold."),
    "Calibration": st.column_config.NumberColumn(format="%.4f", help="Expected calibration error; 0 is perfect."),
    "Alert rate": st.column_config.NumberColumn(format="percent"),
    "Prevalence": st.column_config.NumberColumn(format="%.4f", help="What a blind guess reaches."),
    "Rows": st.column_config.NumberColumn(format="localized"),
    "Frauds": st.column_config.NumberColumn(format="localized"),
    "Took (s)": st.column_config.NumberColumn(format="%d", help="From the request to its end."),
    "Requested (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
}


def show(experiments: Sequence[Experiment], selected: str | None, *, champion: str | None) -> None:
    """Newest first; a click on a column's head sorts by it."""
    rows = retrain_view.rows(experiments, champion=champion)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Leaderboard**", help="A click on a column's head sorts by it; a row shows its experiment.")
        st.space("stretch")
        st.download_button(
            "CSV", as_csv(rows), "experiments.csv", "text/csv", icon=":material/download:", key="retrain-csv",
            on_click="ignore", type="tertiary", help="The leaderboard as a file.",
        )  # fmt: skip
    ids = [e.experiment_id for e in experiments]
    st.session_state["retrain-ids"] = ids
    chosen = [ids.index(selected)] if selected in ids else []
    st.session_state["retrain-list"] = {"selection": {"rows": chosen, "columns": [], "cells": []}}
    st.dataframe(
        rows,
        hide_index=True,
        key="retrain-list",
        placeholder=fmt.MISSING,
        on_select=_choose,
        selection_mode="single-row",
        height="content" if len(rows) <= 6 else 240,
        column_config=_COLUMNS,
        alt="Experiments, newest first, with model, state, figures, rows and duration",
    )


def _choose() -> None:
    """Translate the row's place to its experiment with the ids drawn last; deselecting keeps the detail."""
    drawn: list[str] = st.session_state.get("retrain-ids", [])
    rows = st.session_state["retrain-list"]["selection"]["rows"]
    if rows and rows[0] < len(drawn):
        retrain_address.put("id", drawn[rows[0]])


def as_csv(rows: Sequence[dict[str, object]]) -> str:
    """With a head; what was not measured is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _plain(value: object) -> object:
    """A name that a spreadsheet would take for a formula stays a name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value
