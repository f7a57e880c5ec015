"""Choosing the rows: a snapshot or a time, a window, a label cut-off; and the job that reads them."""

from __future__ import annotations

from datetime import UTC, datetime, time

import streamlit as st

from services.training_data import Job, JobState, Snapshot, TrainingData
from services.training_data_import import Imported, Selection
from ui import errors, page, retrain_request, session, wiring
from ui import format as fmt
from ui.retrain_request import CUSTOM, USUAL_WINDOW, WINDOWS, Window

NEWEST, AT = "newest", "at a time"


def _snapshots() -> tuple[Snapshot, ...]:
    return wiring.last_good(
        ("training_data.snapshots",), lambda: wiring.services().training_data.snapshots(200), ttl=5.0, source="S3"
    ).value


def choose(now: datetime, *, may: bool) -> None:
    """The form; "Import" starts the job and keeps what was chosen for this person."""
    held = _snapshots()
    if not held:
        page.empty("The lake is empty so far", "Rows can be imported when the first transactions have streamed to S3.")
        return
    names: dict[str, str] = {NEWEST: "The newest", AT: "As it was at a time"} | {
        str(s.snapshot_id): f"{s.committed_at:%d %b %H:%M:%S} UTC · {s.rows:,} rows{' · kept' if s.pinned_as else ''}"
        for s in held
    }
    which = st.selectbox("Snapshot of the lake", list(names), format_func=names.__getitem__, key="td-snapshot")
    moment = _moment(now) if which == AT else None
    window = _window(now)
    st.caption(retrain_request.explained(window), help=retrain_request.DETAILS)
    caution = retrain_request.young_labels(window)
    if caution:
        st.caption(f":orange[:material/hourglass_top:] {caution}")
    job = wiring.services().training_data.job()
    running = job is not None and job.state is JobState.RUNNING
    if st.button(
        "Import", key="td-import", type="primary", icon=":material/download:", width="stretch",
        disabled=not may or running, help="Reads the rows and computes their features; nothing is changed.",
    ):  # fmt: skip
        _import(which, moment, window)


def _moment(now: datetime) -> datetime:
    left, right = st.columns(2, gap="small")
    day = left.date_input("Day", now.date(), max_value=now.date(), key="td-day", format="YYYY-MM-DD")
    at = right.time_input("Time (UTC)", time(now.hour, now.minute), key="td-time")
    return datetime.combine(day or now.date(), at or time(), UTC)


def _window(now: datetime) -> Window:
    preset = st.segmented_control(
        "Transactions of the last days", [*WINDOWS, CUSTOM], default=USUAL_WINDOW, required=True, key="td-window",
        format_func=lambda key: "Custom" if key == CUSTOM else str(WINDOWS[key]), width="stretch",
    )  # fmt: skip
    if preset != CUSTOM:
        # Whole minutes: the same choice a moment later is the same import.
        return retrain_request.preset_window(WINDOWS[preset or USUAL_WINDOW], now=now.replace(second=0, microsecond=0))
    today = now.date()
    left, right = st.columns(2, gap="small")
    held = left.date_input(
        "From and to (inclusive)", (today, today), max_value=today, key="td-dates", format="YYYY-MM-DD"
    )
    days = [day for day in (held if isinstance(held, tuple) else (held,)) if day is not None] or [today]
    cutoff = right.date_input(
        "Labels known until the end of",
        today,
        min_value=max(days),
        max_value=today,
        key="td-cutoff",
        format="YYYY-MM-DD",
    )
    return retrain_request.custom_window(min(days), max(days), cutoff or today, now=now)


def _import(which: str, moment: datetime | None, window: Window) -> None:
    with errors.shown():
        data: TrainingData = wiring.services().training_data
        snapshot = None if which == NEWEST else data.at(moment) if moment is not None else int(which)
        selection = data.choose(snapshot_id=snapshot, window=(window.start, window.end), label_cutoff=window.cutoff)
        data.start_import(selection, actor=session.actor())
        st.session_state["td-selection"] = selection
        st.rerun()


def imported() -> Imported | None:
    """What this person imported, while this process keeps it."""
    selection: Selection | None = st.session_state.get("td-selection")
    return wiring.services().training_data.imported(selection.key) if selection else None


def chosen(found: Imported, now: datetime) -> None:
    """One line on what is being looked at."""
    s = found.selection
    st.markdown(
        f"**{found.usable:,} rows** with a label of {found.rows:,} · **{found.frauds:,} frauds** "
        f"({found.frauds / found.usable:.2%})"
    )
    st.caption(
        f"{s.window_start:%d %b %Y} to {s.window_end:%d %b %Y}, labels as known on "
        f"{s.label_cutoff:%d %b %Y, %H:%M} UTC, snapshot {fmt.short_id(str(s.snapshot_id))}."
    )


@st.fragment(run_every="1s", key="td-job")
def follow(drawn: JobState) -> None:
    """The job under way, renewed each second; its end redraws the page."""
    job: Job | None = wiring.services().training_data.job()
    if job is None or job.state is not drawn:
        st.rerun()
    elapsed = fmt.duration((datetime.now(UTC) - job.started_at).total_seconds())
    what = "Import" if job.kind == "import" else "Freeze"
    st.progress(job.fraction, text=f"{what}: {job.words} · {elapsed} · started by {fmt.literal(job.started_by)}")


def cut_off() -> None:
    """A job that ended with its process: what it was, and that nothing of it is left."""
    note = wiring.last_good(("training_data.cut_off",), wiring.services().training_data.cut_off, ttl=5.0).value
    if note is None:
        return
    what = f"freeze of **{fmt.literal(note.name)}**" if note.kind == "freeze" else "import"
    at = fmt.clock(note.started_at, datetime.now(UTC))
    st.warning(
        f"The {what} that {fmt.literal(note.started_by)} started at {at} was cut off with the process that "
        "did it. Nothing of it was kept: start it again.",
        icon=":material/power_off:",
    )


def failed(job: Job | None) -> None:
    """Why the last job ended without a result."""
    if job is not None and job.state is JobState.FAILED and job.failure:
        what = "import" if job.kind == "import" else "freeze"
        st.error(f"The last {what} failed: {fmt.literal(job.failure)}", icon=":material/error:")
