"""The endpoint and its changes in words: status, what is under way, history. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.deployment import CHANGING, NOT_CREATED, Deployment, DeploymentKind, DeploymentState, EndpointState
from ui import format as fmt

D = DeploymentState
STATES: dict[DeploymentState, str] = {
    D.REQUESTED: "Requested",
    D.UPDATING: "Updating",
    D.IN_SERVICE: "In service",
    D.FAILED: "Failed",
}
KINDS: dict[DeploymentKind, str] = {DeploymentKind.DEPLOY: "Deploy", DeploymentKind.ROLLBACK: "Roll back"}


@dataclass(frozen=True, slots=True)
class Status:
    """Word, Material icon and Streamlit colour of an endpoint's status, and what it means for scoring."""

    word: str
    icon: str
    color: str
    meaning: str


def status(endpoint: EndpointState) -> Status:
    if not endpoint.reachable:
        return Status(
            "Unreachable",
            "cloud_off",
            "orange",
            "SageMaker does not answer, so its state is not known; scoring may still work.",
        )
    if endpoint.status == NOT_CREATED:
        return Status(
            "Not created", "radio_button_unchecked", "gray", "Nothing scores until a first model is deployed."
        )
    if endpoint.status == "InService":
        return Status("In service", "check_circle", "green", "")
    if endpoint.status in CHANGING:
        return Status(
            _words(endpoint.status), "progress_activity", "blue", "The former version scores until the switch."
        )
    return Status(
        _words(endpoint.status), "cancel", "red", "Transactions wait unscored; deploy or roll back to recover."
    )


def _words(code: str) -> str:
    """'RollingBack' -> 'Rolling back'."""
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in code).strip()
    return fmt.word(spaced)


def on_desk(history: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """Those of the desk's own endpoint, which scores live transactions."""
    return tuple(d for d in history if not d.endpoint_name)


def under_way(history: Sequence[Deployment]) -> Deployment | None:
    return next((d for d in history if not d.ended), None)


def roll_back_target(history: Sequence[Deployment]) -> str | None:
    """The version that served before the one in service, as `DeploymentService.roll_back` finds it."""
    served = sorted(
        (d for d in history if d.state is D.IN_SERVICE), key=lambda d: d.finished_at or d.requested_at, reverse=True
    )
    if not served:
        return None
    latest = served[0].model_version
    return next((d.model_version for d in served if d.model_version != latest), None)


def took(deployment: Deployment, now: datetime) -> float:
    return ((deployment.finished_at or now) - deployment.requested_at).total_seconds()


def rows(history: Sequence[Deployment], now: datetime) -> list[dict[str, object]]:
    """Who changed what, when and why, newest first as given."""
    return [
        {
            "When (UTC)": f"{d.requested_at:%Y-%m-%d %H:%M}",
            "Change": f"{KINDS[d.kind]} {d.former_version or fmt.MISSING} → {d.model_version}",
            "Endpoint": d.endpoint_name or "The desk's",
            "State": STATES[d.state],
            "Who": d.requested_by,
            "Why": d.reason,
            "Took": fmt.duration(took(d, now)),
            "Failure": d.failure,
        }
        for d in history
    ]
