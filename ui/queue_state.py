"""What the queue remembers between runs: the moment it shows, where in the pages it is, what is selected.

Rows are as of one moment until the person asks for newer ones. The cursor is in the URL, so that an address is the
same page for everybody; the way back is a stack in the session.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime

import streamlit as st

from services.domain.states import LabelValue
from services.transactions import QueuePage, QueueRow
from ui import live_table
from ui.live_table import Standing

GRID = "queue-grid"
_AS_OF, _BACK, _PIN, _DRAWN = "queue-as-of", "queue-back", "queue-pin", "queue-drawn"
_SELECTED, _STANDING, _VERDICTS = "queue-selected", "queue-standing", "queue-verdicts"


def as_of() -> datetime:
    moment: datetime = st.session_state.setdefault(_AS_OF, datetime.now(UTC))
    return moment


def show_newest() -> None:
    """Let the waiting rows in: a new moment, from the first page."""
    st.session_state[_AS_OF] = datetime.now(UTC)
    st.session_state[_VERDICTS] = {}
    first_page()


def first_page() -> None:
    st.session_state[_BACK] = []
    st.query_params.pop("cursor", None)


def filters_changed() -> None:
    """Another list is another start; what is selected stays until something else is."""
    show_newest()


def cursor() -> str | None:
    return st.query_params.get("cursor") or None


def next_page(after: str) -> None:
    st.session_state.setdefault(_BACK, []).append(cursor())
    st.query_params["cursor"] = after


def previous_page() -> None:
    back = st.session_state.get(_BACK) or []
    before = back.pop() if back else None
    if before:
        st.query_params["cursor"] = before
    else:
        st.query_params.pop("cursor", None)


def page_number() -> int | None:
    """1-based; None on a shared address whose earlier pages were never seen."""
    if cursor() is None:
        return 1
    back = st.session_state.get(_BACK) or []
    return len(back) + 1 if back else None


def standing(signature: Hashable, page: QueuePage) -> Standing:
    """The page's rows in the places they got when this view was first drawn."""
    pin: tuple[Hashable, tuple[QueueRow, ...]] | None = st.session_state.get(_PIN)
    if pin is None or pin[0] != signature:
        pin = (signature, page.rows)
    shown = live_table.stand_still(pin[1], page.rows)
    st.session_state[_PIN] = (signature, shown.rows)
    st.session_state[_STANDING] = shown
    return shown


def selected() -> str | None:
    found: str | None = st.session_state.get(_SELECTED)
    return found


def select(identifier: str | None) -> None:
    st.session_state[_SELECTED] = identifier


def take_selection() -> None:
    """The grid's callback: its position means the row that was drawn there, not the one that is there by now."""
    select(live_table.id_at(st.session_state.get(GRID), st.session_state.get(_DRAWN, ())))


def put_selection(shown: Standing) -> None:
    """Before drawing: point the grid at the row where the selected transaction is now."""
    st.session_state[_DRAWN] = shown.ids
    st.session_state[GRID] = live_table.selection_of(selected(), shown.ids)


def step(by: int) -> None:
    select(live_table.step(selected(), st.session_state.get(_DRAWN, ()), by))


def verdicts() -> dict[str, LabelValue]:
    """Verdicts given since the rows were read; the rows stay in their places and show them."""
    found: dict[str, LabelValue] = st.session_state.setdefault(_VERDICTS, {})
    return found


def decided(transaction_id: str, value: LabelValue) -> None:
    """After a saved verdict: remember it and go on with the next alert that waits, if any."""
    verdicts()[transaction_id] = value
    shown: Standing | None = st.session_state.get(_STANDING)
    if shown is not None:
        following = live_table.next_open(transaction_id, shown, decided=frozenset(verdicts()))
        select(following or transaction_id)
