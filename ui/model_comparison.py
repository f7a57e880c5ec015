"""The champion and a candidate side by side: figures of the validation window, thresholds, data. Pure.

Each figure comes from its own model's validation window, so two models trained on different windows are compared with
care: prevalence is shown beside every average precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.models import ModelVersion
from services.training import Experiment
from ui import format as fmt

ESTIMATOR = (
    "Average precision on the validation window: the sum over thresholds of recall gained × precision there, without "
    "interpolation. A blind guess reaches the prevalence, the share of fraud among the rows."
)


@dataclass(frozen=True, slots=True)
class Line:
    """One fact of both. `change` is signed with its unit, empty where a difference has no meaning."""

    fact: str
    champion: str
    candidate: str
    change: str


def _number(value: float | None, digits: int = 3) -> str:
    return fmt.MISSING if value is None else f"{value:.{digits}f}"


def lift(metrics: Mapping[str, float]) -> float | None:
    """Average precision over prevalence, the blind guess; None without both."""
    score, base = metrics.get("average_precision"), metrics.get("prevalence")
    return score / base if score is not None and base else None


def _metric(model: ModelVersion | None, key: str) -> float | None:
    return None if model is None else model.metrics.get(key)


def _points(a: float | None, b: float | None, digits: int = 1) -> str:
    return "" if a is None or b is None else fmt.signed((b - a) * 100, digits=digits, unit="pp")


def _plain(a: float | None, b: float | None, digits: int = 3) -> str:
    return "" if a is None or b is None else fmt.signed(b - a, digits=digits)


def compare(
    champion: ModelVersion | None, candidate: ModelVersion, experiments: Mapping[str, Experiment]
) -> tuple[Line, ...]:
    """Facts in the order they are weighed. A champion of None (nothing serves) leaves its column empty."""
    lines = []
    a, b = _metric(champion, "average_precision"), _metric(candidate, "average_precision")
    lines.append(Line("Average precision", _number(a), _number(b), _plain(a, b)))
    a, b = _metric(champion, "prevalence"), _metric(candidate, "prevalence")
    lines.append(Line("Prevalence, a blind guess", _number(a, 4), _number(b, 4), ""))
    a, b = lift(champion.metrics) if champion else None, lift(candidate.metrics)
    lines.append(Line("Times a blind guess", _number(a, 1), _number(b, 1), _plain(a, b, 1)))
    for key, title, digits in (
        ("precision_at_review", "Precision at review", 1),
        ("recall_at_review", "Frauds caught at review", 1),
        ("alert_rate", "Alert rate", 2),
    ):
        a, b = _metric(champion, key), _metric(candidate, key)
        lines.append(Line(title, fmt.percent(a, digits), fmt.percent(b, digits), _points(a, b, digits)))
    for key, title in (("review_threshold", "Review threshold"), ("decline_threshold", "Decline threshold")):
        a, b = getattr(champion, key, None), getattr(candidate, key)
        lines.append(Line(title, _number(a), _number(b), _plain(a, b)))
    old = experiments.get(champion.experiment_id) if champion else None
    new = experiments.get(candidate.experiment_id)
    lines.append(Line("Trained until", trained_until(old), trained_until(new), ""))
    lines.append(Line("Rows", _count(old, "rows"), _count(new, "rows"), ""))
    lines.append(Line("Frauds among them", _count(old, "positives"), _count(new, "positives"), ""))
    return tuple(lines)


def trained_until(experiment: Experiment | None) -> str:
    if experiment is None:
        return fmt.MISSING
    end, days = experiment.window_end, (experiment.window_end - experiment.window_start).days
    return f"{end.day} {end:%b}, {days} d"


def _count(experiment: Experiment | None, field: str) -> str:
    return fmt.count(getattr(experiment, field) if experiment else None)


def consequences(champion: ModelVersion | None, candidate: ModelVersion) -> tuple[str, ...]:
    """What will change for people when the candidate serves, one sentence each."""
    said = [f"{candidate.model_version} scores every transaction that arrives after the switch; scores given stay."]
    if champion is None:
        said.append(
            f"Review from {_number(candidate.review_threshold)}, decline from {_number(candidate.decline_threshold)}."
        )
    else:
        said.append(
            f"Review threshold {_number(champion.review_threshold)} → {_number(candidate.review_threshold)}, "
            f"decline {_number(champion.decline_threshold)} → {_number(candidate.decline_threshold)}."
        )
    a, b = _metric(champion, "alert_rate"), _metric(candidate, "alert_rate")
    if a and b is not None and round((b / a - 1) * 100):
        more = "more" if b > a else "fewer"
        said.append(f"About {fmt.percent(abs(b / a - 1), 0)} {more} alerts, by the two validation windows.")
    return tuple(said)


def rows(models: Sequence[ModelVersion], *, serving: str | None) -> list[dict[str, object]]:
    """The candidates' table in the order given; missing numbers stay None."""
    found: list[dict[str, object]] = []
    for model in models:
        found.append(
            {
                "Version": model.model_version,
                "State": "Serving" if model.model_version == serving else "Candidate",
                "AP": model.metrics.get("average_precision"),
                "Baseline": model.metrics.get("prevalence"),
                "Precision": model.metrics.get("precision_at_review"),
                "Alerts": model.metrics.get("alert_rate"),
                "Review at": model.review_threshold,
            }
        )
    return found
