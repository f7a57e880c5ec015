"""Reconciliation on demand: choose days, follow the run, read the differences, take them along."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import streamlit as st

from services.access import Permission, allows
from services.domain.states import RunState
from services.errors import ServiceError
from services.reconciliation import MOST_DIFFERENCES
from services.reconciliation_run import Run
from ui import errors, page, session, wiring
from ui import format as fmt
from ui.export import to_csv

_PROBLEM = "loop-reconcile-problem"
_DATES = "loop-days"
_DAY_COLUMNS = (
    "day", "mongodb_rows", "lake_rows", "mongodb_amount_minor", "lake_amount_minor", "mongodb_checksum",
    "lake_checksum", "under_way", "differing",
)  # fmt: skip
_SUM = "Of the amounts, in minor units whatever the currency"
_NUMBERS = (
    ("MongoDB rows", None), ("Lake rows", None), ("MongoDB sum", _SUM), ("Lake sum", _SUM),
    ("Under way", "Changed after the moment compared"), ("Differing", "Transactions"),
)  # fmt: skip
_DIFFERENCE_COLUMNS = ("day", "transaction_id", "field", "mongodb", "lake")


@st.fragment(run_every="1s", key="loop-reconciliation")
def show() -> None:
    person = page.guard(Permission.VIEW_HEALTH)
    run = wiring.services().reconciliation.latest()
    may = allows(person, Permission.OPERATE_LOOP)
    running = run is not None and run.state is RunState.RUNNING
    if may:
        _form(running=running)
    problem = st.session_state.pop(_PROBLEM, None)
    if problem is not None:
        errors.show(problem)
    if run is None:
        hint = "Choose the days of payment and compare them." if may else "Administrators can start one."
        page.state("Nothing has been compared yet", f"{hint} The result stays until the next one.", icon="balance")
        return
    _heading(run, may=may)
    if run.days:
        _days(run)
        _differences(run)


def _form(*, running: bool) -> None:
    today = datetime.now(UTC).date()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.date_input(
            "Days of payment (UTC)", (today - timedelta(days=6), today), max_value=today, key=_DATES,
            format="YYYY-MM-DD", width=240, disabled=running,
        )  # fmt: skip
        st.button(
            "Compare", type="primary", icon=":material/balance:", key="loop-compare", disabled=running, on_click=_start
        )
        st.caption(
            "Every transaction of these days in MongoDB against the lake: counts, sums, checksums, and each value that "
            "differs. MongoDB is read as it was at the lake's newest change, so work under way is no difference."
        )


def _start() -> None:
    held = st.session_state.get(_DATES) or ()
    days = [day for day in (held if isinstance(held, (tuple, list)) else (held,)) if isinstance(day, date)]
    if not days:
        return
    try:
        wiring.services().reconciliation.start(min(days), max(days), actor=session.actor())
    except ServiceError as error:
        st.session_state[_PROBLEM] = error


def _cancel() -> None:
    try:
        wiring.services().reconciliation.cancel(actor=session.actor())
    except ServiceError as error:
        st.session_state[_PROBLEM] = error


def verdict(run: Run) -> tuple[str, str, str]:
    """Colour, icon and sentence of a run (Markdown-free text)."""
    days = f"{run.first} to {run.last}" if run.first != run.last else f"{run.first}"
    if run.state is RunState.RUNNING:
        return "blue", "progress_activity", f"Comparing {days}"
    if run.state is RunState.FAILED:
        return "red", "error", run.failure or "It ended before its time."
    part = "" if run.state is RunState.DONE else f" in the {len(run.days)} days compared before it was cancelled"
    if run.differing or any(not day.equal for day in run.days):
        noun = "transaction differs" if run.differing == 1 else "transactions differ"
        return "red", "difference", f"{fmt.count(run.differing)} {noun}{part}"
    return "green", "check_circle", f"MongoDB and the lake are the same{part or f', {days}'}"


def _heading(run: Run, *, may: bool) -> None:
    now = datetime.now(UTC)
    color, icon, sentence = verdict(run)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"##### :{color}[:material/{icon}:] {fmt.literal(sentence)}", width="content", anchors=False)
        if run.state is RunState.RUNNING and may:
            st.button("Cancel", icon=":material/close:", key="loop-cancel", on_click=_cancel)
    if run.state is RunState.RUNNING:
        st.progress(run.fraction, text=f"{fmt.percent(run.fraction, 0)} · {fmt.count(run.rows_read)} rows read")
    facts = [f"Started {fmt.relative(run.started_at, now)} by {run.started_by}"]
    if run.finished_at is not None:
        facts.append(f"took {fmt.duration((run.finished_at - run.started_at).total_seconds())}")
    if run.lake_to is not None:
        facts.append(f"the lake to {fmt.clock(run.lake_to, now, seconds=True)}")
    if run.under_way:
        facts.append(f"{fmt.count(run.under_way)} changed since, left out as under way")
    st.caption(fmt.literal(" · ".join(facts)), help=None if run.snapshot_id is None else f"Snapshot {run.snapshot_id}")
    if not run.exact:
        st.caption(
            "MongoDB no longer remembers that moment, or the topic has several partitions: it was read as it is now, "
            "and whatever is newer there counts as under way."
        )


def _days(run: Run) -> None:
    days = run.days[::-1]
    st.dataframe(
        {
            "Day (UTC)": [day.day for day in days],
            "Same": ["✓ same" if day.equal else "✗ differs" for day in days],
            "MongoDB rows": [day.mongo.rows for day in days],
            "Lake rows": [day.lake.rows for day in days],
            "MongoDB sum": [day.mongo.amount_minor for day in days],
            "Lake sum": [day.lake.amount_minor for day in days],
            "MongoDB checksum": [day.mongo.hex for day in days],
            "Lake checksum": [day.lake.hex for day in days],
            "Under way": [day.under_way for day in days],
            "Differing": [day.differing for day in days],
        },
        hide_index=True,
        key="loop-run-days",
        height="content" if len(days) <= 10 else 390,
        column_config={name: st.column_config.NumberColumn(format="localized", help=note) for name, note in _NUMBERS},
        alt="Each day's counts, sums and checksums in MongoDB and in the lake",
    )


def _differences(run: Run) -> None:
    found = [(d.day, d.transaction_id, d.field, d.mongo, d.lake) for d in run.differences]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if found:
            most = f", the first {fmt.count(MOST_DIFFERENCES)}" if len(found) >= MOST_DIFFERENCES else ""
            st.markdown(f"**Differences{most}**", width="content")
        st.space("stretch")
        _download("Days", run, "days")
        if found:
            _download("Differences", run, "differences")
    if found:
        columns = list(zip(*found, strict=True))
        st.dataframe(
            dict(zip(("Day (UTC)", "Transaction", "Field", "MongoDB", "Lake"), columns, strict=True)),
            hide_index=True,
            key="loop-run-differences",
            placeholder="absent",
            alt="Differences by transaction and field, MongoDB's value and the lake's",
        )


def _download(label: str, run: Run, kind: str) -> None:
    st.download_button(
        label, lambda: csv(run, kind), file_name=f"fraud-desk-{kind}-{run.first}-{run.last}.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key=f"loop-{kind}-csv", help=f"The {kind} as CSV",
    )  # fmt: skip


def csv(run: Run, kind: str) -> bytes:
    """`kind`: days or differences."""
    if kind == "differences":
        rows = ((d.day.isoformat(), d.transaction_id, d.field, d.mongo, d.lake) for d in run.differences)
        return to_csv(_DIFFERENCE_COLUMNS, rows)
    return to_csv(
        _DAY_COLUMNS,
        (
            (
                d.day.isoformat(), d.mongo.rows, d.lake.rows, d.mongo.amount_minor, d.lake.amount_minor, d.mongo.hex,
                d.lake.hex, d.under_way, d.differing,
            )
            for d in run.days
        ),
    )  # fmt: skip
