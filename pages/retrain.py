"""Experiments: ask for a model to be trained, follow it step by step, compare what came out."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import streamlit as st

from services.access import Permission, allows
from services.errors import ServiceError
from services.hyperparameters import HYPERPARAMETERS
from services.training import AUTOPILOT, Experiment, TrainingRequest
from ui import (
    errors,
    model_comparison,
    page,
    retrain_choices,
    retrain_detail,
    retrain_request,
    retrain_view,
    retry,
    session,
    wiring,
)
from ui import format as fmt
from ui.retrain_request import CUSTOM, FIELDS, USUAL_WINDOW, WINDOWS, Window

TITLE = "What shall the model learn next?"


def _experiments() -> wiring.Read[tuple[Experiment, ...]]:
    return wiring.last_good(
        ("training.experiments",), lambda: wiring.services().training.experiments(50), ttl=1.5, background=True
    )


def _window(now: datetime) -> Window:
    preset = st.segmented_control(
        "Transactions of the last days", [*WINDOWS, CUSTOM], default=USUAL_WINDOW, required=True, key="retrain_window",
        format_func=lambda key: "Custom" if key == CUSTOM else str(WINDOWS[key]), width="stretch",
    )  # fmt: skip
    if preset != CUSTOM:
        return retrain_request.preset_window(WINDOWS[preset or USUAL_WINDOW], now=now)
    today = now.date()
    left, right = st.columns(2, gap="small")
    held = left.date_input(
        "From and to (inclusive)", (today - timedelta(days=90), today - timedelta(days=1)), max_value=today,
        key="retrain_dates", format="YYYY-MM-DD",
    )  # fmt: skip
    days = [day for day in (held if isinstance(held, tuple) else (held,)) if day is not None] or [today]
    cutoff = right.date_input(
        "Labels known until the end of", today, min_value=max(days), max_value=today, key="retrain_cutoff",
        format="YYYY-MM-DD", help="A label that arrived later is not looked at. Cannot be before the window's end.",
    )  # fmt: skip
    return retrain_request.custom_window(min(days), max(days), cutoff or today, now=now)


def _more() -> dict[str, float | None]:
    """The hyperparameters that the training code knows, each left at its usual value unless set."""
    given: dict[str, float | None] = {}
    known = [field for field in FIELDS if field.key in HYPERPARAMETERS]
    with st.expander("Settings", icon=":material/tune:"):
        for column, field in zip(st.columns(2, gap="small") * len(known), known, strict=False):
            low, high, _ = HYPERPARAMETERS[field.key]
            kind = int if field.whole else float
            given[field.key] = column.number_input(
                field.label, kind(low), kind(high), kind(field.usual), step=1 if field.whole else 0.01,
                key=f"retrain_{field.key}", help=f"{field.help} Usual: {field.usual:g}.",
            )  # fmt: skip
    return given


def _start(wanted: TrainingRequest) -> None:
    """Ask for the experiment; a refusal is a sentence beneath the button and the form keeps what it holds."""
    with errors.shown():
        wanted = retrain_choices.with_columns(wanted, actor=session.actor())
        identifier = wiring.services().training.start(wanted, actor=session.actor())
        wiring.forget("training.experiments")
        st.session_state["retrain-selected"] = identifier
        st.rerun()


def _form(now: datetime, past: tuple[Experiment, ...], *, may_train: bool) -> None:
    running = next((e for e in past if not e.finished), None)
    with st.container(border=True, gap="small"):
        st.markdown("**New experiment**")
        window = _window(now)
        name = st.text_input(
            "Name", value="", key="retrain_name", max_chars=80, placeholder=retrain_request.usual_name(now, window)
        )
        flow, left_out = retrain_choices.columns()
        method, autopilot = retrain_choices.method()
        given = _more() if method != AUTOPILOT else {}
        chosen = retrain_choices.Choices(method, autopilot, flow, left_out, retrain_choices.after())
        wanted = retrain_request.request(name or retrain_request.usual_name(now, window), window, given)
        wanted = retrain_choices.completed(wanted, chosen)
        st.caption(retrain_request.explained(window), help=retrain_request.DETAILS)
        caution = retrain_request.young_labels(window)
        if caution:
            st.caption(f":orange[:material/hourglass_top:] {caution}")
        st.caption(retrain_choices.forecast(wanted, past))
        blocked = None if may_train else "Your role may not start training."
        if running is not None:
            blocked = f"{fmt.literal(running.name)} is under way; one experiment runs at a time."
        if st.button(
            "Start training", key="retrain-start", type="primary", icon=":material/play_arrow:", width="stretch",
            disabled=blocked is not None, help=blocked, shortcut="Ctrl+Enter",
        ):  # fmt: skip
            _start(wanted)


def _selected(experiments: tuple[Experiment, ...]) -> Experiment:
    """The one chosen in the list; else the one under way; else the newest."""
    chosen = st.session_state.get("retrain-selected")
    found = next((e for e in experiments if e.experiment_id == chosen), None)
    return found or next((e for e in experiments if not e.finished), experiments[0])


def _choose() -> None:
    """Translate the row's place to its experiment with the ids drawn last; deselecting keeps the detail."""
    drawn: list[str] = st.session_state.get("retrain-ids", [])
    rows = st.session_state["retrain-list"]["selection"]["rows"]
    if rows and rows[0] < len(drawn):
        st.session_state["retrain-selected"] = drawn[rows[0]]


