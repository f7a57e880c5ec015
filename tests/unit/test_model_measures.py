"""Measures against hand-computed numbers and a naive oracle."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import xgboost as xgb

from model.measures import average_precision, curve_area, roc_auc, suggest_thresholds


def arrays(labels: list[int], scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(labels, dtype=float), np.array(scores, dtype=float)


def naive_average_precision(labels: list[int], scores: list[float]) -> float:
    positives, total, former = sum(labels), 0.0, 0.0
    for cut in sorted(set(scores), reverse=True):
        chosen = [label for label, score in zip(labels, scores, strict=True) if score >= cut]
        recall = sum(chosen) / positives
        total += (recall - former) * sum(chosen) / len(chosen)
        former = recall
    return total


def naive_auc(labels: list[int], scores: list[float]) -> float:
    pairs = list(zip(labels, scores, strict=True))
    frauds, genuine = [s for y, s in pairs if y], [s for y, s in pairs if not y]
    wins = sum((f > g) + 0.5 * (f == g) for f in frauds for g in genuine)
    return wins / (len(frauds) * len(genuine))


def test_average_precision_by_hand() -> None:
    # Frauds are first and third: 1/2 x 1/1 + 1/2 x 2/3
    assert average_precision(*arrays([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])) == pytest.approx(5 / 6)


def test_equal_scores_are_one_step_whatever_their_order() -> None:
    assert average_precision(*arrays([1, 0, 0, 1], [0.5] * 4)) == 0.5
    assert average_precision(*arrays([0, 1, 1, 0], [0.5] * 4)) == 0.5
    assert roc_auc(*arrays([1, 0, 0, 1], [0.5] * 4)) == 0.5


def test_measures_agree_with_a_naive_oracle() -> None:
    r = random.Random(5)
    for _ in range(50):
        labels = [1, 0, *(int(r.random() < 0.2) for _ in range(60))]
        scores = [r.choice([0.1, 0.2, 0.5, r.random()]) for _ in labels]
        assert average_precision(*arrays(labels, scores)) == pytest.approx(naive_average_precision(labels, scores))
        assert roc_auc(*arrays(labels, scores)) == pytest.approx(naive_auc(labels, scores))


def test_one_class_has_no_measure() -> None:
    assert math.isnan(average_precision(*arrays([0, 0], [0.1, 0.2])))
    assert math.isnan(roc_auc(*arrays([1, 1], [0.1, 0.2])))


def thresholds(labels: list[int], scores: list[float], rate: float = 0.1) -> tuple[float, float]:
    return suggest_thresholds(
        *arrays(labels, scores), target_alert_rate=rate, precision_floor=0.1, decline_precision=0.9
    )


def test_review_alerts_the_share_analysts_can_look_at() -> None:
    scores = [n / 100 for n in range(100)]
    review, decline = thresholds([int(n >= 80) for n in range(100)], scores)
    assert review == pytest.approx(0.895)  # the ten from 0.90
    assert sum(s >= review for s in scores) == 10
    # All ten are fraud: of the thresholds above review the lowest is between 0.90 and 0.91.
    assert decline == pytest.approx(0.905)


def test_review_rises_until_a_tenth_of_the_alerts_is_fraud() -> None:
    scores = [n / 100 for n in range(100)]
    labels = [int(n == 95) for n in range(100)]
    review, decline = thresholds(labels, scores, rate=0.2)
    # From 0.90: ten alerts, one fraud. From 0.89 it would be one in eleven.
    assert review == pytest.approx(0.895)
    assert decline == pytest.approx((0.895 + 1) / 2)  # nothing is 90 % certain: the middle


def test_without_any_precise_threshold_the_alert_rate_decides() -> None:
    scores = [n / 100 for n in range(100)]
    review, _ = thresholds([int(n == 0) for n in range(100)], scores)
    assert review == pytest.approx(0.895)


def test_ties_never_exceed_the_alert_rate_unless_the_highest_score_is_shared() -> None:
    scores = [0.9] * 5 + [0.5] * 20 + [0.1] * 75
    assert thresholds([1] * 5 + [0] * 95, scores)[0] == pytest.approx(0.7)
    shared = [0.9] * 50 + [0.1] * 50
    assert thresholds([1] * 10 + [0] * 90, shared)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("score", [0.0, 1e-9, 0.5, 1.0])
def test_thresholds_are_always_apart_and_inside(score: float) -> None:
    review, decline = thresholds([1] + [0] * 9, [score] * 10)
    assert 0 < review < decline < 1


def test_what_is_watched_while_boosting_is_xgboosts_own_area() -> None:
    r = np.random.default_rng(3)
    for digits in (1, 2, 4, 7):
        labels = (r.random(2_000) < 0.05).astype(np.float32)
        margins = np.round(r.random(2_000) + labels * 0.4, digits).astype(np.float32)
        rows = xgb.DMatrix(np.zeros((2_000, 1), np.float32), label=labels, base_margin=margins, nthread=1)
        told = {"objective": "binary:logitraw", "eval_metric": "aucpr", "base_score": 0.5, "nthread": 1}
        theirs = float(xgb.Booster(told, [rows]).eval(rows).split(":")[1])
        assert curve_area(labels, margins) == pytest.approx(theirs, abs=1e-6)
    assert curve_area(np.zeros(3, np.float32), np.ones(3, np.float32)) == 0.0
    assert curve_area(np.ones(3, np.float32), np.ones(3, np.float32)) == 0.0
