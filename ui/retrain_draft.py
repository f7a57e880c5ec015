"""The experiment that a person is putting together: what was chosen so far, and what is wrong with it. Pure.

A draft is the person's, not the page's: it outlives going to another screen and loading the page again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from services.frozen_sets import FrozenSet
from services.training import AUTOPILOT, Autopilot, Experiment, TrainingRequest, check, other_features
from services.training import name_taken as taken
from ui import retrain_request, retrain_settings
from ui.retrain_request import CUSTOM, USUAL_WINDOW, WINDOWS, Window

STEPS = ("Name", "Data", "Method", "Endpoint", "Review")
NAME, DATA, METHOD, ENDPOINT, REVIEW = range(5)
WINDOW, FLOW, FROZEN = "window", "flow", "frozen"
# Which step a problem of the request belongs to; everything else is the method's.
_STEP_OF = {
    "name": NAME,
    "window_start": DATA,
    "window_end": DATA,
    "label_cutoff": DATA,
    "target": DATA,
    "frozen": DATA,
    "endpoint_name": ENDPOINT,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """`name` empty takes the proposed one. `source` is WINDOW, FLOW or FROZEN; `settings` only what is not usual.

    `flow` is (id, version), ("", 0) for none; `days` (first, last) inclusive and `cutoff` count for a custom window.
    """

    step: int = NAME
    name: str = ""
    source: str = WINDOW
    preset: str = USUAL_WINDOW
    days: tuple[date, ...] = ()
    cutoff: date | None = None
    flow: tuple[str, int] = ("", 0)
    frozen: str = ""
    left_out: tuple[str, ...] = ()
    method: str = "xgboost"
    settings: Mapping[str, float | str] = field(default_factory=dict)
    mode: str = "ENSEMBLING"
    candidates: int = 8
    minutes: int = 60
    elsewhere: bool = False
    endpoint: str = ""
    auto_deploy: bool = False


def usual_days(today: date) -> tuple[date, date]:
    return today - timedelta(days=90), today - timedelta(days=1)


def window(draft: Draft, *, now: datetime, held: FrozenSet | None = None) -> Window:
    """The rows and labels in question; of a frozen set its own."""
    if draft.source == FROZEN and held is not None:
        return Window(held.window_start, held.window_end, held.label_cutoff)
    if draft.preset != CUSTOM:
        return retrain_request.preset_window(WINDOWS[draft.preset], now=now)
    days = draft.days or usual_days(now.date())
    return retrain_request.custom_window(min(days), max(days), draft.cutoff or now.date(), now=now)


def proposed_name(draft: Draft, past: Sequence[Experiment], *, now: datetime, held: FrozenSet | None = None) -> str:
    """By method and data; with a number where that name is taken."""
    how = "Autopilot" if draft.method == AUTOPILOT else "XGBoost"
    span = window(draft, now=now, held=held)
    base = f"{how} {span.days:.0f} days to {span.end.day} {span.end:%b}"
    if draft.source == FROZEN and held is not None:
        base = f"{how} on {held.name}"[:70]
    if taken(base, past) is None:
        return base
    return next(name for n in range(2, 1_000) if taken(name := f"{base} ({n})", past) is None)


def request(
    draft: Draft, past: Sequence[Experiment], *, features: Sequence[str], now: datetime, held: FrozenSet | None = None
) -> TrainingRequest:
    """What would be asked for. A search finds its own settings; a flow and a frozen set have their own columns."""
    span = window(draft, now=now, held=held)
    searches = draft.method == AUTOPILOT
    chosen = draft.left_out and draft.source == WINDOW
    flow = draft.flow if draft.source == FLOW and draft.flow[0] else None
    return TrainingRequest(
        name=draft.name.strip() or proposed_name(draft, past, now=now, held=held),
        window_start=span.start,
        window_end=span.end,
        label_cutoff=span.cutoff,
        method=draft.method,
        hyperparameters={} if searches else retrain_settings.changed(draft.settings),
        features=tuple(name for name in features if name not in draft.left_out) if chosen else (),
        flow=held.flow if draft.source == FROZEN and held is not None else flow,
        endpoint_name=draft.endpoint.strip() if draft.elsewhere else "",
        auto_deploy=draft.auto_deploy,
        frozen=draft.frozen or None if draft.source == FROZEN else None,
        autopilot=Autopilot(draft.mode, draft.candidates, draft.minutes * 60) if searches else None,
    )


def problems(
    draft: Draft,
    wanted: TrainingRequest,
    past: Sequence[Experiment],
    *,
    now: datetime,
    features_version: str,
    counted: str | None = None,
    held: FrozenSet | None = None,
) -> dict[int, list[str]]:
    """{step: sentences} of everything that keeps it from being started; `counted` is what the lake's rows say."""
    found: dict[int, list[str]] = {step: [] for step in range(len(STEPS))}
    for problem in check(wanted, now=now):
        found[_STEP_OF.get(problem.field, METHOD)].append(problem.message)
    if (same := taken(wanted.name, past)) is not None:
        found[NAME].append(same)
    found[DATA] += _of_data(draft, wanted, held, features_version)
    if counted and not found[DATA]:
        found[DATA].append(counted)
    balanced = draft.settings.get("class_weight") == "balanced"
    if balanced and draft.settings.get("scale_pos_weight", 1.0) != 1.0:
        found[METHOD].append("Weigh frauds in one way: balanced, or by a number.")
    if draft.elsewhere and not draft.endpoint.strip():
        found[ENDPOINT].append("Name the other endpoint, or take the desk's own.")
    return found


def _of_data(draft: Draft, wanted: TrainingRequest, held: FrozenSet | None, features_version: str) -> list[str]:
    if draft.source == FLOW and not draft.flow[0]:
        return ["Choose a saved flow, or take the live window as it is."]
    if draft.source == FROZEN and held is None:
        return ["Choose a frozen training set; they are made on Training data."]
    if draft.source == FROZEN and held is not None and (other := other_features(held, features_version)):
        return [other]
    if draft.left_out and draft.source == WINDOW and not wanted.features:
        return ["All features are left out; a model needs at least one."]
    return []


def first_wrong(found: Mapping[int, Sequence[str]], *, upto: int = REVIEW) -> int | None:
    """The first step up to and with `upto` that has a problem."""
    return next((step for step in sorted(found) if step <= upto and found[step]), None)