def _list(experiments: tuple[Experiment, ...], selected: Experiment, now: datetime) -> None:
    st.markdown("**Experiments**")
    ids = [e.experiment_id for e in experiments]
    st.session_state["retrain-ids"] = ids
    place = ids.index(selected.experiment_id)
    st.session_state["retrain-list"] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    st.dataframe(
        retrain_view.rows(experiments, now=now),
        hide_index=True,
        key="retrain-list",
        placeholder=fmt.MISSING,
        on_select=_choose,
        selection_mode="single-row",
        column_config={
            "Experiment": st.column_config.TextColumn(width="medium", pinned=True),
            "AP": st.column_config.NumberColumn(format="%.3f", help=model_comparison.ESTIMATOR),
            "AUC": st.column_config.NumberColumn(format="%.3f"),
            "Precision": st.column_config.NumberColumn(format="%.3f", help="Of the alerts at the review threshold."),
            "Recall": st.column_config.NumberColumn(format="%.3f", help="Frauds at or above the review threshold."),
            "Alert rate": st.column_config.NumberColumn(format="percent"),
            "Prevalence": st.column_config.NumberColumn(format="%.4f", help="What a blind guess reaches."),
            "Rows": st.column_config.NumberColumn(format="localized"),
            "Frauds": st.column_config.NumberColumn(format="localized"),
        },
        alt="Experiments, newest first, with state, average precision, rows and model version",
    )


@st.fragment(run_every="2s", key="retrain-detail")
def _follow(drawn_states: tuple[tuple[str, str], ...]) -> None:
    """The chosen experiment, renewed every 2 s; a change of any state redraws the whole page with its list and form."""
    person = page.guard(Permission.VIEW_TRAINING)
    with page.content():
        read = _experiments()
        page.stale(read, kept="starting and stopping is not possible")
        if _states(read.value) != drawn_states:
            st.rerun()
        if not read.value:
            page.empty("Nothing has been trained yet", "Start the first one at the left; it takes a few minutes.")
            return
        chosen = _selected(read.value)
        retrain_detail.show(chosen, now=datetime.now(UTC), may_stop=allows(person, Permission.TRAIN))


def _states(experiments: tuple[Experiment, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((e.experiment_id, e.state.value) for e in experiments)


def _render() -> None:
    person = page.guard(Permission.VIEW_TRAINING)
    now = datetime.now(UTC)
    right = page.header(TITLE, caption="Teach the model what analysts and chargebacks have said since.")
    with page.content():
        try:
            with st.skeleton(520):
                read = _experiments()
        except ServiceError:
            retry.until_back(time.monotonic())
            raise
        with right:
            page.chip(page.live(read, now))
        experiments = read.value
        left, detail = st.columns([4, 7], gap="medium")
        with left:
            _form(now, experiments, may_train=allows(person, Permission.TRAIN))
        with detail:
            _follow(_states(experiments))
        if experiments:
            _list(experiments, _selected(experiments), now)


_render()
