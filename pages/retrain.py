"""Experiments: ask for a model to be trained, follow it step by step, rank and compare what came out."""

from __future__ import annotations

import time

import streamlit as st

from services.access import Permission, allows
from services.errors import NotFound, ServiceError
from services.training import Experiment
from services.worker_status import utc_now
from ui import format as fmt
from ui import (
    page,
    retrain_address,
    retrain_board,
    retrain_compare_view,
    retrain_detail,
    retrain_reads,
    retrain_wizard,
    retry,
    wiring,
)
from ui.retrain_address import COMPARE, NEW

TITLE = "What shall the model learn next?"


def _selected(experiments: tuple[Experiment, ...]) -> Experiment | None:
    """The one that the address names; without one the one under way, else the newest. None for an unknown id."""
    asked = st.query_params.get("id")
    if not asked:
        return next((e for e in experiments if not e.finished), experiments[0])
    found = next((e for e in experiments if e.experiment_id == asked), None)
    if found is not None:
        return found
    try:
        return wiring.last_good(("training.one", asked), lambda: wiring.services().training.get(asked), ttl=1.5).value
    except NotFound:
        return None


@st.fragment(run_every="2s", key="retrain-detail")
def _follow(drawn_states: tuple[tuple[str, str], ...]) -> None:
    """The chosen experiment, renewed every 2 s; a change of any state redraws the whole page with its list."""
    person = page.guard(Permission.VIEW_TRAINING)
    with page.content():
        read = retrain_reads.experiments()
        page.stale(read, kept="starting and stopping is not possible")
        if _states(read.value) != drawn_states:
            st.rerun()
        if not read.value:
            page.empty("Nothing has been trained yet", "Start the first one under New experiment; it takes minutes.")
            return
        chosen = _selected(read.value)
        if chosen is None:
            asked = st.query_params.get("id", "")
            page.state(f"There is no experiment {asked}", "Choose one in the leaderboard above.", icon="search_off")
            return
        champion = retrain_reads.champion()
        retrain_detail.show(
            chosen, now=utc_now(), may_stop=allows(person, Permission.TRAIN),
            champion=next((e for e in read.value if champion and e.model_version == champion), None),
        )  # fmt: skip


def _states(experiments: tuple[Experiment, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((e.experiment_id, e.state.value) for e in experiments)


def _experiments(experiments: tuple[Experiment, ...]) -> None:
    if experiments:
        chosen = _selected(experiments)
        if chosen is not None:
            retrain_address.put("id", chosen.experiment_id)
        retrain_board.show(experiments, chosen.experiment_id if chosen else None, champion=retrain_reads.champion())
    _follow(_states(experiments))


def _render() -> None:
    person = page.guard(Permission.VIEW_TRAINING)
    now = utc_now()
    right = page.header(TITLE, caption="Teach the model what analysts and chargebacks have said since.")
    with page.content():
        view = retrain_address.view()
        try:
            with st.skeleton(520):
                read = retrain_reads.experiments()
        except ServiceError:
            retry.until_back(time.monotonic())
            raise
        with right:
            page.chip(page.live(read, now))
        if view == NEW:
            page.stale(read, kept="starting is not possible")
            running = next((e for e in read.value if not e.finished), None)
            if running is not None:
                st.caption(f":material/hourglass_top: {fmt.literal(running.name)} is under way.")
            retrain_wizard.show(now, read.value, person=person)
        elif view == COMPARE:
            page.stale(read)
            retrain_compare_view.show(read.value, champion=retrain_reads.champion())
        else:
            _experiments(read.value)


_render()
