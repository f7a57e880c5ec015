"""Live scoring: how would this payment score now? Typed in, or a file; the production path, nothing is stored."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from services.access import Actor, Permission
from services.errors import InvalidData, ServiceError
from services.live_scoring import MAX_ROWS, LiveScores
from ui import errors, page, scoring_csv, scoring_form, scoring_result, session, wiring
from ui import format as fmt

_ONE, _BATCH = "live-one", "live-batch"


def show() -> None:
    actor = page.guard(Permission.SCORE_LIVE)
    page.header(
        "How would this payment score now?",
        caption="The live model, with the features of this moment. Nothing is stored.",
    )
    way = st.segmented_control(
        "Input", ("one", "file"), format_func={"one": "One payment", "file": "File of payments"}.__getitem__,
        default="one", required=True, key="live_input", bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    with page.content():
        if way == "file":
            _file()
        else:
            _one(actor)


def _one(actor: Actor) -> None:
    left, right = st.columns([44, 56], gap="medium")
    with left, st.container(border=True):
        _start()
        fields, sent = scoring_form.draw()
    with right, errors.shown():  # a press is not repeated by itself
        if sent:
            record = scoring_form.record_of(
                fields, scoring_form.base(), now=scoring_form.now(), identifier=scoring_form.new_id()
            )
            before: LiveScores | None = (st.session_state.get(_ONE) or (None, None))[0]
            scores = wiring.services().live_scoring.score([record], actor=actor)
            st.session_state[_ONE] = (scores, before.results[0].score if before else None)
        held: tuple[LiveScores, float | None] | None = st.session_state.get(_ONE)
        if held is None:
            scoring_result.nothing_yet()
        else:
            scoring_result.one(held[0], former=held[1])


def _start() -> None:
    """Choose a recent payment; its customer, card and merchant fill the form. Without the database, type."""
    try:
        recent = scoring_form.recent()
    except ServiceError as error:
        errors.show(error)
        recent = ()
    scoring_form.prepare(recent)
    rows = {row.transaction_id: row for row in recent}
    held: str | None = st.session_state.get(scoring_form.START)
    options = list(rows) if held is None or held in rows else [held, *rows]

    def face(identifier: str) -> str:
        row = rows.get(identifier)
        if row is None:
            return fmt.short_id(identifier)
        shop = row.merchant_name or fmt.MISSING
        return f"{fmt.money(row.amount_minor, row.currency, row.exponent)} · {shop} · {row.customer_id}"

    def filled() -> None:
        st.session_state["live-problem"] = errors.attempt(
            partial(scoring_form.start_from, st.session_state.get(scoring_form.START))
        )

    st.selectbox(
        "Start from", options, index=None, format_func=face, placeholder="A recent payment", key=scoring_form.START,
        on_change=filled, help="Fills the form with a known customer, card and merchant; then change what you like.",
    )  # fmt: skip
    problem: ServiceError | None = st.session_state.get("live-problem")
    if problem is not None:
        errors.show(problem)


def _file() -> None:
    left, right = st.columns([70, 30], vertical_alignment="bottom")
    with left:
        upload = st.file_uploader(
            f"CSV, UTF-8, at most {MAX_ROWS:,} rows and {scoring_csv.MAX_BYTES // 2**20} MB", type=["csv"],
            key="live-file", max_upload_size=scoring_csv.MAX_BYTES // 2**20,
        )  # fmt: skip
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "Template", scoring_csv.template(scoring_form.base()), file_name="fraud-desk-template.csv", mime="text/csv",
            icon=":material/table:", on_click="ignore", key="live-template",
            help="The columns with one example row. Unknown fields go into columns named attributes.<name>.",
        )  # fmt: skip
    if upload is None:
        st.session_state.pop(_BATCH, None)
        page.empty("No file yet", "Upload a CSV of payments; every row is checked before anything is scored.")
        return
    parsed = scoring_csv.parse(upload.getvalue())
    good, problems = wiring.services().live_scoring.check(parsed.records)
    bad = len(parsed.records) - len(good)
    if problems:
        total = fmt.count(len(parsed.records))
        st.warning(f"{fmt.count(bad)} of {total} rows cannot be scored.", icon=":material/rule:")
        errors.show_problems(problems, first_row=2, row_name="Line")
    if not good:
        return
    label = f"Score {fmt.count(len(good))} rows" if not bad else f"Score the {fmt.count(len(good))} good rows"
    if st.button(label, type="primary", icon=":material/bolt:", key="live-score-file", shortcut="Ctrl+Enter"):
        st.session_state[_BATCH] = (upload.file_id, _score(parsed, good), bad)
    held: tuple[str, LiveScores, int] | None = st.session_state.get(_BATCH)
    if held is not None and held[0] == upload.file_id:
        scoring_result.batch(held[1], skipped=held[2])


def _score(parsed: scoring_csv.Parsed, good: list[int]) -> LiveScores:
    """Score the good rows and give each result its row in the file."""
    if not good:
        raise InvalidData("No row of the file can be scored.")
    scores = wiring.services().live_scoring.score([parsed.records[row] for row in good], actor=session.actor())
    return replace(scores, results=tuple(replace(r, row=good[r.row]) for r in scores.results))


show()
