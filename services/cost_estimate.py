"""What a training will take, from what the last ones took. Pure; nothing known is None, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from services.experiment import Experiment, ExperimentState
from services.training_request import AUTOPILOT, TrainingRequest

_LAST = 5


@dataclass(frozen=True, slots=True)
class Price:
    """Of one hour of one training instance; 0 where training is not charged for. `currency` as in ISO 4217."""

    per_hour: float
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from request to registered model, and how many past runs say so; `at_most` is Autopilot's limit.

    rows are those of the window at the density of the past runs. `billed` are the seconds in which the training job
    runs, which is what training instances are charged for; building the training set is not.
    """

    seconds: float | None
    rows: int | None
    runs: int
    at_most: float | None = None
    billed: float | None = None

    def cost(self, per_hour: float) -> float | None:
        """In the currency of the price of one instance-hour, for one instance; training bills by the second."""
        return None if self.billed is None else self.billed / 3600 * per_hour


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
    tries = limits.max_candidates if limits else 1
    whole, job = (median(part(e) / (e.rows or 1) / _tries(e) for e in done) * rows * tries for part in (_seconds, _job))
    if at_most is not None:
        whole, job = min(whole, at_most), min(job, at_most)
    return Estimate(whole, rows, len(done), at_most, job)


def _days(window: Experiment | TrainingRequest) -> float:
    return (window.window_end - window.window_start).total_seconds() / 86_400


def _seconds(experiment: Experiment) -> float:
    assert experiment.finished_at is not None, "only finished ones are looked at"
    return (experiment.finished_at - experiment.requested_at).total_seconds()


def _job(experiment: Experiment) -> float:
    """From the job's beginning to its end, by the timeline; the whole time where it does not tell."""
    at = {entry.state: entry.at for entry in reversed(experiment.timeline)}
    began, ended = at.get(ExperimentState.TRAINING), at.get(ExperimentState.REGISTERING)
    return (ended - began).total_seconds() if began and ended else _seconds(experiment)


def _tries(experiment: Experiment) -> int:
    return max(1, len(experiment.candidates))
