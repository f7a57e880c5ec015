"""The verdict: a note and three buttons, the same on the queue and on the transaction.

The note lives in the session under the transaction's id, so it survives an outage, a conflict and a change of screen;
it is emptied only when the verdict was saved.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import streamlit as st

from services.access import Actor, Permission, allows
from services.cases import MAX_NOTE
from services.domain.states import AlertStatus, LabelValue
from services.errors import Conflict, ServiceError
from services.transactions import Transaction
from ui import errors, session, wiring
from ui import format as fmt

Saved = Callable[[str, LabelValue], None]
# value -> (icon, shortcut)
CHOICES: dict[LabelValue, tuple[str, str]] = {
    LabelValue.FRAUD: (":material/gpp_bad:", "F"),
    LabelValue.GENUINE: (":material/verified_user:", "G"),
    LabelValue.INCONCLUSIVE: (":material/help:", "I"),
}
COLORS: dict[LabelValue, Any] = {
    LabelValue.FRAUD: "red",
    LabelValue.GENUINE: "green",
    LabelValue.INCONCLUSIVE: "gray",
}
_PROBLEM = "verdict-problem"
_SAVED = "verdict-saved"
_SEEN = "verdict-seen-"


def note_key(transaction_id: str) -> str:
    return f"note-{transaction_id}"


def bar(
    transaction: Transaction, *, actor: Actor, reachable: bool, saved: Saved | None = None, in_line: bool = False
) -> None:
    """Draw note and buttons for one transaction as it was read (its version is what the verdict is about).

    `in_line` puts them beside each other, for the foot of a page; otherwise the buttons stand under the note.
    """
    if not allows(actor, Permission.DECIDE):
        st.caption(f"Your role ({actor.role}) reads verdicts; analysts give them.")
        return
    _outcome(transaction.transaction_id)
    with st.container(horizontal=in_line, vertical_alignment="bottom", gap="small"):
        st.text_area(
            "Note",
            key=note_key(transaction.transaction_id),
            persist_state="session",
            placeholder="What convinced you (optional)",
            label_visibility="collapsed",
            height=68,
            max_chars=MAX_NOTE,
        )
        with st.container(
            horizontal=True, horizontal_alignment="right", gap="xsmall", width="content" if in_line else "stretch"
        ):
            for value in CHOICES:
                _button(transaction, value, reachable=reachable, saved=saved, bare=not in_line)


def _button(transaction: Transaction, value: LabelValue, *, reachable: bool, saved: Saved | None, bare: bool) -> None:
    """`bare` leaves the icon out, where three buttons must fit beside each other."""
    icon, shortcut = CHOICES[value]
    st.button(
        fmt.word(value),
        key=f"verdict-{value}",
        icon=None if bare else icon,
        shortcut=shortcut,
        disabled=not reachable,
        help=None if reachable else "The database does not answer; your note is kept.",
        on_click=_decide,
        args=(transaction.transaction_id, _version(transaction), value, saved),
    )


def _version(transaction: Transaction) -> int:
    """The version a verdict of this person is about: the one with the label they saw when they opened it.

    A page renews itself. Were its newest version taken, somebody else's verdict of a minute ago would be overruled by
    a person who never noticed it; so it stays the old one, the service refuses, says who was first, and the next
    press, knowing that, counts. Changes that leave the label alone do not stand in anybody's way.
    """
    label_id = transaction.label.label_id if transaction.label else None
    seen: tuple[str | None, int] = st.session_state.setdefault(
        _SEEN + transaction.transaction_id, (label_id, transaction.version)
    )
    return transaction.version if seen[0] == label_id else seen[1]


def due_badge(transaction: Transaction, now: datetime) -> None:
    """How long is left for an open alert, red once it is late; nothing for anything else."""
    alert = transaction.alert
    if alert is None or alert.status is not AlertStatus.OPEN:
        return
    late = alert.due_at < now
    text = fmt.due(alert.due_at, now)
    st.badge(
        fmt.word(text) if late else f"Due {text}",
        icon=":material/timer:",
        color="red" if late else "gray",
        help=f"Verdict promised by {fmt.utc(alert.due_at)}",
    )


def badge(value: LabelValue, *, by: str | None = None) -> None:
    text = fmt.word(value) + (f" · {by}" if by else "")
    st.badge(fmt.literal(text), icon=CHOICES[value][0], color=COLORS[value])


def _outcome(transaction_id: str) -> None:
    """What became of the last verdict: a short message when it was saved, the reason when it was not."""
    saved: LabelValue | None = st.session_state.pop(_SAVED, None)
    if saved is not None:
        st.toast(f"Saved as {saved}.", icon=CHOICES[saved][0])
    held: tuple[str, ServiceError] | None = st.session_state.get(_PROBLEM)
    if held is not None and held[0] == transaction_id:
        errors.show(held[1])


def _decide(transaction_id: str, version: int, value: LabelValue, saved: Saved | None) -> None:
    note = st.session_state.get(note_key(transaction_id)) or ""

    def write() -> None:
        wiring.services().cases.decide(
            transaction_id, value, note=note, expected_version=version, actor=session.actor()
        )

    problem = errors.attempt(write)
    if problem is None or isinstance(problem, Conflict):
        st.session_state.pop(_SEEN + transaction_id, None)
    wiring.forget("queue.page", "queue.counts", "transaction", "customer.history", "customer.profile")
    if problem is not None:
        st.session_state[_PROBLEM] = (transaction_id, problem)
        return
    st.session_state.pop(_PROBLEM, None)
    st.session_state[note_key(transaction_id)] = ""
    st.session_state[_SAVED] = value
    if saved is not None:
        saved(transaction_id, value)
