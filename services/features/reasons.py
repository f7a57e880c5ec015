"""A model's contributions, said in the language of an analyst: what is unusual against the entity's own normal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from services.features.plan import Plan
from services.features.wording import Facts, FeatureSpec


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a score is what it is.

    `contribution` is in log-odds, positive where it raises the risk. `value` is the feature in its own unit, None
    where it is not known; `normal` is what is ordinary for this customer, terminal or merchant, None where nothing is.
    """

    feature: str
    text: str
    value: float | None
    normal: float | None
    contribution: float


def reasons(
    vector: Sequence[float],
    contributions: Sequence[float],
    *,
    plan: Plan,
    limit: int = 4,
    currency: str = "EUR",
    exponent: int = 2,
) -> tuple[Reason, ...]:
    """The `limit` strongest reasons: those that raise the risk first, each group by |contribution| descending.

    Equal contributions keep the order of the matrix; zero contributions are no reasons. Only when fewer than `limit`
    raise the risk do those that lower it fill up. `vector` and `contributions` are in matrix order and equally long
    as the plan's features, else ValueError.
    """
    if len(vector) != len(plan.names) or len(contributions) != len(plan.names):
        raise ValueError(
            f"expected {len(plan.names)} features and contributions, got {len(vector)} and {len(contributions)}"
        )
    facts = Facts(
        {spec.name: value for spec, value in zip(plan.features, vector, strict=True)},
        lambda minor: f"{currency} {minor / 10**exponent:,.{exponent}f}",
    )
    present = [place for place, contribution in enumerate(contributions) if contribution]
    present.sort(key=lambda place: (contributions[place] < 0, -abs(contributions[place])))
    return tuple(_reason(plan.features[place], facts, contributions[place]) for place in present[:limit])


def _reason(spec: FeatureSpec, facts: Facts, contribution: float) -> Reason:
    value = facts[spec.name]
    if isnan(value):
        return Reason(spec.name, f"{spec.title}: not known", None, None, float(contribution))
    normal = spec.normal(facts)
    if normal is not None and isnan(normal):
        normal = None
    return Reason(spec.name, spec.words(facts), float(value), normal, float(contribution))
