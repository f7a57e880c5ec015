"""Training data: rows of the lake chosen, looked at, shaped by a flow and frozen for training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from services.access import Permission, allows
from services.errors import InvalidData
from services.flow_engine import Fitted
from services.flow_steps import Flow, as_json
from services.training_data import JobState
from services.training_data_import import Imported
from ui import page, session, wiring
from ui import training_data_bar as bar
from ui import training_data_flow as flow_side
from ui import training_data_freeze as freezing
from ui import training_data_view as view
from ui.training_data_step import kinds_of

TITLE = "What shall the model learn from?"


def _fitted(imported: Imported, flow: Flow) -> tuple[Fitted, InvalidData | None]:
    """The flow on the sample; where a step cannot be run, the flow up to it and why."""
    data = wiring.services().training_data
    try:
        return data.fit(imported, flow), None
    except InvalidData as error:
        broken = error
    place = broken.problems[0].row if broken.problems else 0
    columns = tuple(name for name in flow.columns if name in imported.table.column_names) or imported.features
    try:
        return data.fit(imported, replace(flow, columns=columns, steps=flow.steps[:place])), broken
    except InvalidData:
        return data.fit(imported, Flow(imported.features)), broken


def _key(imported: Imported, fitted: Fitted) -> str:
    text = imported.selection.key + json.dumps(as_json(fitted.flow.flow))
    return hashlib.sha256(text.encode()).hexdigest()


def _right(imported: Imported, fitted: Fitted) -> None:
    key = _key(imported, fitted)
    shown = st.segmented_control("View", view.VIEWS, default="Columns", required=True, key="td-view")
    if shown == "Columns":
        view.columns(imported, fitted, key)
    elif shown == "Steps":
        view.steps(fitted)
    elif shown == "Quick model":
        view.model(imported, fitted, key)
    else:
        sets = freezing.frozen().value
        former = sets[0] if sets else None
        drift = wiring.services().training_data.drift
        view.drifted(
            former, lambda old: wiring.drawn(("training_data.drift", key, old.frozen_id), lambda: drift(old, fitted))
        )


def _body(now: datetime, *, may: bool) -> None:
    data = wiring.services().training_data
    job, imported = data.job(), bar.imported()
    running = job is not None and job.state is JobState.RUNNING
    if running:
        assert job is not None
        bar.follow(job.state)
    else:
        bar.failed(job)
        bar.cut_off()
    left, right = st.columns([4, 8], gap="medium")
    with left, st.container(border=True, gap="small"):
        if imported is None:
            st.markdown("**Import from S3**")
            bar.choose(now, may=may)
        else:
            bar.chosen(imported, now)
            with st.expander("Other rows", icon=":material/download:"):
                bar.choose(now, may=may)
    if imported is None:
        with right:
            page.empty(
                "Choose rows to begin" if not running else "Rows are being read",
                "Import a window of the lake: features and labels as they were known, with the profile of each column.",
            )
        return
    draft = flow_side.draft(imported)
    fitted, broken = _fitted(imported, draft.flow)
    with left:
        flow_side.show(draft, imported, kinds_of(fitted.table.column_names, fitted.table.schema.types), broken)
        flow_side.keep(draft, imported, now, may=may, whole=broken is None)
        blocked = None if may else "Your role may not freeze training sets."
        blocked = "A job is under way." if running else blocked
        freezing.form(draft, imported, blocked=blocked or ("A step cannot be run; mend it first." if broken else None))
    with right:
        _right(imported, fitted)


def _render() -> None:
    person = page.guard(Permission.VIEW_TRAINING)
    now = datetime.now(UTC)
    right = page.header(TITLE, caption="Rows and labels of the lake in S3, as they were known.")
    with page.content(retry=True):
        read = freezing.frozen()
        with right:
            page.chip(page.live(read, now))
        page.stale(read, kept="freezing is not possible")
        _body(now, may=allows(session.actor(), Permission.TRAIN) and allows(person, Permission.TRAIN))
        freezing.listed(read.value, now)


_render()
