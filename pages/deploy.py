"""Which model scores: the endpoint now, candidates against it, deploy or roll back with a reason, and the history."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import streamlit as st

from services.access import Actor, Permission, allows
from services.deployment import Deployment, EndpointState
from services.errors import ServiceError, Unavailable
from services.models import ModelVersion
from services.training import Experiment
from ui import deploy_parts, endpoint_view, model_comparison, navigation, page, retry, wiring
from ui import format as fmt

TITLE = "Which model should score?"


def _current() -> wiring.Read[EndpointState]:
    return wiring.last_good(
        ("deployment.current",), lambda: wiring.services().deployment.current(), ttl=1.5, background=True
    )


def _history() -> wiring.Read[tuple[Deployment, ...]]:
    return wiring.last_good(
        ("deployment.history",), lambda: wiring.services().deployment.history(20), ttl=1.5, background=True
    )


def _models() -> wiring.Read[tuple[ModelVersion, ...]]:
    return wiring.last_good(
        ("models.candidates",),
        lambda: wiring.services().models.candidates(),
        ttl=10.0,
        source="SageMaker",
        background=True,
    )


def _versions() -> tuple[str, ...]:
    """What could be deployed; nothing while that cannot be read."""
    try:
        return tuple(model.model_version for model in _models().value)
    except ServiceError:
        return ()


def _experiments() -> dict[str, Experiment]:
    """By id, for what a version was trained on; empty while they cannot be read, the rest of the page stands."""
    try:
        read = wiring.last_good(
            ("training.experiments",), lambda: wiring.services().training.experiments(50), ttl=1.5, background=True
        )
    except Unavailable:
        return {}
    return {experiment.experiment_id: experiment for experiment in read.value}


@st.fragment(run_every="2s", key="deploy-endpoint")
def _endpoint(drawn: tuple[object, ...]) -> None:
    """The endpoint's strip, renewed every 2 s; when a version or a deployment's state changes, so does the page.

    Drawn with the page it never starts the page again: what lies beneath would vanish for a moment, and a menu that was
    just opened would close.
    """
    person = page.guard(Permission.VIEW_DEPLOYMENT)
    now = datetime.now(UTC)
    with_page = st.session_state.pop("deploy-with-page", False)
    with page.content():
        current, history = _current(), _history()
        if not with_page and _version_of_page(current.value, history.value) != drawn:
            st.rerun()
        page.stale(current, kept="deploying is not possible")
        deploy_parts.strip(
            current.value,
            endpoint_view.on_desk(history.value),
            now,
            may_deploy=allows(person, Permission.DEPLOY) and current.problem is None,
        )


def _version_of_page(current: EndpointState, history: tuple[Deployment, ...]) -> tuple[object, ...]:
    states = tuple((d.deployment_id, d.state) for d in history)
    return current.model_version, current.status, current.reachable, states, _versions()


def _choose() -> None:
    """The row's place into its version with the versions drawn last; deselecting keeps the comparison."""
    drawn: list[str] = st.session_state.get("deploy-ids", [])
    rows = st.session_state["deploy-candidates"]["selection"]["rows"]
    if rows and rows[0] < len(drawn):
        st.session_state["deploy-chosen"] = drawn[rows[0]]


def _chosen(models: tuple[ModelVersion, ...], serving: str | None) -> ModelVersion | None:
    """The one picked in the table; else the newest that does not serve; None when there is nothing to choose."""
    picked = st.session_state.get("deploy-chosen")
    found = next((m for m in models if m.model_version == picked), None)
    return found or next((m for m in models if m.model_version != serving), models[0] if models else None)


