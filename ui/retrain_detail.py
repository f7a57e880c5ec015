"""One experiment on the screen: its steps, learning curves, result against the baseline, timeline and log."""

from __future__ import annotations

import re
from datetime import datetime

import plotly.graph_objects as go
import streamlit as st

from services.errors import ServiceError
from services.training import Experiment, ExperimentState
from ui import (
    charts,
    charts_training,
    errors,
    model_comparison,
    navigation,
    retrain_address,
    retrain_candidates,
    retrain_record,
    retrain_view,
    session,
    wiring,
)
from ui import format as fmt

_PHASES = {
    "done": ("check_circle", "green"),
    "now": ("progress_activity", "blue"),
    "waiting": ("radio_button_unchecked", "gray"),
}
LOG_LINES = 200
_HEADING = re.compile(r"^(?=#)", re.MULTILINE)


def show(experiment: Experiment, *, now: datetime, may_stop: bool, champion: Experiment | None = None) -> None:
    """Draws inside the caller's container; meant to be drawn again every few seconds.

    `champion` is the experiment whose model serves, to compare with.
    """
    with st.container(border=True, gap="small"):
        _head(experiment, now, may_stop=may_stop, champion=champion)
        _steps(experiment, now)
        if experiment.failure:
            st.error(fmt.literal(experiment.failure), icon=":material/error:")
        elif experiment.note and not experiment.finished:
            st.caption(f":material/hourglass_top: {fmt.literal(experiment.note)}")
        _figures(experiment)
        lines = _log(experiment)
        _curves(experiment, lines)
        retrain_candidates.show(experiment)
        timeline, record, log, card = st.tabs(["Timeline", "Record", "Log", "Model card"], key="retrain-tabs")
        with timeline:
            _timeline(experiment, now)
        with record:
            retrain_record.show(experiment)
        with log:
            _log_tail(experiment, lines)
        with card:
            _card(experiment)


