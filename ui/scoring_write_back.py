"""Write what was scored back, for those who may: asked once more, then what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from services.access import Actor
from services.intake import IntakeResult
from ui import errors, wiring
from ui import format as fmt


def offer(records: Sequence[dict[str, Any]], actor: Actor, *, key: str) -> None:
    """The button with its question, below a result; nothing for those who may not write back."""
    write_back = wiring.services().write_back
    if not write_back.allowed(actor):
        return
    ids = tuple(str(record.get("transaction_id")) for record in records)
    what = "this payment" if len(ids) == 1 else f"these {fmt.count(len(ids))} payments"
    with st.container(horizontal=True, horizontal_alignment="right"), st.popover("Write back", icon=":material/input:"):
        st.markdown(f"Send {what} through the front door?")
        st.caption(
            "It becomes a transaction of the desk, is scored again there and may open an alert. Sending it twice "
            "changes nothing. The audit names you."
        )
        sent = st.button("Write back", type="primary", icon=":material/check:", key=f"write-back-{key}")
    if sent:
        with errors.shown():
            st.session_state[f"written-{key}"] = (ids, write_back.write(records, actor=actor))
            wiring.forget("queue", "live")
    held: tuple[tuple[str, ...], IntakeResult] | None = st.session_state.get(f"written-{key}")
    if held is not None and held[0] == ids:
        _told(held[1])


def _told(result: IntakeResult) -> None:
    parts = [f"{fmt.count(result.accepted)} written"]
    if result.duplicates:
        parts.append(f"{fmt.count(result.duplicates)} known before (nothing changed)")
    if result.refused:
        parts.append(f"{fmt.count(result.refused)} refused")
    box = st.warning if result.refused else st.success
    box(f"{', '.join(parts)}.", icon=":material/rule:" if result.refused else ":material/check_circle:")
    if result.refused:
        errors.show_problems(result.problems)
