"""Thresholds from what mistakes cost: the pair (review, decline) with the least expected cost within the desk's limits.

A transaction of amount a, its loss if fraud l = a * (1 - recovered_share):
    let through    l if fraud, else 0
    reviewed       cost_review, and l * (1 - review_prevents) if fraud
    declined       0 if fraud, else cost_insult
A score at or above a threshold is acted on. Costs add up over the transactions, so with everything sorted by score the
total splits into a part that depends on the review threshold alone and one that depends on the decline threshold
alone: one pass finds the best pair. Amounts and costs are in minor units of the desk's currency. numpy only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

if __package__:
    from model import measures
else:
    import measures  # type: ignore[no-redef]

Array = NDArray[np.float64]
_CURVE_POINTS = 60


@dataclass(frozen=True)
class Costs:
    cost_review_minor: float
    cost_insult_minor: float
    recovered_share: float
    review_prevents: float


def suggest(
    labels: Array,
    scores: Array,
    amounts: Array,
    costs: Costs,
    *,
    target_alert_rate: float,
    precision_floor: float,
    decline_precision: float,
) -> tuple[tuple[float, float], dict[str, Any]]:
    """((review, decline), what was weighed); 0 < review < decline < 1.

    The limits of `measures.suggest_thresholds` hold: at most `target_alert_rate` alerted, at least `precision_floor` of
    the alerts and `decline_precision` of the declines (5 or more) fraud; within them the cheapest, the lowest threshold
    of equal ones. Where no decline is worth it or allowed, decline lies above every score seen here (and at least
    in the middle between review and 1).
    """
    cuts, hits, alerted = measures.steps(labels, scores)
    through, reviewed, declined = _sums(labels, scores, amounts, costs)
    allowed = measures.affordable(hits, alerted, len(labels), target_alert_rate, precision_floor)
    saved = through - reviewed
    gain = np.where(measures.certain(hits, alerted, decline_precision), reviewed - declined, -np.inf)
    # The most that declining some of what lies above each step can add; 0: declining nothing.
    added = np.maximum(0.0, np.append(-np.inf, np.maximum.accumulate(gain)[:-1]))
    place = _last_maximum(np.where(allowed, saved + added, -np.inf))
    at = _last_maximum(gain[:place]) if added[place] > 0 else None
    review, decline = measures.pair(cuts, place, at)
    if at is None:
        decline = float(max(decline, min((cuts[0] + 1.0) / 2.0, 1.0 - 1e-6)))
    total = float(_all_through(labels, amounts, costs))
    spared = float(saved[place] + added[place])
    return (review, decline), {
        "costs": asdict(costs),
        "rows": len(labels),
        "cost_without_desk_minor": total,
        "cost_minor": total - spared,
        "cheapest_without_limits": {
            "alert_rate": float(alerted[_last_maximum(saved)] / len(labels)),
            "cost_minor": total - float(saved.max()),
        },
        "curve": _curve(cuts, hits, alerted, total - saved, labels),
    }


def realised(labels: Array, scores: Array, amounts: Array, costs: Costs, pair: tuple[float, float]) -> dict[str, float]:
    """What the pair would have cost on these rows, and without any desk; minor units."""
    review, decline = pair
    fraud = labels > 0.5
    loss = np.where(fraud, amounts * (1.0 - costs.recovered_share), 0.0)
    looked_at, refused = (scores >= review) & (scores < decline), scores >= decline
    cost = (
        loss[scores < review].sum()
        + costs.cost_review_minor * looked_at.sum()
        + loss[looked_at].sum() * (1.0 - costs.review_prevents)
        + costs.cost_insult_minor * (refused & ~fraud).sum()
    )
    return {"cost_minor": float(cost), "cost_without_desk_minor": float(loss.sum()), "rows": float(len(labels))}


def _all_through(labels: Array, amounts: Array, costs: Costs) -> float:
    return float(np.sum(labels * amounts) * (1.0 - costs.recovered_share))


def _sums(labels: Array, scores: Array, amounts: Array, costs: Costs) -> tuple[Array, Array, Array]:
    """Cost of letting through, reviewing, declining everything at or above each distinct score, descending."""
    order = np.argsort(-scores, kind="stable")
    ranked, fraud = scores[order], labels[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    loss = np.cumsum(fraud * amounts[order])[last] * (1.0 - costs.recovered_share)
    count = last + 1.0
    genuine = count - np.cumsum(fraud)[last]
    return (
        loss,
        costs.cost_review_minor * count + loss * (1.0 - costs.review_prevents),
        costs.cost_insult_minor * genuine,
    )


def _last_maximum(values: Array) -> int:
    return int(len(values) - 1 - np.argmax(values[::-1]))


def _curve(cuts: Array, hits: Array, alerted: Array, cost: Array, labels: Array) -> list[dict[str, float]]:
    """Cost of reviewing everything at or above a threshold (nothing declined), at points even in log alert rate."""
    wanted = np.geomspace(alerted[0], alerted[-1], _CURVE_POINTS)
    places = np.unique(np.searchsorted(alerted, wanted, side="left").clip(0, len(cuts) - 1))
    return [
        {
            "threshold": float(cuts[place]),
            "alert_rate": float(alerted[place] / len(labels)),
            "precision": float(hits[place] / alerted[place]),
            "recall": float(hits[place] / hits[-1]),
            "cost_minor": float(cost[place]),
        }
        for place in places
    ]
