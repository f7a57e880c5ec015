"""The connectors of the loop: state, tasks, lag, and the pause with its reason and its undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import streamlit as st

from services.access import Actor, Permission, allows
from services.connectors import LONGEST_REASON, NOT_CONFIGURED, Connector, ConnectorState, Tasks
from services.errors import ServiceError
from services.health import Hop
from ui import errors, loop_view, page, session, wiring
from ui import format as fmt

_PROBLEM = "loop-connector-problem"
_LOOKS = {
    ConnectorState.RUNNING: loop_view.Look("Running", "check_circle", "green"),
    ConnectorState.PAUSED: loop_view.Look("Paused", "pause_circle", "orange"),
    ConnectorState.PAUSING: loop_view.Look("Pausing", "pause_circle", "orange"),
    ConnectorState.FAILED: loop_view.Look("Failed", "cancel", "red"),
    ConnectorState.STOPPED: loop_view.Look("Stopped", "cancel", "red"),
    ConnectorState.UNASSIGNED: loop_view.Look("Not assigned", "cancel", "red"),
}


def look(state: ConnectorState) -> loop_view.Look:
    """States on the way to another one are grey."""
    return _LOOKS.get(state) or loop_view.Look(fmt.word(state.lower()), "progress_activity", "gray")


def tasks(known: Tasks | None) -> str:
    """'1 running', '2 running, 1 failed'; counts of zero are left out, unless all are."""
    if known is None:
        return fmt.MISSING
    counts = ((known.running, "running"), (known.paused, "paused"), (known.failed, "failed"))
    told = ", ".join(f"{count} {word}" for count, word in counts if count) or "none running"
    return told if known.at is None else f"{told} at {fmt.clock(known.at)}"


@st.fragment(run_every="2s", key="loop-connectors")
def show(hop: Callable[[], Hop | None]) -> None:
    """`hop` reads the hop that these connectors are, for its lag and rate."""
    person = page.guard(Permission.VIEW_HEALTH)
    connectors = wiring.services().connectors
    if not connectors.configured:
        page.state("No connectors to show", NOT_CONFIGURED, icon="cable")
        return
    with page.content():
        read = wiring.last_good(("connectors.list",), connectors.list, ttl=1.5, source="connectors", background=True)
        page.stale(read, kept="pausing is not possible")
        if not read.value:
            page.empty("No connector has this name", "Look at FRAUD_DESK_CONNECTORS: names must begin with it.")
        _table(read.value, person, hop(), now=read.read_at, usable=read.problem is None)
    problem = st.session_state.pop(_PROBLEM, None)
    if problem is not None:
        errors.show(problem)


def _table(connectors: Sequence[Connector], person: Actor, stream: Hop | None, *, now: datetime, usable: bool) -> None:
    may = allows(person, Permission.OPERATE_LOOP)
    for connector in connectors:
        state = look(connector.state)
        with st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
                st.markdown(f":material/cable: **{fmt.literal(connector.name)}**", width="content")
                st.badge(state.word, icon=f":material/{state.icon}:", color=state.color)  # type: ignore[arg-type]
                st.markdown(f":gray[Tasks] {tasks(connector.tasks)}", width="content", help=_counted(connector.tasks))
                if stream is not None:
                    st.markdown(f":gray[Behind] {loop_view.behind(stream)}", width="content")
                    st.markdown(f":gray[Rate] {loop_view.rate(stream.per_second)}", width="content")
                st.space("stretch")
                if may:
                    _actions(connector, usable=usable)
            _told(connector, now)
    if not may:
        st.caption("Administrators can pause and resume connectors.")


def _told(connector: Connector, now: datetime) -> None:
    if connector.pause is not None:
        who = f"Paused {fmt.relative(connector.pause.at, now)} by {fmt.literal(connector.pause.by)}"
        st.caption(f"{who}: {fmt.literal(connector.pause.reason)}", help=fmt.utc(connector.pause.at))
    elif connector.paused:
        st.caption("Paused from outside the desk.")
    if connector.paused:
        st.caption(
            "Changes wait in MongoDB and are read when it is resumed; nothing is lost while MongoDB keeps its history."
        )
    if connector.failure:
        st.error(fmt.literal(connector.failure), icon=":material/error:")
    elif connector.description:
        st.caption(fmt.literal(connector.description))


def _counted(known: Tasks | None) -> str | None:
    return None if known is None or known.at is None else f"As CloudWatch counted at {fmt.utc(known.at)}"


def _actions(connector: Connector, *, usable: bool) -> None:
    name = connector.name
    if connector.paused:
        st.button(
            "Resume", icon=":material/play_arrow:", key=f"loop-resume-{name}", type="primary", disabled=not usable,
            on_click=_resume, args=(name,),
        )  # fmt: skip
        return
    ready = usable and connector.state is ConnectorState.RUNNING
    with st.popover("Pause", icon=":material/pause:", key=f"loop-pause-{name}", disabled=not ready):
        st.markdown(
            f"**{fmt.literal(name)}** stops reading until somebody resumes it. Every screen says so; fraud rates and "
            "training see nothing newer."
        )
        st.text_area(
            "Why", key=f"loop-reason-{name}", max_chars=LONGEST_REASON, height=80,
            placeholder="What it has to wait for", help="Shown to everybody, and kept in the audit with your name.",
        )  # fmt: skip
        st.button(
            f"Pause {name}", key=f"loop-pause-go-{name}", type="primary", icon=":material/pause:",
            on_click=_pause, args=(name,),
        )  # fmt: skip


def _pause(name: str) -> None:
    reason = st.session_state.get(f"loop-reason-{name}") or ""
    try:
        wiring.services().connectors.pause(name, reason=reason, actor=session.actor())
    except ServiceError as error:
        st.session_state[_PROBLEM] = error
        return
    st.session_state[f"loop-reason-{name}"] = ""
    _after()


def _resume(name: str) -> None:
    try:
        wiring.services().connectors.resume(name, actor=session.actor())
    except ServiceError as error:
        st.session_state[_PROBLEM] = error
        return
    _after()


def _after() -> None:
    wiring.forget("connectors.list", "health.hops", "health.warnings")
