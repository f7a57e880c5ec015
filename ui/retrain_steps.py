"""The steps of a new experiment, each with its widgets; what they hold goes into the draft (`ui.retrain_state`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from services.errors import ServiceError
from services.frozen_sets import FrozenSet
from services.hyperparameters import HYPERPARAMETERS
from services.training import AUTOPILOT, METHODS, Experiment
from services.training_survey import Survey
from ui import format as fmt
from ui import navigation, retrain_draft, retrain_reads, retrain_request, retrain_settings, retrain_summary
from ui.retrain_draft import FLOW, FROZEN, WINDOW, Draft
from ui.retrain_request import CUSTOM, WINDOWS
from ui.retrain_settings import Field
from ui.retrain_state import seed, seed_setting

SOURCES = {WINDOW: "Live window", FLOW: "Through a flow", FROZEN: "Frozen set"}


def name(draft: Draft, past: Sequence[Experiment], now: datetime, held: FrozenSet | None) -> None:
    proposed = retrain_draft.proposed_name(draft, past, now=now, held=held)
    st.text_input(
        "Experiment name", key=seed("name", draft.name), max_chars=80, placeholder=proposed,
        help="How you will find it again. Left empty, it takes the name shown.",
    )  # fmt: skip
    st.caption("Left empty, it is called as proposed. Names are given once.")


def data(draft: Draft, now: datetime, held: FrozenSet | None, counted: Survey | ServiceError | None) -> None:
    st.segmented_control(
        "Learn from", list(SOURCES), key=seed("source", draft.source), format_func=SOURCES.__getitem__, required=True
    )
    if draft.source == FROZEN:
        _frozen(draft, held, now)
    else:
        _window(draft, now)
        if draft.source == FLOW:
            _flow(draft)
    span = retrain_draft.window(draft, now=now, held=held)
    if held is not None or draft.source != FROZEN:
        said = [
            retrain_request.explained(span),
            f"**Counted**: {fmt.literal(retrain_summary.counts(counted, held))}.",
            f"**Target**: {fmt.literal(retrain_summary.TARGET)}.",
        ]
        if caution := retrain_request.young_labels(span):
            said.append(f":orange[:material/hourglass_top:] {caution}")
        st.caption("  \n".join(said), help=retrain_request.DETAILS)
    if draft.source == WINDOW:
        _features(draft)


def _window(draft: Draft, now: datetime) -> None:
    st.segmented_control(
        "Transactions of the last days", [*WINDOWS, CUSTOM], key=seed("preset", draft.preset), required=True,
        format_func=lambda key: "Custom" if key == CUSTOM else str(WINDOWS[key]),
    )  # fmt: skip
    if draft.preset != CUSTOM:
        return
    today = now.date()
    left, right = st.columns(2, gap="small")
    days = draft.days or retrain_draft.usual_days(today)
    left.date_input("From and to (inclusive)", key=seed("days", days), max_value=today, format="YYYY-MM-DD")
    right.date_input(
        "Labels known until the end of", key=seed("cutoff", draft.cutoff or today), max_value=today,
        format="YYYY-MM-DD", help="A label that arrived later is not looked at. Cannot be before the window's end.",
    )  # fmt: skip


def _flow(draft: Draft) -> None:
    saved = {held.flow_id: held for held in retrain_reads.flows()}
    if not saved:
        st.caption("No flow is saved yet. Steps that are saved on Training data make the columns of a model.")
        st.page_link(navigation.file_of("training_data"), label="Training data", icon=":material/table_chart:")
        return
    left, right = st.columns([3, 1], gap="small")
    st.session_state.setdefault("retrain_flow_id", draft.flow[0] if draft.flow[0] in saved else None)
    chosen = left.selectbox(
        "Flow", list(saved), key="retrain_flow_id", format_func=lambda key: saved[key].name, index=None,
        placeholder="Choose a saved flow", help="Its steps make the columns; the same steps run at scoring.",
    )  # fmt: skip
    if chosen is None:
        return
    known = [(held.flow_id, held.version) for held in retrain_reads.versions(chosen)]
    now_set = st.session_state.get("retrain_flow", draft.flow)
    st.session_state["retrain_flow"] = now_set if now_set in known else known[0]
    right.selectbox("Version", known, key="retrain_flow", format_func=lambda key: str(key[1]))
    held = next(one for one in retrain_reads.versions(chosen) if (one.flow_id, one.version) == known[0])
    st.caption(f"{len(held.flow.columns)} columns in, {len(held.flow.steps)} steps. {fmt.literal(held.note)}")


def _frozen(draft: Draft, held: FrozenSet | None, now: datetime) -> None:
    known = {one.frozen_id: one for one in retrain_reads.frozen_sets()}
    if not known:
        st.caption(
            "Nothing is frozen yet. A frozen set fixes rows, labels and columns, so that models can be compared."
        )
        st.page_link(navigation.file_of("training_data"), label="Training data", icon=":material/table_chart:")
        return
    st.session_state.setdefault("retrain_frozen", draft.frozen if draft.frozen in known else None)
    st.selectbox(
        "Frozen training set", list(known), key="retrain_frozen", index=None, placeholder="Choose a frozen set",
        format_func=lambda key: f"{known[key].name}, frozen {fmt.relative(known[key].frozen_at, now)}",
        help="Its very files are learned from: the same rows, labels and columns each time.",
    )  # fmt: skip
    if held is not None:
        st.caption(
            f"Snapshot {fmt.short_id(str(held.snapshot_id))}, {len(held.features)} columns"
            f"{f', flow version {held.flow_version}' if held.flow else ''}, SHA-256 `{held.sha256[:16]}`."
        )


def _features(draft: Draft) -> None:
    specs = retrain_reads.features()
    titles = {spec.name: spec.title for spec in specs}
    st.multiselect(
        f"Leave out of {len(specs)} features", list(titles), key=seed("left_out", list(draft.left_out)),
        format_func=lambda key: titles.get(key, key), placeholder="None: all are learned from. Type to search",
        help="All is what usually works best; leave out what will not be there when scoring.",
    )  # fmt: skip
    with st.expander(f"What the {len(specs)} features are", icon=":material/view_column:"):
        st.dataframe(
            [
                {"Learned from": spec.name not in draft.left_out, "Feature": spec.title, "Unit": spec.unit,
                 "What it is made of": spec.description, "Column": spec.name}
                for spec in specs
            ],
            hide_index=True, height=260, key="retrain-features",
            alt="Every feature with its unit and what it is made of, and whether it is learned from",
        )  # fmt: skip


def method(draft: Draft) -> None:
    st.segmented_control(
        "Method", METHODS, key=seed("method", draft.method), required=True,
        format_func=retrain_summary.METHOD_NAMES.__getitem__,
    )  # fmt: skip
    if draft.method == AUTOPILOT:
        st.caption("Trains several models within the limits, lists them all and keeps the best.")
        st.selectbox(
            "Mode", list(retrain_summary.MODE_NAMES), key=seed("mode", draft.mode),
            format_func=lambda key: f"{retrain_summary.MODE_NAMES[key]} ({key})",
        )  # fmt: skip
        left, right = st.columns(2, gap="small")
        left.number_input(
            "Candidates, at most", 2, 50, key=seed("candidates", draft.candidates),
            help="Models that are tried; a blend counts as one.",
        )  # fmt: skip
        right.number_input(
            "Minutes, at most", 1, 1440, key=seed("minutes", draft.minutes), help="What is trained by then is ranked."
        )
        return
    st.caption("Gradient-boosted trees with early stopping on later rows. The usual settings are a good start.")
    _numbers(draft, retrain_settings.FIELDS)
    with st.expander("More settings", icon=":material/tune:"):
        _numbers(draft, retrain_settings.MORE)
        for column, choice in zip(st.columns(2, gap="small") * 2, retrain_settings.CHOICES, strict=True):
            key = seed_setting(choice.key, draft.settings.get(choice.key, choice.usual))
            column.selectbox(
                choice.label, list(choice.words), key=key, format_func=choice.words.__getitem__, help=choice.help
            )


def _numbers(draft: Draft, fields: Sequence[Field]) -> None:
    columns = st.columns(3, gap="small")
    for place, one in enumerate(fields):
        low, high, _ = HYPERPARAMETERS[one.key]
        kind = int if one.whole else float
        key = seed_setting(one.key, kind(draft.settings.get(one.key, one.usual)))
        columns[place % 3].number_input(
            one.label, kind(low), kind(high), key=key, step=1 if one.whole else one.step,
            help=f"{one.help} Usual: {one.usual:g}.",
        )  # fmt: skip


def endpoint(draft: Draft, desk: str) -> None:
    names = {False: f"The desk's own{f', {desk}' if desk else ''}", True: "Another endpoint"}
    st.segmented_control(
        "Endpoint", list(names), key=seed("elsewhere", draft.elsewhere), required=True, format_func=names.__getitem__
    )
    if draft.elsewhere:
        st.text_input(
            "Name of the endpoint", key=seed("endpoint", draft.endpoint), max_chars=63, placeholder="fraud-desk-trial",
            help="Letters, digits and hyphens. Made if there is none; one that the desk did not make is left alone.",
        )  # fmt: skip
        st.caption(
            f"Live transactions go on being scored by {fmt.literal(desk) or 'the own endpoint of the desk'}. This one "
            "only answers whoever asks it by its name."
        )
    st.toggle(
        "Deploy the model as soon as it is registered", key=seed("auto_deploy", draft.auto_deploy),
        help="Before anybody compared it. Off: it waits on Deploy.",
    )  # fmt: skip
    if draft.auto_deploy and not draft.elsewhere:
        st.caption(
            ":orange[:material/warning:] It will score live transactions before anybody compared it with the model "
            "that serves. The former one is a roll back away."
        )
    elif draft.elsewhere and not draft.auto_deploy:
        st.caption("Nothing is put there by itself: Deploy puts models on the desk's own endpoint.")