def _head(experiment: Experiment, now: datetime, *, may_stop: bool, champion: Experiment | None) -> None:
    icon, color = retrain_view.ICONS[experiment.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{fmt.literal(experiment.name)}**", width="content", help=_provenance(experiment))
        st.badge(fmt.word(experiment.state.value), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
        st.caption(
            f"{fmt.relative(experiment.requested_at, now)}, "
            f"took {fmt.duration(retrain_view.duration(experiment, now=now))}"
            if experiment.finished
            else f"{fmt.literal(experiment.requested_by)}, {fmt.relative(experiment.requested_at, now)}",
            width="content",
        )
        st.space("stretch")
        if not experiment.finished and may_stop:
            _stop(experiment)
        if experiment.metrics and champion is not None and champion.experiment_id != experiment.experiment_id:
            st.button(
                f"Compare with {champion.model_version}", key="retrain-compare", icon=":material/compare_arrows:",
                on_click=retrain_address.compare, args=(champion.experiment_id, experiment.experiment_id),
                help="Beside the model that serves: settings, data, figures and curves.",
            )  # fmt: skip
        if experiment.state is ExperimentState.CANDIDATE:
            st.page_link(
                navigation.file_of("deploy"),
                label=f"Deploy {experiment.model_version}",
                icon=":material/rocket_launch:",
            )


def _provenance(experiment: Experiment) -> str:
    """Where an experiment comes from, for its tooltip: id, lake snapshot, job."""
    snapshot = experiment.snapshot_id if experiment.snapshot_id is not None else "not pinned yet"
    job = experiment.training_job or "not created yet"
    return f"Experiment {experiment.experiment_id}. Lake snapshot {snapshot}. Training job {job}."


def _stop(experiment: Experiment) -> None:
    asked = experiment.stop_requested_by is not None
    with st.popover("Stopping" if asked else "Stop", icon=":material/stop_circle:", disabled=asked, key="retrain-stop"):
        st.markdown(f"Stop **{fmt.literal(experiment.name)}**? What was trained so far is discarded.")
        st.button(
            "Stop training", key="retrain-stop-confirm", icon=":material/stop_circle:", type="primary",
            on_click=_request_stop, args=(experiment.experiment_id,),
        )  # fmt: skip
    problem = st.session_state.pop("retrain-stop-problem", None)
    if problem is not None:
        errors.show(problem)


def _request_stop(experiment_id: str) -> None:
    try:
        wiring.services().training.stop(experiment_id, actor=session.actor())
    except ServiceError as error:
        st.session_state["retrain-stop-problem"] = error
        return
    wiring.forget("training.experiments")


def _steps(experiment: Experiment, now: datetime) -> None:
    phases = _PHASES | {"ended": retrain_view.ICONS[experiment.state]}
    found = retrain_view.steps(experiment, now=now)
    for column, step in zip(st.columns(len(found), gap="xsmall"), found, strict=True):
        icon, color = phases[step.phase]
        with column.container(gap=None):
            st.markdown(f":{color}[:material/{icon}:] {step.title}")
            took = f", {fmt.duration(step.seconds)}" if step.seconds is not None else ""
            st.caption(
                f"{fmt.clock(step.began_at)}{took}" if step.began_at else " ",
            )


def _figures(experiment: Experiment) -> None:
    if experiment.rows is None:
        return
    score, baseline = retrain_view.average_precision(experiment), retrain_view.prevalence(experiment)
    ap, base, rows, version = st.columns(4, gap="small")
    with ap.container(gap=None):
        st.metric("Average precision", f"{score:.3f}" if score is not None else None, help=model_comparison.ESTIMATOR)
        st.caption(retrain_view.lift(score, baseline) or "Known when training ends")
    with base.container(gap=None):
        st.metric(
            "Prevalence",
            f"{baseline:.4f}" if baseline is not None else None,
            help="Average precision of a blind guess.",
        )
        st.caption("Baseline")
    with rows.container(gap=None):
        taught = "Young rows are too new to measure on: only the last fit, on all rows, learns from them."
        st.metric("Rows", fmt.count(experiment.rows), help=taught if experiment.young else None)
        young = f", {fmt.count(experiment.young)} rows young" if experiment.young else ""
        st.caption(f"{fmt.count(experiment.positives)} frauds{young}")
    with version.container(gap=None):
        st.metric("Model", experiment.model_version or fmt.MISSING)
        st.caption("Registered" if experiment.model_version else "Not registered yet")


def _log(experiment: Experiment) -> tuple[str, ...] | ServiceError:
    if experiment.training_job is None:
        return ()
    identifier = experiment.experiment_id
    try:
        return wiring.last_good(
            ("training.log", identifier),
            lambda: wiring.services().training.log_tail(identifier, LOG_LINES * 5),
            ttl=60.0 if experiment.finished else 1.5,
            source="training logs",
            background=True,
        ).value
    except ServiceError as error:
        return error


def _curves(experiment: Experiment, lines: tuple[str, ...] | ServiceError) -> None:
    if experiment.training_job is None or isinstance(lines, ServiceError):
        return
    colors = charts.palette()

    def make() -> go.Figure | None:
        frame = charts_training.curves(lines)
        if frame.empty and experiment.finished:
            return None
        return charts_training.learning(frame, prevalence=retrain_view.prevalence(experiment), colors=colors)

    figure = wiring.drawn(("retrain.curves", experiment.experiment_id, experiment.revision, lines, colors), make)
    if figure is None:
        return
    charts.show(
        figure,
        key="retrain-curves",
        alt="Area under the PR curve by boosting round, train and validation",
    )


def _timeline(experiment: Experiment, now: datetime) -> None:
    st.dataframe(
        [
            {
                "At (UTC)": f"{entry.at:%Y-%m-%d %H:%M:%S}",
                "State": retrain_view.entry_word(entry),
                "What happened": entry.message,
            }
            for entry in retrain_view.timeline(experiment)
        ],
        hide_index=True,
        alt="What happened to this experiment, newest first",
    )


def _card(experiment: Experiment) -> None:
    if experiment.artifact_uri is None:
        st.caption("The card is written when the model is trained.")
        return
    identifier = experiment.experiment_id
    try:
        text = wiring.last_good(
            ("training.card", identifier, experiment.artifact_uri),
            lambda: wiring.services().training.model_card(identifier),
            ttl=3600.0, source="S3", background=True,
        ).value  # fmt: skip
    except ServiceError as error:
        st.caption(f":material/cloud_off: The model card cannot be read: {fmt.literal(error.message)}")
        return
    st.download_button(
        "Markdown", text, f"model-card-{experiment.model_version or identifier}.md", "text/markdown",
        icon=":material/download:", key="retrain-card-download", on_click="ignore",
    )  # fmt: skip
    st.markdown(_HEADING.sub("##", text))  # the page has its headings already


def _log_tail(experiment: Experiment, lines: tuple[str, ...] | ServiceError) -> None:
    if isinstance(lines, ServiceError):
        st.caption(f":material/cloud_off: The log cannot be read now: {fmt.literal(lines.message)}")
    elif not lines:
        st.caption("The log begins when the training job runs.")
    else:
        st.code("\n".join(lines[-LOG_LINES:]), language=None, height=240, line_numbers=False)
