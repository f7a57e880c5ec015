"""The frame every screen shares: title, freshness, warnings, refusal, and the empty and broken states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import streamlit as st

from services.access import Actor, Permission, Role, allows
from services.errors import Denied, ServiceError
from ui import errors, session, wiring
from ui import format as fmt


class State(StrEnum):
    LIVE = "live"
    CURRENT = "current"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the chip at the top right says, and the exact moment in its tooltip."""

    state: State
    text: str
    help: str


def live(read: wiring.Read[Any], now: datetime) -> Freshness:
    """For screens that follow the database: live, or stale since when and why."""
    if read.problem is None:
        return Freshness(State.LIVE, "live", f"Read {fmt.utc(read.read_at)}")
    since = fmt.clock(read.problem_since, now)
    return Freshness(State.STALE, f"stale since {since}", f"Last read {fmt.utc(read.read_at)}. {read.problem}")


def unreadable(error: ServiceError) -> Freshness:
    """Nothing to be fresh or stale: it could not be read at all."""
    return Freshness(State.STALE, "not readable", error.message)


def current_to(moment: datetime | None, now: datetime, *, problem: ServiceError | None = None) -> Freshness:
    """For screens that show data up to a moment, such as the lake's newest fold."""
    if moment is None:
        return Freshness(State.STALE, "no data yet", "Nothing has been read yet.")
    text = f"current to {fmt.clock(moment, now)}"
    if problem is not None:
        return Freshness(State.STALE, f"stale: {text}", f"{fmt.utc(moment)}. {problem}")
    return Freshness(State.CURRENT, text, fmt.utc(moment))


def chip(freshness: Freshness) -> None:
    """The freshness chip by itself, for the inside of a fragment that renews it."""
    color, icon = {
        State.LIVE: ("green", ":material/sensors:"),
        State.CURRENT: ("gray", ":material/schedule:"),
        State.STALE: ("orange", ":material/cloud_off:"),
    }[freshness.state]
    st.badge(fmt.literal(freshness.text), icon=icon, color=color, help=fmt.literal(freshness.help))  # type: ignore[arg-type]


def header(title: str, *, caption: str | None = None, freshness: Freshness | None = None) -> Any:
    """Title at the left, chip at the right, one line. Returns the right-hand container, for the page's controls."""
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    with row:
        left = st.container(gap=None, width="stretch")
        right = st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"
        )
    with left:
        st.title(title, anchor=False)
        if caption:
            st.caption(caption)
    if freshness is not None:
        with right:
            chip(freshness)
    return right


def keys(shortcuts: Sequence[tuple[str, str]]) -> None:
    """The page's keyboard shortcuts, (keys, what they do); each is also shown on its control."""
    with st.popover("Keys", icon=":material/keyboard:", type="tertiary"):
        st.markdown("\n".join(f"- `{key}` {what}" for key, what in shortcuts))


def guard(permission: Permission) -> Actor:
    """The signed-in person, if the role allows `permission`; otherwise the refusal is shown and the run stops.

    Call it first in every page and again inside every fragment: fragments run without the entry script.
    """
    try:
        person = session.actor()
    except Denied as error:
        errors.show(error)
        st.stop()
    if not allows(person, permission):
        _refuse(person, permission)
        st.stop()
    return person


def _refuse(person: Actor, permission: Permission) -> None:
    holders = [role.value for role in Role if allows(Actor("", "", role), permission)]
    state(
        "Your role does not open this page",
        f"You are signed in as {person.name} ({person.role}). Only {_either(holders)} can {permission}. "
        "Ask your administrator if you need it.",
        icon="lock",
    )


def state(title: str, sentence: str, *, icon: str, action: tuple[str, str] | None = None) -> None:
    """A designed state in the place of content: empty, refused, not found. `action` is (label, page path)."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("small")
        st.markdown(f":gray[:material/{icon}:] **{fmt.literal(title)}**", text_alignment="center")
        st.caption(fmt.literal(sentence), text_alignment="center")
        if action is not None:
            st.page_link(action[1], label=action[0], icon=":material/arrow_forward:")
        st.space("small")


def empty(title: str, hint: str) -> None:
    """Nothing to show, why, and what to do."""
    state(title, hint, icon="inbox")


def broken(error: ServiceError, *, retry: bool = False) -> None:
    """Nothing could be read and nothing was read before: say what is down, in the place of the content.

    `retry` reruns the page every five seconds until it can be shown; a fragment that runs by itself does not need it.
    """
    if retry:
        st.session_state["page-retry"] = False
        _again()
    state("This cannot be shown right now", f"{error.message} This page tries again by itself.", icon="cloud_off")


def stale(read: wiring.Read[Any], *, kept: str = "", in_line: bool = False) -> None:
    """The sentence above stale content; nothing while the data is fresh. `in_line` takes one line, not a box."""
    if read.problem is None:
        return
    sentence = fmt.literal(read.age_sentence(datetime.now(UTC), kept=kept))
    if in_line:
        st.markdown(f":orange[:material/cloud_off: {sentence}]")
    else:
        st.warning(sentence, icon=":material/cloud_off:")


@contextmanager
def content(*, retry: bool = False) -> Iterator[None]:
    """Around reading and drawing: a read that never succeeded becomes the broken state, all else as `errors.shown`."""
    with errors.shown():
        try:
            yield
        except ServiceError as error:
            if not error.retryable:
                raise
            broken(error, retry=retry)


@st.fragment(run_every="5s", key="page-again")
def _again() -> None:
    """Drawn once with the page, then every five seconds alone: only then is the whole page run again."""
    if st.session_state.get("page-retry"):
        st.rerun()
    st.session_state["page-retry"] = True


@st.fragment(run_every="5s", key="health-warnings")
def warnings() -> None:
    """What is down now, and what still works; one line a problem, on top of every screen, nothing while all is well."""
    try:
        found = wiring.last_good(
            ("health.warnings",), lambda: wiring.services().health.warnings(), ttl=2.0, source="health", background=True
        ).value
    except ServiceError as error:
        st.warning(fmt.literal(error.message), icon=":material/cloud_off:")
        return
    for item in found:
        st.warning(fmt.literal(item.sentence), icon=":material/warning:")


def _either(names: list[str]) -> str:
    plural = [f"{name}s" for name in names]
    return plural[0] if len(plural) == 1 else f"{', '.join(plural[:-1])} and {plural[-1]}"
