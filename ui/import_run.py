"""An import while it runs and after its end: counts, progress, cancel, what was refused."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from services.access import Permission
from services.errors import Unavailable
from services.importing_desk import MOST_SHOWN, Run
from services.importing_state import ImportState
from ui import errors, import_preview, page, session, wiring
from ui import format as fmt

_PROBLEM = "import-problem"
_LOOKS = {
    ImportState.RUNNING: ("blue", "progress_activity", "Importing"),
    ImportState.DONE: ("green", "check_circle", "Imported"),
    ImportState.CANCELLED: ("orange", "cancel", "Cancelled:"),
    ImportState.FAILED: ("red", "error", "Stopped:"),
}


@st.fragment(run_every="1s", key="import-run")
def show() -> None:
    page.guard(Permission.IMPORT)
    problem = st.session_state.pop(_PROBLEM, None)
    if problem is not None:
        errors.show(problem)
    run = wiring.services().imports.latest()
    if run is None or run.state.state is not ImportState.RUNNING:
        _cut_off()
    if run is None:
        return
    with st.container(border=True, gap="small"):
        _heading(run)
        _figures(run)
        _refused(run)


def _cut_off() -> None:
    """An import that ended with its process: what is there of it, and how to go on."""
    try:
        held = wiring.last_good(("imports.cut_off",), wiring.services().imports.cut_off, ttl=10.0).value
    except Unavailable:
        return  # the banner says so
    if held is None:
        return
    since = fmt.clock(held.saved_at or held.started_at, datetime.now(UTC), seconds=True)
    st.warning(
        f"The import of {fmt.literal(held.file_name)} by {fmt.literal(held.started_by)} was cut off at {since}: "
        f"{fmt.count(held.rows)} rows of it are done and stay. Import the same file again, and it goes on behind them.",
        icon=":material/power_off:",
    )


def _heading(run: Run) -> None:
    state = run.state
    color, icon, word = _LOOKS[state.state]
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(
            f"##### :{color}[:material/{icon}:] {word} {fmt.literal(fmt.short_id(state.file_name, keep=40))}",
            anchors=False, width="content",
        )  # fmt: skip
        if state.state is ImportState.RUNNING:
            st.button("Cancel", icon=":material/close:", key="import-cancel", on_click=_cancel)
    seconds = ((state.finished_at or datetime.now(UTC)) - run.began_at).total_seconds()
    rate = (state.rows - run.began_rows) / max(seconds, 0.001)
    if state.state is ImportState.RUNNING:
        share = min(state.rows / run.expected, 1.0) if run.expected else 0.0
        of = f" of about {fmt.count(run.expected)}" if run.expected else ""
        st.progress(share, text=f"{fmt.count(state.rows)}{of} rows · {fmt.count(round(rate))} rows/s")
    facts = [f"Started {fmt.relative(state.started_at, datetime.now(UTC))} by {state.started_by}"]
    facts.append(f"mapping {state.mapping_name}")
    if state.finished_at is not None:
        facts.append(f"took {fmt.duration(seconds)}")
    st.caption(fmt.literal(" · ".join(facts)))
    if state.failure:
        st.caption(fmt.literal(state.failure))


def _figures(run: Run) -> None:
    state = run.state
    figures = (
        ("Rows", state.rows, "Of the file, so far"),
        ("Imported", state.accepted, "New to this desk"),
        ("Already known", state.duplicates, "There before, or twice in the file; nothing was changed"),
        ("Refused", state.refused, "Listed below with row and column; the file of errors has all"),
        ("Verdicts", state.labels, "Labels recorded, known from their own time on"),
        ("To be scored", state.scored, "Young enough to count as live; older rows are history and only build up the "
         "customers' normal"),
    )  # fmt: skip
    for cell, (name, value, help_) in zip(st.columns(len(figures)), figures, strict=True):
        cell.metric(name, fmt.count(value), help=help_)
    if state.awaited:
        st.caption(f"{fmt.count(state.awaited)} verdicts are not known yet: import the file again later to add them.")


def _refused(run: Run) -> None:
    if not run.problems:
        return
    if run.state.state is not ImportState.RUNNING:
        st.download_button(
            "Errors", wiring.services().imports.errors, file_name="import-errors.csv", mime="text/csv",
            icon=":material/download:", on_click="ignore", key="import-errors", help="Every problem, by row and column",
        )  # fmt: skip
    if run.state.problems > len(run.problems):
        st.caption(f"The first {MOST_SHOWN} of {fmt.count(run.state.problems)} problems")
    import_preview.problems(run.problems, key="import-problems")


def _cancel() -> None:
    st.session_state[_PROBLEM] = errors.attempt(lambda: wiring.services().imports.cancel(actor=session.actor()))
