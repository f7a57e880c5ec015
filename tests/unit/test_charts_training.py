"""Learning curves from the lines a training job prints, and an experiment's steps as a person follows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.training import ExperimentState
from tests.pages.fakes_admin import experiment
from ui import charts, charts_training, retrain_request, retrain_view
from ui.retrain_request import Window

S = ExperimentState
NOW = datetime(2026, 11, 22, 14, 2, 30, tzinfo=UTC)
LINES = (
    "Training on 400,000 rows, 61 features, tree method hist.",
    "[0] train-aucpr:0.20000 validation-aucpr:0.18000",
    "2026-11-22T14:00:00 [1] train-aucpr:0.30000 validation-aucpr:0.25000",
    "[2] train-aucpr:0.40000 validation-aucpr:0.24000",
    "metric:validation_average_precision=0.251;",
    "[not a round] train-aucpr:x",
)


def test_curves_are_read_from_log_lines_with_anything_around_them() -> None:
    frame = charts_training.curves(LINES)
    assert list(frame["round"]) == [0, 1, 2]
    assert list(frame["validation"]) == [0.18, 0.25, 0.24]


def test_a_restarted_job_counts_a_round_once_as_printed_last() -> None:
    frame = charts_training.curves(["[0] train-aucpr:0.1", "[0] train-aucpr:0.2 validation-aucpr:1e-05"])
    assert list(frame["train"]) == [0.2]
    assert list(frame["validation"]) == [1e-05]


def test_the_best_validation_round_is_marked_and_prevalence_is_the_baseline() -> None:
    figure = charts_training.learning(charts_training.curves(LINES), prevalence=0.0031, colors=charts.LIGHT)
    best = figure.data[-1]
    assert (list(best.x), list(best.y), list(best.text)) == ([1], [0.25], ["best 0.250"])
    assert figure.layout.shapes[0].y0 == 0.0031
    assert any("0.0031" in a.text for a in figure.layout.annotations)


def test_a_log_without_rounds_is_a_labelled_empty_figure() -> None:
    figure = charts_training.learning(charts_training.curves(()), prevalence=None, colors=charts.DARK)
    assert "first boosting rounds" in figure.layout.annotations[0].text


def test_steps_of_a_running_experiment_end_now() -> None:
    at = NOW - timedelta(seconds=200)
    running = replace(experiment(9, at, state=S.TRAINING, days_ago=0), finished_at=None)
    steps = retrain_view.steps(running, now=NOW)
    assert [step.phase for step in steps] == ["done", "done", "now", "waiting", "waiting"]
    assert [step.seconds for step in steps[:3]] == [9, 132, 59]
    assert steps[3].began_at is None


def test_steps_of_a_candidate_are_done_and_of_a_failure_end_where_it_failed() -> None:
    assert {s.phase for s in retrain_view.steps(experiment(8, NOW), now=NOW)} == {"done"}
    failed = retrain_view.steps(experiment(4, NOW, state=S.FAILED), now=NOW)
    assert [s.phase for s in failed] == ["done", "done", "ended", "waiting", "waiting"]


@pytest.mark.parametrize(
    ("score", "base", "said"),
    [(0.4, 0.004, "100 × a blind guess"), (0.02, 0.005, "4.0 × a blind guess"), (None, 0.1, None), (0.1, 0.0, None)],
)
def test_lift_needs_both_numbers(score: float | None, base: float, said: str | None) -> None:
    assert retrain_view.lift(score, base) == said


def test_a_preset_window_reaches_to_this_moment_so_that_the_newest_verdicts_count() -> None:
    window = retrain_request.preset_window(90, now=NOW)
    assert (window.end, window.cutoff, window.days) == (NOW, NOW, 90)


def test_custom_days_are_inclusive_and_never_reach_into_the_future() -> None:
    window = retrain_request.custom_window(date(2026, 11, 1), date(2026, 11, 22), date(2026, 11, 22), now=NOW)
    assert window.end == window.cutoff == NOW
    past = retrain_request.custom_window(date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 9), now=NOW)
    assert (past.days, past.cutoff) == (2, datetime(2026, 11, 10, tzinfo=UTC))


def test_young_labels_are_counted_and_old_windows_are_not_warned_about() -> None:
    recent = retrain_request.preset_window(120, now=NOW)
    assert (retrain_request.young_labels(recent) or "").startswith("90 of 120 days")
    old = Window(NOW - timedelta(days=200), NOW - timedelta(days=91), NOW)
    assert retrain_request.young_labels(old) is None
