"""Live scoring: how would this payment score now? Typed in, changed, pasted, or a file; the production path. Nothing
is stored unless somebody who may writes it back."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from services.access import Actor, Permission
from services.errors import ServiceError
from services.live_scoring import LiveScores
from ui import (
    errors,
    page,
    scoring_form,
    scoring_mapped,
    scoring_paste,
    scoring_result,
    scoring_run,
    scoring_what_if,
    scoring_write_back,
    wiring,
)

_ONE = "live-one"
WAYS = {"one": "One payment", "if": "What if", "json": "Pasted JSON", "file": "File of payments"}


def show() -> None:
    actor = page.guard(Permission.SCORE_LIVE)
    page.header(
        "How would this payment score now?",
        caption="The live model, with the features of this moment. Nothing is stored by scoring.",
    )
    way = st.segmented_control(
        "Input", tuple(WAYS), format_func=WAYS.__getitem__,
        default="one", required=True, key="live_input", bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    with page.content():
        if way == "file":
            scoring_run.draw(actor)
        elif way == "json":
            scoring_paste.draw(actor)
        elif way == "if":
            _start()
            scoring_what_if.draw()
        else:
            _one(actor)


def _one(actor: Actor) -> None:
    left, right = st.columns([44, 56], gap="medium")
    with left, st.container(border=True):
        _start()
        record = _form()
    with right, errors.shown():  # a press is not repeated by itself
        if record is not None:
            before: LiveScores | None = (st.session_state.get(_ONE) or (None, None, None))[0]
            scores = wiring.services().live_scoring.score([record], actor=actor)
            st.session_state[_ONE] = (scores, before.results[0].score if before else None, record)
        held: tuple[LiveScores, float | None, dict[str, Any]] | None = st.session_state.get(_ONE)
        if held is None:
            scoring_result.nothing_yet()
        else:
            scoring_result.one(held[0], former=held[1])
            scoring_write_back.offer([held[2]], actor, key="one")


def _form() -> dict[str, Any] | None:
    """The form of the desk's data; the record where it was sent."""
    now, identifier, mapping = scoring_form.now(), scoring_form.new_id(), wiring.services().live_scoring.mapping
    if mapping is None:
        fields, sent = scoring_form.draw()
        return scoring_form.record_of(fields, scoring_form.base(), now=now, identifier=identifier) if sent else None
    base = scoring_form.base()
    scoring_mapped.fill(mapping, base)
    values, sent = scoring_mapped.draw(mapping)
    return scoring_mapped.record_of(mapping, values, now=now, identifier=identifier, base=base) if sent else None


def _start() -> None:
    """Choose a recent payment; its customer, card and merchant fill the form. Without the database, type."""
    try:
        recent = scoring_form.recent()
    except ServiceError as error:
        errors.show(error)
        recent = ()
    scoring_form.prepare(recent)
    faces = scoring_form.faces(recent, st.session_state.get(scoring_form.START))

    def filled() -> None:
        st.session_state["live-problem"] = errors.attempt(
            partial(scoring_form.start_from, st.session_state.get(scoring_form.START))
        )

    st.selectbox(
        "Start from", list(faces), index=None, format_func=faces.__getitem__, placeholder="A recent payment",
        key=scoring_form.START, on_change=filled,
        help="Fills the form with what a known payment says; then change what you like.",
    )  # fmt: skip
    problem: ServiceError | None = st.session_state.get("live-problem")
    if problem is not None:
        errors.show(problem)


show()