def _candidates(models: tuple[ModelVersion, ...], chosen: ModelVersion, serving: str | None) -> None:
    st.markdown("**Model versions**")
    ids = [model.model_version for model in models]
    st.session_state["deploy-ids"] = ids
    place = ids.index(chosen.model_version)
    st.session_state["deploy-candidates"] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    number = st.column_config.NumberColumn
    at_review = "at the review threshold, on the validation window."
    st.dataframe(
        model_comparison.rows(models, serving=serving),
        hide_index=True,
        key="deploy-candidates",
        placeholder=fmt.MISSING,
        on_select=_choose,
        selection_mode="single-row",
        column_config={
            "Version": st.column_config.TextColumn(width=64),
            "State": st.column_config.TextColumn(width=84),
            "AP": number(format="%.3f", width=56, help=model_comparison.ESTIMATOR),
            "Baseline": number(format="%.4f", width=72, help="Prevalence: the average precision of a blind guess."),
            "Precision": number(format="percent", width=74, help=f"Share of alerts that are fraud {at_review}"),
            "Alerts": number(format="percent", width=64, help=f"Share of transactions {at_review}"),
            "Review at": number(format="%.3f", width=74, help="The review threshold that training suggests."),
        },
        alt="Model versions, newest first, with average precision, prevalence, precision, alerts and threshold",
    )


def _comparison(champion: ModelVersion | None, chosen: ModelVersion, experiments: dict[str, Experiment]) -> None:
    """Both side by side; the one that serves is shown alone."""
    lines = model_comparison.compare(champion, chosen, experiments)
    serves = champion is not None and champion.model_version == chosen.model_version
    old = champion.model_version if champion else "Nothing serves"
    columns = {"Figure": [line.fact for line in lines]}
    if not serves:
        columns[f"{old} (serving)" if champion else old] = [line.champion for line in lines]
    columns[f"{chosen.model_version} (serving)" if serves else chosen.model_version] = [x.candidate for x in lines]
    if not serves:
        columns["Change"] = [line.change for line in lines]
    title = f"{chosen.model_version}, which serves" if serves else f"{chosen.model_version} against what serves"
    st.markdown(f"**{fmt.literal(title)}**", help=model_comparison.ESTIMATOR)
    st.dataframe(
        columns,
        hide_index=True,
        key="deploy-comparison",
        height="content",
        column_config={
            name: st.column_config.TextColumn(
                alignment="left" if name == "Figure" else "right",
                width=160 if name == "Figure" else 76 if name == "Change" else 96,
            )
            for name in columns
        },
        alt=title,
    )


def _body(person: Actor, now: datetime) -> None:
    with st.skeleton(90):
        current, history = _current(), _history()
    st.session_state["deploy-with-page"] = True
    _endpoint(_version_of_page(current.value, history.value))
    serving = current.value.model_version
    try:
        read = _models()
    except ServiceError as error:
        page.broken(error)
        retry.until_back(time.monotonic())
    else:
        page.stale(read, kept="versions registered since are missing")
        models, experiments = read.value, _experiments()
        chosen = _chosen(models, serving)
        if chosen is None:
            page.state(
                "No model has been trained yet",
                "Train one first; it appears here as soon as it is registered.",
                icon="model_training",
                action=("Open Retrain", navigation.file_of("retrain")),
            )
        else:
            champion = next((m for m in models if m.model_version == serving), None)
            blocked = _blocked(current, history.value)
            if not allows(person, Permission.DEPLOY):
                blocked = "Your role may not deploy."
            left, right = st.columns([6, 5], gap="medium")
            with left:
                _candidates(models, chosen, serving)
                if chosen is not champion:
                    said = model_comparison.consequences(champion, chosen)
                    deploy_parts.deploy_form(chosen, said, blocked=blocked)
            with right:
                _comparison(champion, chosen, experiments)
    deploy_parts.history(history.value, now)


def _blocked(current: wiring.Read[EndpointState], history: tuple[Deployment, ...]) -> str | None:
    """Why nothing can be deployed now, or None."""
    if current.problem is not None:
        return "The database does not answer, so nothing can be deployed now."
    pending = endpoint_view.under_way(history)
    if pending is not None:
        return f"{pending.model_version} is being deployed; one change runs at a time."
    return None if current.value.reachable else "SageMaker does not answer, so nothing can be deployed now."


def _render() -> None:
    person = page.guard(Permission.VIEW_DEPLOYMENT)
    now = datetime.now(UTC)
    right = page.header(TITLE, caption="Put a candidate in service, or go back to the version before.")
    with page.content():
        try:
            with right:
                page.chip(page.live(_current(), now))
            _body(person, now)
        except ServiceError:
            retry.until_back(time.monotonic())
            raise


_render()
