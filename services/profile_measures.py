"""Measures of columns: quantiles, skewness, AUC, population stability. Plain numpy; sources in each docstring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PSI_BINS = 10
# Siddiqi (2006), "Credit Risk Scorecards": below 0.1 no change to speak of, from 0.25 a shift.
PSI_SMALL, PSI_LARGE = 0.1, 0.25


def quantiles(ordered: Floats, shares: Sequence[float]) -> list[float]:
    """Of sorted values, at least one, with linear interpolation between neighbours."""
    return [float(value) for value in np.quantile(ordered, shares)]


def skewness(values: Floats) -> float | None:
    """g1 = m3 / m2^1.5 with population moments; None where the values do not vary."""
    apart = values - values.mean()
    spread = float((apart**2).mean())
    return (
        float((apart**3).mean() / spread**1.5) if spread > 1e-12 * max(1.0, float(np.abs(values).max()) ** 2) else None
    )


def auc(values: Floats, labels: NDArray[np.int8]) -> float | None:
    """P(value of a fraud > value of a genuine one) + half of P(equal); None without both kinds. No missing values."""
    frauds = int(labels.sum())
    genuine = len(labels) - frauds
    if not frauds or not genuine:
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][labels == 1].sum() - frauds * (frauds + 1) / 2) / (frauds * genuine))


def bins(reference: Floats) -> Floats:
    """Inner edges of PSI_BINS bins of equal count of the reference's values that are there; fewer where values tie."""
    present = reference[np.isfinite(reference)]
    if not len(present):
        return np.empty(0)
    return np.unique(np.quantile(present, np.arange(1, PSI_BINS) / PSI_BINS))


def psi(reference: Floats, current: Floats) -> float:
    """Population stability index: the sum over bins of (c - r) x ln(c / r), shares c and r of current and reference.

    Bins: those of `bins` (a value on an edge belongs above), and one for missing. Each count is raised by 0.5, so that
    an empty bin gives a finite number. 0 where the distributions are the same. ValueError for no values.
    """
    if not len(reference) or not len(current):
        raise ValueError("no values to compare")
    edges = bins(reference)
    shares = []
    for values in (reference, current):
        there = np.isfinite(values)
        counts = np.bincount(np.searchsorted(edges, values[there], side="right"), minlength=len(edges) + 1)
        raised = np.append(counts, (~there).sum()) + 0.5
        shares.append(raised / raised.sum())
    r, c = shares
    return float(((c - r) * np.log(c / r)).sum())


def average_precision(labels: NDArray[np.int8], scores: Floats) -> float:
    """Sum over thresholds of (recall step) x precision; equal scores are one threshold. ValueError without frauds."""
    if not labels.sum():
        raise ValueError("no frauds")
    order = np.argsort(-scores, kind="stable")
    hits, ordered = np.cumsum(labels[order]), scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    precision = hits[last] / (last + 1)
    recall = hits[last] / hits[-1]
    return float((np.diff(np.append(0.0, recall)) * precision).sum())
