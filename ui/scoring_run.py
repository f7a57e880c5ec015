"""A file of payments: send it, watch it, cancel it, take it up again, take the result along."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import streamlit as st

from services.access import Actor, Permission
from services.domain.states import RunState
from services.errors import ServiceError
from services.scoring_runs import MAX_BYTES, MAX_ROWS
from services.scoring_runs_state import ScoringRun
from ui import errors, page, scoring_csv, scoring_form, scoring_result, scoring_run_write_back, wiring
from ui import format as fmt

_RUN, _UPLOAD, _PROBLEM = "live-run", "live-upload", "live-run-problem"
STATES: dict[RunState, tuple[str, str, Any]] = {
    RunState.RUNNING: ("scoring", ":material/bolt:", "blue"),
    RunState.DONE: ("done", ":material/check_circle:", "green"),
    RunState.CANCELLED: ("cancelled", ":material/cancel:", "gray"),
    RunState.FAILED: ("stopped", ":material/error:", "red"),
}
INTERRUPTED: tuple[str, str, Any] = ("interrupted", ":material/power_off:", "orange")
_MOST_MB = MAX_BYTES // 2**20


def draw(actor: Actor) -> None:
    runs = wiring.services().scoring_runs.runs(actor=actor)
    if (problem := st.session_state.pop(_PROBLEM, None)) is not None:
        errors.show(problem)
    if not any(run.state is RunState.RUNNING for run in runs):
        _send(actor)
    if not runs:
        page.empty("No file scored yet", "Send a file of payments; it is scored in the background, row by row.")
        return
    by_id = {run.run_id: run for run in runs}
    if st.session_state.get(_RUN) not in by_id:
        st.session_state[_RUN] = runs[0].run_id
    if len(runs) > 1:
        st.selectbox("Run", list(by_id), key=_RUN, format_func=lambda key: _face(by_id[key]))
    run = by_id[st.session_state[_RUN]]
    if run.state is RunState.RUNNING:
        _watch()
    else:
        _panel(run, actor)


def _face(run: ScoringRun) -> str:
    """Nothing in it may change while it is chosen: a browser sends it, not the id."""
    return f"{run.file_name} · {run.started_at:%Y-%m-%d %H:%M:%S} UTC"


def _send(actor: Actor) -> None:
    left, right = st.columns([75, 25], vertical_alignment="bottom")
    turn = st.session_state.setdefault(_UPLOAD, 0)
    with left:
        upload = st.file_uploader(
            f"CSV, Parquet or JSON lines, at most {MAX_ROWS:,} rows and {_MOST_MB} MB",
            type=["csv", "tsv", "txt", "gz", "parquet", "jsonl", "ndjson", "json"], key=f"live-file-{turn}",
            max_upload_size=_MOST_MB,
        )  # fmt: skip
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        columns = wiring.services().scoring_runs.columns()
        st.download_button(
            "Template", scoring_csv.template(columns, scoring_form.base()), file_name="fraud-desk-template.csv",
            mime="text/csv", icon=":material/table:", on_click="ignore", key="live-template",
            help="The columns of a file. Fields of your own go into columns named attributes.<name>.",
        )  # fmt: skip
    st.caption(
        "Every row is scored against its customer's state of now, as if it were the next payment: rows of the file do "
        "not see each other, and nothing becomes a transaction of the desk."
    )
    if upload is None:
        return
    with errors.shown():
        if st.button(
            f"Score {fmt.literal(upload.name)}", type="primary", icon=":material/bolt:", key="live-score-file",
            shortcut="Ctrl+Enter",
        ):  # fmt: skip
            with st.spinner("The file is checked and kept"):
                run = wiring.services().scoring_runs.start(upload, upload.name, actor=actor)
            st.session_state[_RUN] = run.run_id
            st.session_state[_UPLOAD] = turn + 1  # a fresh uploader: the file leaves this session's memory
            st.rerun()


@st.fragment(run_every="1s", key="live-run-watch")
def _watch() -> None:
    """The run under way, once a second, until it ends."""
    actor = page.guard(Permission.SCORE_LIVE)
    with errors.shown():
        run = wiring.services().scoring_runs.get(st.session_state[_RUN], actor=actor)
        if run.state is not RunState.RUNNING:
            st.rerun()
        _panel(run, actor)


def _panel(run: ScoringRun, actor: Actor) -> None:
    interrupted = run.interrupted(scoring_form.now())
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{fmt.literal(run.file_name)}**", width="content")
            word, icon, color = INTERRUPTED if interrupted else STATES[run.state]
            st.badge(word, icon=icon, color=color)
            st.caption(f"started {fmt.clock(run.started_at)}", width="content", help=f"Run {run.run_id}")
            with st.container(horizontal=True, horizontal_alignment="right"):
                _actions(run, actor, interrupted=interrupted)
        st.progress(run.fraction, text=progress_sentence(run, interrupted=interrupted))
        _trouble(run, interrupted=interrupted)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{fmt.count(run.scored)} scored**", width="content")
            scoring_result.decisions(run.counts)
            if run.refused:
                st.badge(f"{fmt.count(run.refused)} refused", icon=":material/rule:", color="gray")
            if run.model_versions:
                st.caption(f"model {fmt.literal(', '.join(run.model_versions))}", width="content")
        if run.state is not RunState.RUNNING:
            with st.container(horizontal=True, gap="small"):
                _downloads(run, actor)
                scoring_run_write_back.offer(run, actor)
            scoring_run_write_back.progress(run, actor)
    if run.top:
        rows = [(t.row, t.transaction_id, t.score, t.decision, t.reason) for t in run.top]
        so_far = "" if run.state is RunState.DONE else " so far"
        st.caption(f"The {fmt.count(len(rows))} riskiest rows{so_far}")
        scoring_result.riskiest(rows, alt="The riskiest rows of the file")
    if run.first_problems:
        _problems(run)


def progress_sentence(run: ScoringRun, *, interrupted: bool) -> str:
    """How far, how fast and how long yet."""
    if run.state is RunState.DONE:
        return f"{fmt.count(run.rows)} rows"
    parts = [f"{fmt.count(run.rows)} of {fmt.count(run.lines)} rows"]
    speed, left = run.rows_per_second(), run.seconds_left()
    if run.state is RunState.RUNNING and not interrupted and speed is not None and left is not None:
        parts += [f"{fmt.count(round(speed))} rows/s", f"about {fmt.duration(left)} left"]
    return " · ".join(parts)


def _trouble(run: ScoringRun, *, interrupted: bool) -> None:
    if interrupted:
        st.warning(
            "Nothing was heard of this run for a while: its process is gone. What was scored is kept; "
            "resume goes on after it.", icon=":material/power_off:",
        )  # fmt: skip
    elif run.trouble:
        st.warning(fmt.literal(run.trouble), icon=":material/cloud_off:")


def _actions(run: ScoringRun, actor: Actor, *, interrupted: bool) -> None:
    runs = wiring.services().scoring_runs
    if run.state is RunState.RUNNING and not interrupted:
        st.button(
            "Cancelling" if run.cancel_requested else "Cancel", icon=":material/cancel:", key="live-run-cancel",
            disabled=run.cancel_requested, shortcut="Esc", on_click=_do,
            args=(lambda: runs.cancel(run.run_id, actor=actor),), help="What was scored is kept; it can be resumed.",
        )  # fmt: skip
        return
    if run.state is not RunState.DONE:
        st.button(
            "Resume", type="primary", icon=":material/play_arrow:", key="live-run-resume", on_click=_do,
            args=(lambda: runs.resume(run.run_id, actor=actor),), help=f"Goes on after row {fmt.count(run.rows)}.",
        )  # fmt: skip
    forget = runs.cancel if interrupted else runs.delete
    st.button(
        "Cancel" if interrupted else "Delete", icon=":material/delete:", key="live-run-delete", type="tertiary",
        on_click=_do, args=(lambda: forget(run.run_id, actor=actor),),
        help="The run is given up." if interrupted else "The run, its file and its results.",
    )  # fmt: skip


def _do(action: Callable[[], object]) -> None:
    problem: ServiceError | None = errors.attempt(action)
    if problem is not None:
        st.session_state[_PROBLEM] = problem


def _downloads(run: ScoringRun, actor: Actor) -> None:
    if run.scored:
        _download(run, actor, "CSV", "results", "csv")
        _download(run, actor, "Parquet", "results", "parquet")
    if run.problems:
        _download(run, actor, "Refused", "refused", "csv")


def _download(run: ScoringRun, actor: Actor, label: str, what: str, form: str) -> None:
    def made() -> bytes:
        out = io.BytesIO()
        wiring.services().scoring_runs.write(run.run_id, out, what=what, form=form, actor=actor)
        return out.getvalue()

    stem = run.file_name.partition(".")[0][:60]
    mime = "text/csv" if form == "csv" else "application/octet-stream"
    st.download_button(
        label, made, file_name=f"{stem}-{what}.{form}", mime=mime,
        icon=":material/download:", on_click="ignore", key=f"live-run-{what}-{form}",
    )  # fmt: skip


def _problems(run: ScoringRun) -> None:
    shown = run.first_problems
    more = f"; the first {len(shown)} are shown, the download has all" if run.problems > len(shown) else ""
    st.caption(f"{fmt.count(run.problems)} problems in {fmt.count(run.refused)} refused rows{more}")
    column: Any = st.column_config
    st.dataframe(
        pa.table(
            {
                "row": [p.row for p in shown],
                "column": [p.column or "whole row" for p in shown],
                "problem": [p.message for p in shown],
            }
        ),
        hide_index=True,
        height="content" if len(shown) <= 6 else 240,
        column_config={
            "row": column.NumberColumn("Row", width=80, format="localized", help="Counted from 1, without the header."),
            "column": column.TextColumn("Column", width=180),
            "problem": column.TextColumn("Problem"),
        },
        alt="Rows that could not be scored, by row and column",
    )
