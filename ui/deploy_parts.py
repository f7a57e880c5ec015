"""The parts of the deploy page that act: the endpoint's strip with roll back, the form to deploy, the history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from services.deployment import Deployment, DeploymentState, EndpointState
from services.errors import ServiceError
from services.models import ModelVersion
from ui import endpoint_view, errors, page, session, wiring
from ui import format as fmt

REASON_MIN, REASON_MAX = 3, 500


def strip(endpoint: EndpointState, history: Sequence[Deployment], now: datetime, *, may_deploy: bool) -> None:
    """Name, status, serving version and since when, in one line; beneath, what is under way or wrong."""
    state = endpoint_view.status(endpoint)
    pending = endpoint_view.under_way(history)
    verb = "serves" if endpoint.reachable else "served last"
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            st.markdown(
                f"### {fmt.literal(endpoint.model_version or 'No model')} :gray[:small[{verb} on]] "
                f":small[{fmt.literal(endpoint.name)}]",
                width="content",
                anchors=False,
            )
            # What comes and goes has a box of its own: in another place the menu behind it would close by itself.
            with st.container(horizontal=True, vertical_alignment="center", gap="medium", width="content"):
                st.badge(state.word, icon=f":material/{state.icon}:", color=state.color)  # type: ignore[arg-type]
                if endpoint.changed_at is not None:
                    since = f"since {fmt.clock(endpoint.changed_at, now)}"
                    st.caption(since, help=fmt.utc(endpoint.changed_at), width="content")
            st.space("stretch")
            _roll_back(endpoint, history, blocked=not may_deploy or pending is not None or not endpoint.reachable)
        if pending is not None:
            _progress(pending, now)
        elif endpoint.failure and endpoint.reachable:
            st.error(fmt.literal(endpoint.failure), icon=":material/error:")
        if state.meaning and pending is None:
            st.caption(state.meaning)
    problem = st.session_state.pop("deploy-rollback-problem", None)
    if problem is not None:
        errors.show(problem)


def _progress(pending: Deployment, now: datetime) -> None:
    """Requested, updating, in service: where the change is, for how long, and what it waits for."""
    order = (DeploymentState.REQUESTED, DeploymentState.UPDATING, DeploymentState.IN_SERVICE)
    reached = order.index(pending.state)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for index, step in enumerate(order):
            icon, color = (
                ("check_circle", "green") if index < reached
                else ("progress_activity", "blue") if index == reached
                else ("radio_button_unchecked", "gray")
            )  # fmt: skip
            st.markdown(f":{color}[:material/{icon}:] {endpoint_view.STATES[step]}", width="content")
            if index < len(order) - 1:
                st.markdown(":gray[:material/arrow_forward:]", width="content")
        change = f"{pending.former_version or 'nothing'} → {pending.model_version}"
        st.caption(
            f"{change}, by {fmt.literal(pending.requested_by)}, for {fmt.duration(endpoint_view.took(pending, now))}",
            width="content",
        )
    st.caption(fmt.literal(pending.note) if pending.note else "The former version scores until the switch.")


def _roll_back(endpoint: EndpointState, history: Sequence[Deployment], *, blocked: bool) -> None:
    target = endpoint_view.roll_back_target(history)
    label = f"Roll back to {target}" if target else "Roll back"
    why = None if target else "There is no version before this one."
    with st.popover(label, icon=":material/undo:", disabled=blocked or target is None, help=why, key="deploy-rollback"):
        st.markdown(f"**{target}** serves again, with its own thresholds.")
        st.text_area(
            "Why", key="deploy-rollback-reason", max_chars=REASON_MAX, height=80, placeholder="What went wrong",
            help="Kept in the history and the audit, with your name.",
        )  # fmt: skip
        st.button(
            label, key="deploy-rollback-confirm", type="primary", icon=":material/undo:", on_click=_request_roll_back
        )


def _request_roll_back() -> None:
    try:
        wiring.services().deployment.roll_back(
            reason=st.session_state.get("deploy-rollback-reason") or "", actor=session.actor()
        )
    except ServiceError as error:
        st.session_state["deploy-rollback-problem"] = error
        return
    st.session_state["deploy-rollback-reason"] = ""
    wiring.forget("deployment.current", "deployment.history")


def deploy_form(model: ModelVersion, consequences: Sequence[str], *, blocked: str | None) -> None:
    """What will change, the reason, and the confirmation. The reason survives a failed attempt."""
    version = model.model_version
    if model.review_threshold is None or model.decline_threshold is None:
        blocked = f"{version} carries no thresholds, so nothing could be decided with it."
    with st.container(border=True, gap="small"):
        st.markdown(f"**What deploying {fmt.literal(version)} changes**")
        st.caption("\n".join(f"- {fmt.literal(text)}" for text in consequences))
        reason = st.text_input(
            "Why", key="deploy-reason", max_chars=REASON_MAX, disabled=blocked is not None,
            placeholder="For the history and the audit: why this version, why now",
        )  # fmt: skip
        short = len((reason or "").strip()) < REASON_MIN
        with st.popover(
            f"Deploy {version}", icon=":material/rocket_launch:", type="primary", key="deploy-confirm",
            disabled=blocked is not None or short, help=blocked or ("Say why first." if short else None),
        ):  # fmt: skip
            st.markdown(
                f"Put **{fmt.literal(version)}** in service? The switch takes some minutes and drops no request."
            )
            st.button(
                f"Yes, deploy {version}", key="deploy-go", type="primary", icon=":material/rocket_launch:",
                on_click=_request_deploy, args=(version,),
            )  # fmt: skip
    problem = st.session_state.pop("deploy-problem", None)
    if problem is not None:
        errors.show(problem)


def _request_deploy(version: str) -> None:
    try:
        wiring.services().deployment.deploy(
            version, reason=st.session_state.get("deploy-reason") or "", actor=session.actor()
        )
    except ServiceError as error:
        st.session_state["deploy-problem"] = error
        return
    st.session_state["deploy-reason"] = ""
    wiring.forget("deployment.current", "deployment.history")


def history(deployments: Sequence[Deployment], now: datetime) -> None:
    st.markdown("**History**")
    if not deployments:
        page.empty("Nothing has been deployed yet", "The first deployment creates the endpoint.")
        return
    rows = endpoint_view.rows(deployments, now)
    empty = {"Failure"} if not any(row["Failure"] for row in rows) else set()
    if not any(deployment.endpoint_name for deployment in deployments):
        empty.add("Endpoint")
    rows = [{key: value for key, value in row.items() if key not in empty} for row in rows]
    st.dataframe(
        rows,
        hide_index=True,
        key="deploy-history",
        column_config={"Why": st.column_config.TextColumn(width="medium")},
        alt="Deployments and roll backs, newest first: what, who, why, when and how it ended",
    )
