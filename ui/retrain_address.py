"""Which part of Retrain is looked at, as the address names it: `view`, `id` of an experiment, `a` and `b` compared."""

from __future__ import annotations

import streamlit as st

EXPERIMENTS, NEW, COMPARE = "experiments", "new", "compare"
VIEWS = {EXPERIMENTS: "Experiments", NEW: "New experiment", COMPARE: "Compare"}
KEY = "retrain-view"


def view() -> str:
    """The choice of the view, drawn; the address follows it."""
    asked = st.query_params.get("view", EXPERIMENTS)
    st.session_state.setdefault(KEY, asked if asked in VIEWS else EXPERIMENTS)
    chosen = st.segmented_control(
        "View", list(VIEWS), key=KEY, format_func=VIEWS.__getitem__, required=True, label_visibility="collapsed"
    )
    chosen = chosen or EXPERIMENTS
    put("view", None if chosen == EXPERIMENTS else chosen)
    if chosen != COMPARE:
        put("a", None)
        put("b", None)
    return chosen


def put(name: str, value: str | None) -> None:
    """Write only what changes: each writing is a message to the browser."""
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def look_at(experiment_id: str) -> None:
    """In a callback: show this experiment next."""
    st.session_state[KEY] = EXPERIMENTS
    st.query_params["id"] = experiment_id


def compare(a: str | None, b: str) -> None:
    """In a callback: show these two side by side next."""
    st.session_state[KEY] = COMPARE
    put("a", a)
    put("b", b)
