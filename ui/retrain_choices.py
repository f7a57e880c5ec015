"""The retrain form's choices beside window and name: columns, method and limits, what happens with the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from services.access import Actor
from services.cost_estimate import estimate
from services.features import FeatureSpec
from services.flow_steps import Flow
from services.training import AUTOPILOT, METHODS, Autopilot, Experiment, TrainingRequest
from ui import format as fmt
from ui import wiring

METHOD_NAMES = {"xgboost": "XGBoost", AUTOPILOT: "Autopilot"}
MODE_NAMES = {
    "ENSEMBLING": "Blend the best of several kinds",
    "HYPERPARAMETER_TUNING": "Tune one kind",
    "AUTO": "By the size of the data",
}
# A value of its own: Streamlit shows a None option as nothing chosen.
_NO_FLOW = ("", 0)


@dataclass(frozen=True, slots=True)
class Choices:
    """`left_out` are columns the model shall not see; `flow` is (id, version)."""

    method: str
    autopilot: Autopilot | None
    flow: tuple[str, int] | None
    left_out: tuple[str, ...]
    auto_deploy: bool


def method() -> tuple[str, Autopilot | None]:
    """XGBoost's settings are elsewhere; Autopilot's are its mode and limits."""
    chosen = st.segmented_control(
        "Method", METHODS, default=METHODS[0], required=True, key="retrain_method",
        format_func=METHOD_NAMES.__getitem__, width="stretch",
    )  # fmt: skip
    if chosen != AUTOPILOT:
        return METHODS[0], None
    mode = st.selectbox("Mode", list(MODE_NAMES), format_func=MODE_NAMES.__getitem__, key="retrain_mode")
    left, right = st.columns(2, gap="small")
    most = left.number_input(
        "Candidates, at most", 2, 50, 8, key="retrain_candidates", help="Models that are tried; a blend counts as one."
    )
    minutes = right.number_input(
        "Minutes, at most", 1, 1440, 60, key="retrain_minutes", help="What is trained by then is ranked."
    )
    return AUTOPILOT, Autopilot(mode, int(most), int(minutes) * 60)


def _features() -> tuple[FeatureSpec, ...]:
    return tuple(wiring.services().training_data.plan.features)


def columns() -> tuple[tuple[str, int] | None, tuple[str, ...]]:
    """A saved flow, or the desk's own features with some left out."""
    with st.expander("Columns", icon=":material/view_column:"):
        saved = wiring.last_good(("flows",), lambda: wiring.services().flows.list(100), ttl=10.0, background=True).value
        titles = {(f.flow_id, f.version): f"{f.name}, version {f.version}" for f in saved}
        flow = st.selectbox(
            "Flow", [_NO_FLOW, *titles], key="retrain_flow", help="Steps saved on Training data make the columns.",
            format_func=lambda key: titles.get(key, "None: the desk's features as they are"),
        )  # fmt: skip
        st.caption("Target: **label**, 1 for fraud and 0 for genuine.")
        if flow != _NO_FLOW:
            return flow, ()
        names = [spec.name for spec in _features()]
        words = {spec.name: spec.title for spec in _features()}
        out = st.multiselect(
            f"Leave out of {len(names)} features", names, key="retrain_left_out",
            format_func=lambda name: words.get(name, name), placeholder="None: all are learned from",
        )  # fmt: skip
        return None, tuple(out)


def after() -> bool:
    """Whether the model is deployed as soon as it is registered."""
    name = wiring.services().training.endpoint_name or "the desk's endpoint"
    return st.toggle(
        "Deploy it when it is registered", key="retrain_auto_deploy",
        help=f"To {name}, which scores payments, before anybody compared it. Off: it waits on Deploy.",
    )  # fmt: skip


def completed(request: TrainingRequest, chosen: Choices) -> TrainingRequest:
    """The request with these choices. Autopilot finds its own hyperparameters."""
    given = {} if chosen.method == AUTOPILOT else request.hyperparameters
    kept = tuple(spec.name for spec in _features() if spec.name not in chosen.left_out) if chosen.left_out else ()
    return replace(
        request, method=chosen.method, hyperparameters=given, autopilot=chosen.autopilot, flow=chosen.flow,
        features=kept, auto_deploy=chosen.auto_deploy,
    )  # fmt: skip


def with_columns(request: TrainingRequest, *, actor: Actor) -> TrainingRequest:
    """Saves the choice of columns as a flow, so that scoring sends what the model learned. Raises as flows.save."""
    if not request.features or request.flow is not None:
        return request
    name = f"Columns of {request.name}"[:80]
    saved = wiring.services().flows.save(Flow(request.features, ()), name=name, note="Chosen on Retrain.", actor=actor)
    wiring.forget("flows")
    return replace(request, flow=(saved.flow_id, saved.version))


def forecast(request: TrainingRequest, past: Sequence[Experiment]) -> str:
    """One sentence: how long it takes and on what ground."""
    found = estimate(request, past)
    limit = f" Ends after {fmt.duration(found.at_most)} at the latest." if found.at_most else ""
    if found.seconds is None:
        return f"No run by this method yet, so its duration is not known.{limit}"
    runs = f"{found.runs} run{'s' if found.runs > 1 else ''}"
    return f"About {fmt.duration(found.seconds)} on about {fmt.count(found.rows)} rows, by the last {runs}.{limit}"
