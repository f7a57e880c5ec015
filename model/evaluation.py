"""What a trained model is worth on rows it was not tuned on: thresholds, metrics, the same by segment. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

if __package__:
    from model import cost_thresholds, measures
    from model.training_channels import Channel, Segment
else:
    import cost_thresholds  # type: ignore[no-redef]
    import measures  # type: ignore[no-redef]
    from training_channels import Channel, Segment  # type: ignore[no-redef]

Array = NDArray[np.float64]

# A share of fewer frauds than this says little; such segments are counted together.
_SEGMENT_FRAUDS = 10
_SEGMENTS = 20


def thresholds(tuning: Channel, scores: Array, settings: dict[str, Any]) -> dict[str, Any]:
    """{kind, review_threshold, decline_threshold, ...}: `cost` where the rows have amounts, `alert_rate` otherwise.

    scores [n] as they are served. With costs, what was weighed and the cost curve go along (`cost_thresholds.suggest`).
    """
    limits = {name: settings[name] for name in ("target_alert_rate", "precision_floor", "decline_precision")}
    if tuning.amounts is None:
        pair = measures.suggest_thresholds(tuning.labels, scores, **limits)
        weighed: dict[str, Any] = {"kind": "alert_rate", "reason": "The training set has no amounts, so no costs."}
    else:
        pair, found = cost_thresholds.suggest(tuning.labels, scores, tuning.amounts, _costs(settings), **limits)
        weighed = {"kind": "cost", **found}
    return weighed | {"review_threshold": pair[0], "decline_threshold": pair[1], "limits": limits}


def measure(
    measured: Channel, scores: Array, chosen: dict[str, Any], settings: dict[str, Any]
) -> tuple[dict[str, float], dict[str, list[dict[str, Any]]]]:
    """(metrics, {segment key: [the same of its values]}); shares lie in [0, 1], costs are minor units.

    A precision among no alerts is left out, never 0, and so is the card precision where payers or days are not known.
    """
    review, decline = chosen["review_threshold"], chosen["decline_threshold"]
    metrics = _figures(measured.labels, scores, review, measured.amounts)
    refused = scores >= decline
    if refused.any():
        metrics["precision_at_decline"] = float(measured.labels[refused].mean())
    metrics["decline_rate"] = float(refused.mean())
    metrics["validation_rows"] = float(len(measured.labels))
    by_card = _card_precision(measured, scores)
    if by_card is not None:
        metrics["cp100"] = by_card
    if measured.amounts is not None:
        costs = cost_thresholds.realised(measured.labels, scores, measured.amounts, _costs(settings), (review, decline))
        metrics["cost_per_1000_minor"] = 1000.0 * costs["cost_minor"] / costs["rows"]
        metrics["cost_per_1000_without_desk_minor"] = 1000.0 * costs["cost_without_desk_minor"] / costs["rows"]
    return metrics, {key: _by_value(measured, scores, review, held) for key, held in measured.segments.items()}


def _card_precision(measured: Channel, scores: Array) -> float | None:
    """Over the days that lie wholly within the rows: the first and the last are cut off somewhere."""
    if measured.cards is None or measured.days is None:
        return None
    whole = (measured.days > measured.days.min()) & (measured.days < measured.days.max())
    labels = measured.labels[whole]
    if not labels.any():
        return None
    return measures.card_precision(labels, scores[whole], measured.cards[whole], measured.days[whole])


def _costs(settings: dict[str, Any]) -> cost_thresholds.Costs:
    names = ("cost_review_minor", "cost_insult_minor", "recovered_share", "review_prevents")
    return cost_thresholds.Costs(**{name: settings[name] for name in names})


def _figures(labels: Array, scores: Array, review: float, amounts: Array | None) -> dict[str, float]:
    alerted = scores >= review
    out = {
        "average_precision": measures.average_precision(labels, scores),
        "auc": measures.roc_auc(labels, scores),
        "recall_at_review": float(labels[alerted].sum() / labels.sum()),
        "alert_rate": float(alerted.mean()),
        "prevalence": float(labels.mean()),
    }
    if alerted.any():
        out["precision_at_review"] = float(labels[alerted].mean())
    if amounts is not None and (stolen := float(np.dot(labels, amounts))) > 0:
        out["value_detection_rate"] = float(np.dot(labels[alerted], amounts[alerted])) / stolen
    return out


def _by_value(measured: Channel, scores: Array, review: float, segment: Segment) -> list[dict[str, Any]]:
    """By value, the most rows first; values with under 10 frauds, and those beyond 20, are one: `other`.

    Its figures, too, are only told of 10 frauds or more.
    """
    names, codes = segment.names, segment.codes
    counts = np.bincount(codes, minlength=len(names))
    frauds = np.bincount(codes, weights=measured.labels, minlength=len(names))
    told = (frauds >= _SEGMENT_FRAUDS) & (counts - frauds >= _SEGMENT_FRAUDS)
    order = [int(place) for place in np.argsort(-counts, kind="stable") if told[place]][:_SEGMENTS]
    rest = ~np.isin(codes, order)
    parts = [(names[place], codes == place) for place in order]
    if rest.any():
        parts.append(("other", rest))
    out = []
    for name, inside in parts:
        labels = measured.labels[inside]
        line: dict[str, Any] = {"value": name, "rows": int(inside.sum()), "frauds": int(labels.sum())}
        if _SEGMENT_FRAUDS <= line["frauds"] < line["rows"]:
            amounts = None if measured.amounts is None else measured.amounts[inside]
            line |= _figures(labels, scores[inside], review, amounts)
        out.append(line)
    return out
