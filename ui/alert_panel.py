"""The panel beside the queue: enough of one alert to decide it, and the way to the rest.

What is known scrolls, the verdict stands still below it, so that the buttons are always in the same place.
"""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from services.access import Actor, Permission, allows
from services.transactions import Transaction
from ui import format as fmt
from ui import navigation, queue_state, score_parts, transaction_parts, verdict, wiring

HEIGHT = 538
_KNOWN_HEIGHT = 292
_KNOWN_HEIGHT_FOR_READERS = 394


def draw(identifier: str | None, *, actor: Actor, on_page: bool, waiting: int) -> None:
    """`on_page` is False when the selected transaction is no longer among the rows shown."""
    if identifier is None:
        _nothing_selected(waiting)
        return
    read = wiring.last_good(
        ("transaction", identifier), lambda: wiring.services().transactions.get(identifier), ttl=2.0
    )
    transaction = read.value
    _top(transaction)
    decides = allows(actor, Permission.DECIDE)
    with st.container(height=_KNOWN_HEIGHT if decides else _KNOWN_HEIGHT_FOR_READERS, border=False, gap="small"):
        if not on_page:
            st.caption(":material/info: No longer among the rows shown; it stays open until you select another.")
        if transaction.score is not None:
            score_parts.summary(transaction.score, key="panel-scale")
            score_parts.reason_lines(transaction.score.reasons)
        else:
            score_parts.not_scored(transaction)
        _facts(transaction)
    verdict.bar(transaction, actor=actor, reachable=read.problem is None, saved=queue_state.decided)


def _nothing_selected(waiting: int) -> None:
    st.space("large")
    st.markdown(":gray[:material/left_click:] **Select an alert**", text_alignment="center")
    st.caption("Its score, the reasons and the verdict open here; the list stays where it is.", text_alignment="center")
    if waiting:
        with st.container(horizontal_alignment="center"):
            st.button(
                "Start with the first", key="panel-start", icon=":material/play_arrow:", type="primary", shortcut="J",
                on_click=queue_state.step, args=(1,),
            )  # fmt: skip


def _top(transaction: Transaction) -> None:
    """What it is about, the state it is in, and the neighbours."""
    amount = fmt.money(transaction.amount_minor, transaction.currency, transaction.exponent)
    name = transaction_parts.where(transaction, wiring.services().transactions.mapping, keep=20)
    with st.container(gap="xxsmall"):
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{fmt.literal(amount)}**{name}", width="stretch")
            st.page_link(
                navigation.file_of("transaction"),
                label="Open",
                icon=":material/open_in_full:",
                query_params={"id": transaction.transaction_id},
                help="Everything known about this transaction",
            )
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="xsmall"):
            with st.container(width="stretch"):
                _standing(transaction)
            _step("Prev", -1, "keyboard_arrow_up", "K")
            _step("Next", 1, "keyboard_arrow_down", "J")


def _step(label: str, by: int, icon: str, shortcut: str) -> None:
    st.button(
        label, key=f"panel-{label}", icon=f":material/{icon}:", type="tertiary", shortcut=shortcut,
        on_click=queue_state.step, args=(by,),
    )  # fmt: skip


def _standing(transaction: Transaction) -> None:
    """The verdict that stands, or how long is left for one."""
    if transaction.label is not None:
        verdict.badge(transaction.label.value, by=transaction.label.labelled_by)
    verdict.due_badge(transaction, datetime.now(UTC))


def _facts(transaction: Transaction) -> None:
    """Four lines of context."""
    now = datetime.now(UTC)
    lines = (
        ("Time", f"{fmt.relative(transaction.event_time, now)}, {fmt.clock(transaction.event_time, now)}"),
        *transaction_parts.how(transaction, wiring.services().transactions.mapping),
        ("Customer", transaction.customer_id),
        ("Id", transaction.transaction_id),
    )
    st.markdown("  \n".join(f":gray[{name}] {fmt.literal(value)}" for name, value in lines))
