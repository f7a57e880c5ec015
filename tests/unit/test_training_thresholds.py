"""Calibration and thresholds from cost, against plain Python and brute force."""

from __future__ import annotations

import math
import random
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from model import calibration, cost_thresholds
from model.cost_thresholds import Costs

LIMITS = {"target_alert_rate": 0.3, "precision_floor": 0.2, "decline_precision": 0.6}


def case(seed: int, rows: int = 60) -> tuple[list[int], list[float], list[int]]:
    r = random.Random(seed)
    scores = [r.choice([0.1, 0.3, 0.6, r.random()]) for _ in range(rows)]
    labels = [int(r.random() < score * 0.8) for score in scores]
    return labels, scores, [r.randrange(100, 20_000) for _ in range(rows)]


def plain_cost(labels: list[int], scores: list[float], amounts: list[int], costs: Costs, r: float, d: float) -> float:
    total = 0.0
    for label, score, amount in zip(labels, scores, amounts, strict=True):
        loss = amount * (1 - costs.recovered_share) if label else 0.0
        if score >= d:
            total += 0.0 if label else costs.cost_insult_minor
        elif score >= r:
            total += costs.cost_review_minor + loss * (1 - costs.review_prevents)
        else:
            total += loss
    return total


def allowed_review(labels: list[int], scores: list[float], r: float) -> tuple[bool, bool]:
    chosen = [label for label, score in zip(labels, scores, strict=True) if score >= r]
    few = len(chosen) <= max(1.0, LIMITS["target_alert_rate"] * len(labels)) or r > sorted(set(scores))[-2]
    return few, few and sum(chosen) / len(chosen) >= LIMITS["precision_floor"]


def brute(labels: list[int], scores: list[float], amounts: list[int], costs: Costs) -> float:
    """The least cost of every pair of distinct scores within the limits; declining nothing is allowed."""
    cuts = sorted(set(scores), reverse=True)
    states = {r: allowed_review(labels, scores, r) for r in cuts}
    usable = [r for r in cuts if states[r][1]] or [r for r in cuts if states[r][0]]
    best = math.inf
    for r, d in product(usable, [*cuts, 2.0]):
        declined = [label for label, score in zip(labels, scores, strict=True) if score >= d]
        sure = len(declined) >= 5 and sum(declined) / len(declined) >= LIMITS["decline_precision"]
        if d == 2.0 or (d > r and sure):
            best = min(best, plain_cost(labels, scores, amounts, costs, r, d))
    return best


@pytest.mark.parametrize("costs", [Costs(400, 2_000, 0, 1), Costs(3_000, 500, 0.3, 0.6), Costs(0, 100_000, 0, 0.9)])
def test_the_pair_costs_what_the_best_of_all_pairs_costs(costs: Costs) -> None:
    for seed in range(25):
        labels, scores, amounts = case(seed)
        given = [np.array(values, dtype=float) for values in (labels, scores, amounts)]
        (review, decline), found = cost_thresholds.suggest(*given, costs, **LIMITS)
        assert 0 < review < decline < 1
        assert found["cost_minor"] == pytest.approx(brute(labels, scores, amounts, costs)), seed
        realised = cost_thresholds.realised(*given, costs, (review, decline))
        assert realised["cost_minor"] == pytest.approx(plain_cost(labels, scores, amounts, costs, review, decline))
        assert realised["cost_minor"] == pytest.approx(found["cost_minor"])
        assert found["cost_without_desk_minor"] == pytest.approx(
            sum(amount for amount, label in zip(amounts, labels, strict=True) if label) * (1 - costs.recovered_share)
        )
        rates = [point["alert_rate"] for point in found["curve"]]
        assert rates == sorted(set(rates))
        assert rates[-1] == 1.0


def test_a_dear_review_raises_the_threshold() -> None:
    labels, scores, amounts = (np.array(values, dtype=float) for values in case(3, 400))
    cheap, dear = (
        cost_thresholds.suggest(labels, scores, amounts, Costs(cost, 1_000_000, 0, 1), **LIMITS)[0][0]
        for cost in (1.0, 9_000.0)
    )
    assert dear > cheap


def sample(slope: float, intercept: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(1)
    log_odds = r.normal(-2, 2, rows)
    return (r.random(rows) < 1 / (1 + np.exp(-(slope * log_odds + intercept)))).astype(float), log_odds


def test_the_slope_and_intercept_that_made_the_labels_are_found() -> None:
    labels, log_odds = sample(0.6, -1.5)
    found = calibration.calibrate(labels, log_odds)
    assert found["slope"] == pytest.approx(0.6, abs=0.04)
    assert found["intercept"] == pytest.approx(-1.5, abs=0.08)
    scores = calibration.probabilities(found, log_odds)
    before = calibration.quality(labels, calibration.probabilities({}, log_odds))
    after = calibration.quality(labels, scores)
    assert after["ece"] < 0.01 < before["ece"]
    assert after["brier"] < before["brier"]
    assert (np.argsort(scores, kind="stable") == np.argsort(log_odds, kind="stable")).all()


def test_quality_is_what_plain_python_computes() -> None:
    labels, log_odds = sample(1.0, 0.0, 300)
    scores = calibration.probabilities({}, log_odds)
    edges = calibration.EDGES
    told = calibration.quality(labels, scores)
    pairs = list(zip(labels.tolist(), scores.tolist(), strict=True))
    gap, held = 0.0, []
    for low, high in pairwise(edges):
        inside = [(y, s) for y, s in pairs if low <= s < high or (high == 1.0 and s == 1.0)]
        if inside:
            mean, share = sum(s for _, s in inside) / len(inside), sum(y for y, _ in inside) / len(inside)
            gap += abs(mean - share) * len(inside) / len(pairs)
            held.append((low, len(inside)))
    assert told["ece"] == pytest.approx(gap)
    assert told["brier"] == pytest.approx(sum((s - y) ** 2 for y, s in pairs) / len(pairs))
    assert [(b["low"], b["rows"]) for b in told["bins"]] == held


@pytest.mark.parametrize(
    ("labels", "log_odds", "reason"),
    [
        ([1.0] * 19 + [0.0] * 500, list(range(519)), "Only 19 frauds among 519 transactions"),
        ([1.0] * 30 + [0.0] * 500, [0.5] * 530, "The model gives every transaction the same score."),
        ([1.0] * 30 + [0.0] * 500, list(range(530)), "On the rows kept aside a higher score did not mean more fraud."),
    ],
)
def test_what_cannot_be_calibrated_stays_as_it_is_and_says_why(
    labels: list[float], log_odds: list[float], reason: str
) -> None:
    found: dict[str, Any] = calibration.calibrate(np.array(labels), np.array(log_odds, dtype=float))
    assert found["kind"] == "none"
    assert found["reason"].startswith(reason)


def test_separated_classes_and_extreme_scores_give_finite_parameters() -> None:
    labels = np.array([0.0] * 400 + [1.0] * 40)
    found = calibration.calibrate(labels, np.where(labels > 0.5, 30.0, -30.0))
    assert found["kind"] == "logistic"
    assert 0 < found["slope"] < 10
    assert np.isfinite(calibration.probabilities(found, np.array([-1e4, 1e4]))).all()
