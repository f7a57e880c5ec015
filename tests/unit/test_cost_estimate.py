"""A training's duration is told from past runs of the same method, and not at all without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.cost_estimate import estimate
from services.training import Autopilot, Candidate, Experiment, ExperimentState, TimelineEntry, TrainingRequest
from tests.unit.lifecycle_fakes import NOW

S = ExperimentState
MONTH = timedelta(days=30)


def run(seconds: float, rows: int | None = 30_000, *, state: ExperimentState = S.CANDIDATE) -> Experiment:
    made = Experiment(f"e-{seconds}", "x", state, "Ada", NOW, NOW - MONTH, NOW, NOW, "xgboost", {})
    return replace(made, rows=rows, finished_at=NOW + timedelta(seconds=seconds))


def test_rows_and_seconds_scale_with_the_window() -> None:
    twice = TrainingRequest("x", NOW - 2 * MONTH, NOW, NOW)
    found = estimate(twice, [run(60), run(90), run(300), run(5, state=S.FAILED), run(7, rows=None)])
    assert (found.rows, found.runs) == (60_000, 3)
    assert found.seconds == pytest.approx(180)
    assert found.cost(0.20) == pytest.approx(0.01)


def test_only_the_job_is_charged_for_not_the_making_of_its_data() -> None:
    def at(seconds: float, state: ExperimentState) -> TimelineEntry:
        return TimelineEntry(NOW + timedelta(seconds=seconds), state, "")

    past = replace(run(100), timeline=(at(0, S.REQUESTED), at(30, S.TRAINING), at(90, S.REGISTERING)))
    found = estimate(TrainingRequest("x", NOW - MONTH, NOW, NOW), [past])
    assert (found.seconds, found.billed) == (pytest.approx(100), pytest.approx(60))
    assert found.cost(3.0) == pytest.approx(0.05)


def test_a_search_counts_its_candidates_and_ends_at_its_limit() -> None:
    past = replace(run(80), method="autopilot", candidates=tuple(Candidate(str(n), "Completed") for n in range(4)))
    asked = TrainingRequest("x", NOW - MONTH, NOW, NOW, "autopilot", autopilot=Autopilot(max_candidates=10))
    assert estimate(asked, [past, run(5)]).seconds == pytest.approx(200)
    short = replace(asked, autopilot=Autopilot(max_candidates=10, max_runtime_s=100))
    assert estimate(short, [past]).seconds == pytest.approx(100)


def test_without_a_past_run_nothing_is_claimed() -> None:
    asked = TrainingRequest("x", NOW - MONTH, NOW, NOW)
    assert (estimate(asked, []).seconds, estimate(asked, []).cost(1.0)) == (None, None)
