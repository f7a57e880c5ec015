"""A backtest as the screen shows it: may it be believed, mean and spread, folds, segments, checks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from services.backtest_runs import Run, State
from services.errors import ServiceError
from ui import charts, charts_backtest, session, wiring
from ui import format as fmt
from ui.backtest_form import PROBLEM
from ui.export import to_csv

_METRICS = {"ap": "Average precision", "auc": "AUC ROC", "cp100": "CP@100", "value_detection_rate": "Value found"}
_SHORT = {"ap": "AP", "auc": "AUC", "cp100": "CP@100", "value_detection_rate": "Value"}
_MEANING = {
    "ap": "Area under precision over recall, step-wise. Chance has the prevalence.",
    "auc": "Probability that a fraud scores above a genuine transaction, ties half.",
    "cp100": "Share of defrauded cards among the 100 riskiest of each day; found cards are not looked at again.",
    "value_detection_rate": "Fraud amount found among the 100 riskiest cards of each day / all fraud amount there was.",
}
_CHECKS = {
    "ids": "No transaction in both parts", "target": "Label not among features", "columns": "Columns of the source",
    "single features": "Single features", "plausible": "Plausible", "future rows": "Without the future",
    "shuffled labels": "Shuffled labels",
}  # fmt: skip
_SAID = {True: "✓", False: "✗ failed:", None: "– not judged:"}


def verdict(run: Run) -> tuple[str, str, str]:
    """Colour, icon and sentence of a run (Markdown-free text)."""
    if run.state is State.RUNNING:
        return "blue", "progress_activity", f"Backtesting {run.source}"
    if run.state is State.CANCELLED:
        return "gray", "cancel", "The backtest was cancelled; nothing of it was kept."
    if run.state is State.FAILED or run.report is None:
        return "red", "error", run.failure or "The backtest ended before its time."
    failed = [check for check in run.report["checks"] if check["holds"] is False]
    if failed:
        return "red", "report", f"Not believable: {failed[0]['sentence']}"
    return "green", "verified", "No leak was found: this is what the model would have found."


def show(run: Run, *, may: bool) -> None:
    color, icon, sentence = verdict(run)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"##### :{color}[:material/{icon}:] {fmt.literal(sentence)}", width="content", anchors=False)
        if run.state is State.RUNNING and may:
            st.button("Cancel", icon=":material/close:", key="backtest-cancel", on_click=_cancel)
    if run.state is State.RUNNING:
        st.progress(run.share, text=fmt.literal(run.step))
    st.caption(fmt.literal(_facts(run)))
    if run.report is not None:
        _headline(run.report)
        left, right = st.columns([3, 2], gap="medium")
        with left:
            _folds(run.report)
        with right:
            _checks(run.report)
        _segments(run.report)
        _take_along(run, run.report)


def _cancel() -> None:
    try:
        wiring.services().backtests.cancel(actor=session.actor())
    except ServiceError as error:
        st.session_state[PROBLEM] = error


def _facts(run: Run) -> str:
    asked, now = run.request, datetime.now(UTC)
    facts = [
        f"{run.source}, tested {asked.first} to {asked.last}",
        f"train {asked.train_days} days, delay {asked.delay_days}, labels known to the features after "
        f"{asked.known_after:g}",
        f"started {fmt.relative(run.started_at, now)} by {run.started_by}",
    ]
    if run.finished_at is not None:
        facts.append(f"took {fmt.duration((run.finished_at - run.started_at).total_seconds())}")
    return " · ".join(facts)


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return fmt.percent(value) if name == "value_detection_rate" else f"{value:.3f}"


def _headline(report: dict[str, Any]) -> None:
    for column, (name, label) in zip(st.columns(4, gap="small"), _METRICS.items(), strict=True):
        spread = report["spread"][name]
        with column, st.container(border=True, gap="xxsmall", height="stretch"):
            st.metric(f"{label}, mean", _number(name, report["mean"][name]), help=_MEANING[name])
            if spread is None:
                st.caption("one fold: no spread")
            else:
                low, high = _number(name, spread["min"]), _number(name, spread["max"])
                st.caption(
                    f"± {_number(name, spread['sd'])}, {low} to {high}",
                    help="Standard deviation, least and greatest fold",
                )
    for warning in report["warnings"]:
        st.caption(f":orange[:material/error_outline:] {fmt.literal(warning)}")


def _folds(report: dict[str, Any]) -> None:
    metric = st.segmented_control(
        "Figure", list(_METRICS), format_func=_METRICS.__getitem__, default="ap", required=True, key="backtest_metric",
        label_visibility="collapsed",
    )  # fmt: skip
    name = metric or "ap"
    figure = charts_backtest.folds(
        report["folds"], name, mean=report["mean"][name], spread=report["spread"][name], colors=charts.palette()
    )
    charts.show(figure, key="backtest-folds", alt=f"{_METRICS[name]} by fold, with mean and standard deviation")
    st.dataframe(
        {
            "Tested": [f"{fold['test_from']} to {fold['test_to']}" for fold in report["folds"]],
            "Transactions": [fold["test_rows"] for fold in report["folds"]],
            "Frauds": [fold["test_frauds"] for fold in report["folds"]],
            **{label: [_number(name, fold[name]) for fold in report["folds"]] for name, label in _SHORT.items()},
        },
        hide_index=True,
        key="backtest-fold-table",
        height="content" if len(report["folds"]) <= 10 else 390,
        column_config={name: st.column_config.NumberColumn(format="localized") for name in ("Transactions", "Frauds")}
        | {label: st.column_config.TextColumn(alignment="right") for label in _SHORT.values()},
        alt="Every fold's test days, transactions, frauds and figures",
    )


def _checks(report: dict[str, Any]) -> None:
    st.markdown("**Checks for leaks**")
    st.table(
        {
            "Check": [f"{_SAID[c['holds']]} {_CHECKS.get(c['name'], c['name'])}" for c in report["checks"]],
            "What was found": [fmt.literal(check["sentence"]) for check in report["checks"]],
        },
        hide_index=True,
        border="horizontal",
        alt="Each check for leaks, whether it holds and what was found",
    )


def _segments(report: dict[str, Any]) -> None:
    left, right = st.columns([3, 2], gap="medium")
    found = report["segments"]
    with left:
        st.markdown("**By segment**")
        st.dataframe(
            {
                "Segment": [f"{one['dimension']}: {one['segment']}" for one in found],
                "Transactions": [one["rows"] for one in found],
                "Frauds": [one["frauds"] for one in found],
                "AP": [_number("ap", one["average_precision"]) for one in found],
                "Frauds found": [_number("value_detection_rate", one["recall"]) for one in found],
                "": ["few frauds" if one["few"] else "" for one in found],
            },
            hide_index=True,
            key="backtest-segments",
            height="content" if len(found) <= 12 else 420,
            column_config={
                "Transactions": st.column_config.NumberColumn(format="localized"),
                "Frauds": st.column_config.NumberColumn(format="localized"),
                "AP": st.column_config.TextColumn(alignment="right", help=_MEANING["ap"]),
                "Frauds found": st.column_config.TextColumn(
                    alignment="right", help="Share of the frauds there were that are among the 100 cards of their day."
                ),
            },
            alt="Average precision and share of frauds found by amount band and category",
        )
    with right:
        st.markdown("**What carried it**")
        top = report["gains"][:10]
        st.dataframe(
            {"Feature": [one["feature"] for one in top], "Share of gain": [one["share"] for one in top]},
            hide_index=True,
            key="backtest-gains",
            height="content",
            column_config={
                "Share of gain": st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
            },
            alt="The ten features with the largest share of the models' gain",
        )


def _take_along(run: Run, report: dict[str, Any]) -> None:
    name = f"fraud-desk-backtest-{run.request.first}-{run.request.last}"
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Report", lambda: json.dumps(report, indent=1).encode(), file_name=f"{name}.json", mime="application/json",
            icon=":material/download:", on_click="ignore", key="backtest-json", help="Everything, as JSON",
        )  # fmt: skip
        st.download_button(
            "Folds", lambda: csv(report), file_name=f"{name}.csv", mime="text/csv", icon=":material/download:",
            on_click="ignore", key="backtest-csv", help="A row a fold, as CSV",
        )  # fmt: skip


def csv(report: dict[str, Any]) -> bytes:
    """A row a fold, its columns in the order of the report."""
    columns = list(report["folds"][0])
    return to_csv(columns, ([fold[name] for name in columns] for fold in report["folds"]))
