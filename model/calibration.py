"""From a score that ranks to a probability: a logistic on the log-odds, learned on rows the trees never saw.

p = 1 / (1 + exp(-(slope * m + intercept))), m the trees' log-odds; slope > 0, so no rank changes. Fitted by Newton's
method with Platt's smoothed targets (J. Platt, Probabilistic Outputs for Support Vector Machines, 1999; the stable
form of Lin, Lin and Weng, 2007): finite even where the classes are separated. numpy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# With fewer frauds two parameters follow chance.
MINIMUM_FRAUDS = 20
# Fine where nearly all transactions are, because a portfolio's frauds are rare.
EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_STEPS = 100


def calibrate(labels: Array, log_odds: Array) -> dict[str, Any]:
    """{"kind": "logistic", "slope", "intercept"}, or {"kind": "none", "reason"} where nothing can be learned.

    labels [n] of 0.0 and 1.0; log_odds [n], finite.
    """
    frauds = int(labels.sum())
    if min(frauds, len(labels) - frauds) < MINIMUM_FRAUDS:
        return none(
            f"Only {frauds:,} frauds among {len(labels):,} transactions; {MINIMUM_FRAUDS} of each kind are needed."
        )
    if not np.ptp(log_odds):
        return none("The model gives every transaction the same score.")
    slope, intercept = _newton(labels, log_odds)
    if not (np.isfinite([slope, intercept]).all() and slope > 1e-6):
        return none("On the rows kept aside a higher score did not mean more fraud.")
    return {"kind": "logistic", "slope": slope, "intercept": intercept, "rows": len(labels), "frauds": frauds}


def none(reason: str) -> dict[str, Any]:
    """Scores stay as the trees gave them."""
    return {"kind": "none", "reason": reason}


def probabilities(calibration: dict[str, Any], log_odds: Array) -> Array:
    """The score that is served, as float64 in [0, 1]."""
    slope, intercept = calibration.get("slope", 1.0), calibration.get("intercept", 0.0)
    return _sigmoid(slope * log_odds + intercept)


def quality(labels: Array, scores: Array) -> dict[str, Any]:
    """{brier, ece, rows, frauds, bins[{low, high, rows, mean_score, fraud_share}]}; empty bins are left out.

    Brier: the mean squared difference of score and label. ECE: the mean over rows of the absolute difference between
    a bin's mean score and its share of fraud. A score equal to an edge belongs to the bin above, 1 to the last.
    """
    place = np.clip(np.searchsorted(EDGES, scores, side="right") - 1, 0, len(EDGES) - 2)
    bins, gap = [], 0.0
    for number in np.unique(place):
        inside = place == number
        mean, share = float(scores[inside].mean()), float(labels[inside].mean())
        gap += abs(mean - share) * int(inside.sum())
        bins.append(
            {
                "low": EDGES[number],
                "high": EDGES[number + 1],
                "rows": int(inside.sum()),
                "mean_score": mean,
                "fraud_share": share,
            }
        )
    return {
        "brier": float(np.mean((scores - labels) ** 2)),
        "ece": gap / len(labels),
        "rows": len(labels),
        "frauds": int(labels.sum()),
        "bins": bins,
    }


def _newton(labels: Array, log_odds: Array) -> tuple[float, float]:
    """The minimum of the cross-entropy with smoothed targets, by damped Newton steps."""
    frauds = labels.sum()
    targets = np.where(labels > 0.5, (frauds + 1.0) / (frauds + 2.0), 1.0 / (len(labels) - frauds + 2.0))
    at = np.array([1.0, 0.0])
    loss = _loss(targets, log_odds, at)
    for _ in range(_STEPS):
        p = _sigmoid(at[0] * log_odds + at[1])
        error, weight = p - targets, p * (1.0 - p)
        gradient = np.array([np.dot(error, log_odds), error.sum()])
        if np.abs(gradient).max() < 1e-8 * len(labels):
            break
        cross = np.dot(weight, log_odds)
        curvature = np.array([[np.dot(weight, log_odds**2), cross], [cross, weight.sum()]]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while length > 1e-6 and _loss(targets, log_odds, at - length * step) > loss:
            length /= 2.0
        if length <= 1e-6:
            break
        at = at - length * step
        loss = _loss(targets, log_odds, at)
    return float(at[0]), float(at[1])


def _loss(targets: Array, log_odds: Array, at: Array) -> float:
    z = at[0] * log_odds + at[1]
    return float(np.sum(np.logaddexp(0.0, z) - targets * z))


def _sigmoid(z: Array) -> Array:
    out: Array = np.exp(-np.logaddexp(0.0, -z))
    return out
