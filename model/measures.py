"""How good a ranking is, and the thresholds it suggests. numpy only; runs inside the training container."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Fewer declined transactions than this say nothing about a precision of 90 %.
_DECLINE_AT_LEAST = 5
# Thresholds keep this distance from each other and from 0 and 1.
_GAP = 1e-6


def steps(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Distinct scores descending, with (true positives, alerted) when everything at or above each is alerted."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order] > 0.5)
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return ranked[last], hits[last].astype(float), last + 1.0


def average_precision(labels: Array, scores: Array) -> float:
    """Sum over distinct scores of (recall gained) x (precision there); nan without a positive.

    The step-wise estimator without interpolation: equal scores are one step, so their order does not matter. A
    random ranking has the prevalence.
    """
    _, hits, alerted = steps(labels, scores)
    if not hits[-1]:
        return float("nan")
    gained = np.diff(np.concatenate(([0.0], hits))) / hits[-1]
    return float(np.sum(gained * hits / alerted))


def curve_area(labels: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Area under the precision-recall curve, interpolated between distinct scores (Davis and Goadrich, 2006).

    It is XGBoost's aucpr without weights, in a quarter of its time: the area only grows at scores that a fraud has, so
    the rows are sorted as plain numbers and only the frauds' scores looked up. 0 when one kind is absent.
    """
    fraud = np.sort(scores[labels > 0.5])
    if not 0 < len(fraud) < len(scores):
        return 0.0
    ranked, cuts = np.sort(scores), np.unique(fraud)[::-1]
    hits = (len(fraud) - np.searchsorted(fraud, cuts, side="left")).astype(float)
    before = np.concatenate(([0.0], hits[:-1]))
    alarms = len(ranked) - np.searchsorted(ranked, cuts, side="left") - hits
    alarms_before = len(ranked) - np.searchsorted(ranked, cuts, side="right") - before
    slope = (alarms - alarms_before) / (hits - before)
    a, b = 1.0 + slope, (alarms_before - slope * before) / len(fraud)
    high, low = hits / len(fraud), before / len(fraud)
    bent = np.where(b == 0.0, 1.0, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        drop = np.where(b == 0.0, 0.0, b / a * (np.log(a * high + bent) - np.log(a * low + bent)))
    return float(np.sum((high - low - drop) / a))


def roc_auc(labels: Array, scores: Array) -> float:
    """Probability that a fraud scores above a genuine transaction, ties counting half; nan when one kind is absent."""
    _, hits, alerted = steps(labels, scores)
    positives, negatives = hits[-1], alerted[-1] - hits[-1]
    if not positives or not negatives:
        return float("nan")
    y = np.concatenate(([0.0], hits / positives))
    x = np.concatenate(([0.0], (alerted - hits) / negatives))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0))


def card_precision(
    labels: Array, scores: Array, cards: NDArray[np.int64], days: NDArray[np.int64], *, k: int = 100
) -> float:
    """Card Precision@k (Le Borgne et al., Fraud Detection Handbook): mean over days of defrauded cards among k, by k.

    Those k have the highest scores of the day, a card having that of its riskiest transaction; of equal ones the
    smaller code comes first. A defrauded card that was among them is found, and not there on later days. nan without
    a row.
    """
    found: list[int] = []
    gone = np.zeros(0, dtype=np.int64)
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        rows = rows[~np.isin(cards[rows], gone)]
        # By card, its riskiest transaction first; then one row a card, by risk.
        rows = rows[np.lexsort((-scores[rows], cards[rows]))]
        first = rows[np.unique(cards[rows], return_index=True)[1]]
        looked_at = cards[first[np.argsort(-scores[first], kind="stable")[:k]]]
        caught = np.intersect1d(looked_at, cards[rows[labels[rows] > 0.5]])
        found.append(len(caught))
        gone = np.concatenate((gone, caught))
    return float(np.mean(found)) / k if found else float("nan")


def suggest_thresholds(
    labels: Array, scores: Array, *, target_alert_rate: float, precision_floor: float, decline_precision: float
) -> tuple[float, float]:
    """(review, decline) with 0 < review < decline < 1; a score equal to a threshold is alerted.

    review: the lowest threshold that alerts at most `target_alert_rate` of the transactions and of whose alerts at
    least `precision_floor` are fraud, so that a quiet period does not fill the queue with noise; where no threshold
    has that precision, the alert rate alone decides; where even the highest score is shared by too many, that score.
    decline: the lowest threshold above review of whose declines at least `decline_precision` are fraud, among at
    least 5; otherwise the middle between review and 1.
    """
    cuts, hits, alerted = steps(labels, scores)
    place = int(np.flatnonzero(affordable(hits, alerted, len(labels), target_alert_rate, precision_floor))[-1])
    sure = certain(hits, alerted, decline_precision)
    sure[place:] = False
    return pair(cuts, place, int(np.flatnonzero(sure)[-1]) if sure.any() else None)


def affordable(
    hits: Array, alerted: Array, rows: int, target_alert_rate: float, precision_floor: float
) -> NDArray[np.bool_]:
    """Which steps may be the last one alerted: by rate and precision; by rate alone where none has the precision."""
    few = alerted <= max(1.0, target_alert_rate * rows)
    few[0] = True
    wanted = few & (hits / alerted >= precision_floor)
    return wanted if wanted.any() else few


def certain(hits: Array, alerted: Array, decline_precision: float) -> NDArray[np.bool_]:
    """Which steps may be the last one declined."""
    sure: NDArray[np.bool_] = (hits / alerted >= decline_precision) & (alerted >= _DECLINE_AT_LEAST)
    return sure


def pair(cuts: Array, review_place: int, decline_place: int | None) -> tuple[float, float]:
    """(review, decline) thresholds that alert and decline up to these steps; apart from each other, 0 and 1."""
    review = float(np.clip(_between(cuts, review_place), _GAP, 1.0 - 3 * _GAP))
    decline = (review + 1.0) / 2.0 if decline_place is None else _between(cuts, decline_place)
    return review, float(np.clip(decline, review + _GAP, 1.0 - _GAP))


def _between(cuts: Array, place: int) -> float:
    """A threshold that alerts `place` + 1 distinct scores: halfway down to the next, so that rounding is harmless."""
    following = cuts[place + 1] if place + 1 < len(cuts) else 0.0
    return float((cuts[place] + following) / 2.0)
