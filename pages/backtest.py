"""What would the model have found? Walk forward through past weeks, with checks that look for leaks."""

from __future__ import annotations

import streamlit as st

from services.access import Permission, allows
from services.backtest_runs import State
from ui import backtest_form, backtest_view, errors, page, wiring

TITLE = "What would the model have found?"
CAPTION = "Week after week: trained on the days before, asked about the days after, with the labels known by then."


def _render() -> None:
    person = page.guard(Permission.VIEW_TRAINING)
    page.header(TITLE, caption=CAPTION)
    run = wiring.services().backtests.latest()
    running = run is not None and run.state is State.RUNNING
    may = allows(person, Permission.TRAIN)
    if may:
        backtest_form.show(running=running)
    problem = st.session_state.pop(backtest_form.PROBLEM, None)
    if problem is not None:
        errors.show(problem)
    _result(running)


def _result(running: bool) -> None:
    st.fragment(_follow, run_every="1s" if running else None, key="backtest-result")()


def _follow() -> None:
    person = page.guard(Permission.VIEW_TRAINING)
    run = wiring.services().backtests.latest()
    if run is None:
        page.state(
            "Nothing has been backtested yet",
            "Choose the days to test and run it. The result stays until the next one.",
            icon="history",
        )
        return
    if run.state is not State.RUNNING and st.session_state.get("backtest-followed") == run.run_id:
        del st.session_state["backtest-followed"]
        st.rerun()  # the form is free again
    if run.state is State.RUNNING:
        st.session_state["backtest-followed"] = run.run_id
    backtest_view.show(run, may=allows(person, Permission.TRAIN))


_render()
