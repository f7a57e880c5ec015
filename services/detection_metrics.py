"""How well a ranking finds fraud, with the definitions of the Fraud Detection Handbook (Le Borgne et al., ULB).

`frauds` [n] is bool or 0/1, `scores` [n] finite, higher is riskier. A metric that has nothing to measure is nan.
A *card* is whoever pays, whatever a mapping calls the payer; a day is a UTC day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]
Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class DayOfCards:
    """One day's worth of work: `looked_at` the rows of the k riskiest cards, `there` the rows of every card not found
    on an earlier day; `found` the number of looked-at cards with a fraud that day, `cards_with_fraud` of all there."""

    day: int
    there: NDArray[np.int64]
    looked_at: NDArray[np.int64]
    found: int
    cards_with_fraud: int


def auc_roc(frauds: Labels, scores: Scores) -> float:
    """Probability that a fraud scores above a genuine transaction, ties counting half (mid-ranks)."""
    hit = np.asarray(frauds) > 0
    positives, negatives = int(hit.sum()), int((~hit).sum())
    if not positives or not negatives:
        return float("nan")
    _, place, size = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - (size - 1) / 2.0
    return float((middle[place][hit].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def average_precision(frauds: Labels, scores: Scores) -> float:
    """Sum over distinct scores, riskiest first, of recall gained x precision there: step-wise, equal scores one step.

    A random ranking has the prevalence.
    """
    hit = np.asarray(frauds) > 0
    if not hit.any():
        return float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    last = np.append(np.flatnonzero(np.diff(np.asarray(scores)[order])), len(order) - 1)
    hits = np.cumsum(hit[order])[last]
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (last + 1.0)).sum() / hits[-1])


def card_days(
    frauds: Labels, scores: Scores, cards: NDArray[Any], days: NDArray[Any], *, k: int
) -> Iterator[DayOfCards]:
    """Day by day, the k cards with the highest maximal score of the day; of equal ones the smaller card code.

    A card that was looked at and had a fraud that day is found: from the next day on it is no longer there.
    """
    hit, cards = np.asarray(frauds) > 0, np.asarray(cards)
    gone = np.zeros(0, dtype=cards.dtype)
    for day in np.unique(days):
        there = np.flatnonzero(days == day)
        there = there[~np.isin(cards[there], gone)]
        named, place = np.unique(cards[there], return_inverse=True)
        risk = np.full(len(named), -np.inf)
        np.maximum.at(risk, place, scores[there])
        defrauded = np.zeros(len(named), dtype=bool)
        np.logical_or.at(defrauded, place, hit[there])
        chosen = np.argsort(-risk, kind="stable")[:k]
        looked = np.zeros(len(named), dtype=bool)
        looked[chosen] = True
        found = looked & defrauded
        gone = np.concatenate((gone, named[found]))
        yield DayOfCards(int(day), there, there[looked[place]], int(found.sum()), int(defrauded.sum()))


def card_precision(frauds: Labels, scores: Scores, cards: NDArray[Any], days: NDArray[Any], *, k: int = 100) -> float:
    """Card Precision@k: mean over days of (cards found) / k; a day with fewer than k cards still divides by k."""
    found = [day.found / k for day in card_days(frauds, scores, cards, days, k=k)]
    return float(np.mean(found)) if found else float("nan")


def value_detection_rate(
    frauds: Labels, scores: Scores, cards: NDArray[Any], days: NDArray[Any], amounts: NDArray[Any], *, k: int = 100
) -> float:
    """Share of the fraud amount that a daily budget of k cards finds on the day it happens.

    sum over days of the fraud amount of the k cards looked at / sum over days of the fraud amount of all cards still
    there; what a found card would have lost afterwards is in neither sum. nan without a fraud amount.
    """
    hit, caught, lost = np.asarray(frauds) > 0, 0.0, 0.0
    for day in card_days(frauds, scores, cards, days, k=k):
        caught += float(amounts[day.looked_at][hit[day.looked_at]].sum())
        lost += float(amounts[day.there][hit[day.there]].sum())
    return caught / lost if lost else float("nan")
