"""Pasted JSON: one payment or a list of them, scored at once."""

from __future__ import annotations

from typing import Any

import orjson
import streamlit as st

from services.access import Actor
from services.live_scoring import MAX_ROWS, LiveScores
from services.live_scoring_paste import records_of
from ui import errors, page, scoring_form, scoring_mapped, scoring_result, scoring_write_back, wiring

_HELD, _TEXT = "live-pasted", "live-json"


def draw(actor: Actor) -> None:
    left, right = st.columns([44, 56], gap="medium")
    mapped = wiring.services().live_scoring.source is not None
    own = ', or {"source": [...]} with rows in the columns of your files' if mapped else ""
    with left:
        with st.form("live-json-form", border=True):
            text = st.text_area(
                "One payment as a JSON object, or a list of them", key=_TEXT, height=360, persist_state="session",
                placeholder='{"transaction_id": "t-1", "event_time": "2026-01-31T12:00:00Z", ...}',
                help=f"At most {MAX_ROWS:,} at once, in the shape that the front door takes{own}. Nothing is stored.",
            )  # fmt: skip
            with st.container(horizontal=True, horizontal_alignment="right"):
                sent = st.form_submit_button("Score", type="primary", icon=":material/bolt:")
        # Not in the form: Ctrl+Enter in a text area presses the form's first button, whichever that is.
        st.button("Example", icon=":material/content_paste:", type="tertiary", on_click=_example)
    with right, errors.shown():
        if sent:
            records = records_of(text, wiring.services().live_scoring.source)
            st.session_state[_HELD] = (records, wiring.services().live_scoring.score(records, actor=actor))
        held: tuple[list[Any], LiveScores] | None = st.session_state.get(_HELD)
        if held is None:
            page.empty("No score yet", "Paste payments on the left; every problem is listed before anything is scored.")
            return
        records, scores = held
        if len(records) == 1:
            scoring_result.one(scores, former=None)
        else:
            scoring_result.batch(scores)
        scoring_write_back.offer(records, actor, key="pasted")


def _example() -> None:
    """The payment of the form, as JSON."""
    mapping, now, identifier = wiring.services().live_scoring.mapping, scoring_form.now(), scoring_form.new_id()
    if mapping is None:
        fields = scoring_form.fields()
        record = scoring_form.record_of(fields, scoring_form.base(), now=now, identifier=identifier)
    else:
        errors.attempt(lambda: scoring_form.prepare(scoring_form.recent()))  # without it: no names
        base = scoring_form.base()
        scoring_mapped.fill(mapping, base)
        values = scoring_mapped.values(mapping)
        record = scoring_mapped.record_of(mapping, values, now=now, identifier=identifier, base=base)
    st.session_state[_TEXT] = orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
