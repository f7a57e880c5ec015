"""What a person asks for when a model shall be trained, and everything that can be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.errors import Problem
from services.hyperparameters import wrong_hyperparameter

XGBOOST, AUTOPILOT = "xgboost", "autopilot"
METHODS = (XGBOOST, AUTOPILOT)
MODES = ("ENSEMBLING", "HYPERPARAMETER_TUNING", "AUTO")
TARGET = "label"
MAX_CANDIDATES = (2, 50)
MAX_RUNTIME_S = (60, 24 * 3600)
_ENDPOINT = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@dataclass(frozen=True, slots=True)
class Autopilot:
    """The search's mode and limits: whole job and one candidate in seconds, the latter None without one of its own."""

    mode: str = "ENSEMBLING"
    max_candidates: int = 8
    max_runtime_s: int = 3600
    max_candidate_runtime_s: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Train on transactions with window_start <= event_time < window_end, believing labels known by label_cutoff.

    `flow` is (id, version) of the steps that make the columns, None for the plan's features as they are; `features`
    records the columns chosen (leaving some out is a step of the flow), empty for all. `frozen` is the id of a frozen
    set whose very rows are learned from; window, cut-off and flow are then that set's. With `auto_deploy` the model is
    deployed to `endpoint_name` (empty: the desk's) as soon as it is registered.
    """

    name: str
    window_start: datetime
    window_end: datetime
    label_cutoff: datetime
    method: str = XGBOOST
    hyperparameters: Mapping[str, float | str] = field(default_factory=dict)
    target: str = TARGET
    features: tuple[str, ...] = ()
    flow: tuple[str, int] | None = None
    endpoint_name: str = ""
    auto_deploy: bool = False
    frozen: str | None = None
    autopilot: Autopilot | None = None


def check(request: TrainingRequest, *, now: datetime) -> tuple[Problem, ...]:
    """Everything wrong with a request, as sentences; empty when it can be run."""
    found: list[Problem] = []
    name = request.name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        found.append(Problem(0, "name", "Give the experiment a name of 1 to 80 printable characters."))
    found += _window_problems(request, now)
    if request.target != TARGET:
        message = f"The desk's models learn the column {TARGET!r}, fraud or genuine; {request.target!r} is another."
        found.append(Problem(0, "target", message))
    found += _method_problems(request)
    found += _endpoint_problems(request)
    return tuple(found)


def _window_problems(request: TrainingRequest, now: datetime) -> list[Problem]:
    times = ("window_start", "window_end", "label_cutoff")
    naive = [key for key in times if getattr(request, key).utcoffset() is None]
    if naive:
        return [Problem(0, key, f"The {key.replace('_', ' ')} needs a time zone.") for key in naive]
    found = []
    if request.window_start >= request.window_end:
        found.append(Problem(0, "window_start", "The window must start before it ends."))
    if request.window_end > now:
        found.append(Problem(0, "window_end", "The window must not end in the future."))
    if request.label_cutoff < request.window_end:
        message = "The label cut-off must not be earlier than the end of the window."
        found.append(Problem(0, "label_cutoff", message))
    if request.label_cutoff > now:
        found.append(Problem(0, "label_cutoff", "The label cut-off must not lie in the future."))
    return found


def _method_problems(request: TrainingRequest) -> list[Problem]:
    found = []
    if request.method not in METHODS:
        message = f"Unknown method {request.method!r}; use one of: {', '.join(METHODS)}."
        found.append(Problem(0, "method", message))
    for key, value in request.hyperparameters.items():
        wrong = wrong_hyperparameter(key, value)
        if wrong:
            found.append(Problem(0, f"hyperparameters.{key}", wrong))
    if request.method == AUTOPILOT:
        if request.hyperparameters:
            message = "Autopilot chooses the hyperparameters itself; give it none, or take the method xgboost."
            found.append(Problem(0, "hyperparameters", message))
        found += _autopilot_problems(request.autopilot or Autopilot())
    elif request.autopilot is not None:
        found.append(Problem(0, "autopilot", "Only the method autopilot has a mode and limits."))
    return found


def _autopilot_problems(limits: Autopilot) -> list[Problem]:
    found = []
    if limits.mode not in MODES:
        found.append(Problem(0, "autopilot.mode", f"Autopilot's mode must be one of: {', '.join(MODES)}."))
    low, high = MAX_CANDIDATES
    if not low <= limits.max_candidates <= high:
        found.append(Problem(0, "autopilot.max_candidates", f"Try {low} to {high} candidates."))
    low, high = MAX_RUNTIME_S
    if not low <= limits.max_runtime_s <= high:
        message = f"Autopilot may run for {low // 60} minute to {high // 3600} hours."
        found.append(Problem(0, "autopilot.max_runtime_s", message))
    one = limits.max_candidate_runtime_s
    if one is not None and not 10 <= one <= limits.max_runtime_s:
        message = "A candidate may run for 10 seconds up to the limit of the whole search."
        found.append(Problem(0, "autopilot.max_candidate_runtime_s", message))
    return found


def _endpoint_problems(request: TrainingRequest) -> list[Problem]:
    if request.endpoint_name and not _ENDPOINT.fullmatch(request.endpoint_name):
        message = "An endpoint's name has 1 to 63 letters, digits and hyphens; it begins and ends with no hyphen."
        return [Problem(0, "endpoint_name", message)]
    return []
