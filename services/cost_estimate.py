"""What a training will take, from what the last ones took. Pure; nothing known is None, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from services.training import AUTOPILOT, Experiment, ExperimentState, TrainingRequest

_LAST = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """Whole seconds from request to registered model, and how many past runs say so; `at_most` is Autopilot's limit.

    rows are those of the window at the density of the past runs.
    """

    seconds: float | None
    rows: int | None
    runs: int
    at_most: float | None = None

    def cost(self, per_hour: float) -> float | None:
        """In the currency of the price of one instance-hour; training bills by the second."""
        return None if self.seconds is None else self.seconds / 3600 * per_hour


def estimate(request: TrainingRequest, past: Sequence[Experiment]) -> Estimate:
    """Medians over the last five registered runs of the same method: rows a day of window, rows a second.

    A search is scaled by its number of candidates besides, and never above its limit.
    """
    ended = [e for e in past if e.state is ExperimentState.CANDIDATE and e.rows and e.finished_at]
    done = sorted((e for e in ended if e.method == request.method), key=lambda e: e.requested_at)[-_LAST:]
    limits = request.autopilot if request.method == AUTOPILOT else None
    at_most = float(limits.max_runtime_s) if limits else None
    if not done:
        return Estimate(None, None, 0, at_most)
    density = median((e.rows or 0) / max(_days(e), 1e-6) for e in done)
    rows = round(density * _days(request))
    per_row = median(_seconds(e) / (e.rows or 1) / _tries(e) for e in done)
    seconds = per_row * rows * (limits.max_candidates if limits else 1)
    return Estimate(seconds if at_most is None else min(seconds, at_most), rows, len(done), at_most)


def _days(window: Experiment | TrainingRequest) -> float:
    return (window.window_end - window.window_start).total_seconds() / 86_400


def _seconds(experiment: Experiment) -> float:
    assert experiment.finished_at is not None, "only finished ones are looked at"
    return (experiment.finished_at - experiment.requested_at).total_seconds()


def _tries(experiment: Experiment) -> int:
    return max(1, len(experiment.candidates))
