"""What each feature of a plan is called, measured in, made of, and how it reads to an analyst.

The same words serve every kind of entity: "this customer", "this beneficiary". A title names the feature in a table,
a description says what it is made of, and `words` say one value beside what is ordinary.
"""

from __future__ import annotations

from services.features.plan import Kind, Number, Plan
from services.features.roles import Role
from services.features.terms_counterparty import counterparty_terms, rate_term
from services.features.terms_payer import payer_terms
from services.features.wording import FeatureSpec, amount, count, flag, raw, sentence, zero


def features_of(plan: Plan) -> tuple[FeatureSpec, ...]:
    """In the order of `plan.names`."""
    mean = f"{plan.kinds[0].name}_mean_minor"
    specs = [
        FeatureSpec(
            "amount_minor",
            "Amount",
            "minor",
            "The amount of the transaction, in minor units of its currency",
            amount(mean, plan.kinds[0].title),
            lambda f: f[mean],
        )
    ]
    for place, kind in enumerate(plan.kinds):
        if kind.role is Role.PAYER:
            specs += payer_terms(kind, first=not place)
    payer = plan.kinds[0]
    specs += [_new(kind, payer) for kind in plan.kinds[1:]]
    many = plan.company_names[len(plan.kinds) - 1 :]
    specs += [_met(name, kind, payer) for name, kind in zip(many, plan.met, strict=True)]
    specs += _geography(plan)
    for kind in plan.kinds:
        if kind.role is Role.COUNTERPARTY:
            specs += counterparty_terms(kind)
    specs += [rate_term(f"{kind.name}_fraud_rate_28d", kind) for kind in plan.kinds if kind.role is Role.CATEGORY]
    specs += [_number(number) for number in plan.numbers]
    assert tuple(spec.name for spec in specs) == plan.names, "every feature has words"
    return tuple(specs)


def _new(kind: Kind, payer: Kind) -> FeatureSpec:
    name, where = f"{kind.name}_new", f"{kind.preposition} this {kind.title}"
    return FeatureSpec(
        name,
        f"First time {kind.preposition} the {kind.title}",
        "flag",
        f"1 where this {kind.title} is not among the last 64 that the {payer.title} met, 0 where it is",
        flag(name, f"First time {where}", f"The {payer.title} has been {where} before"),
        zero,
    )


def _met(name: str, kind: Kind, payer: Kind) -> FeatureSpec:
    return FeatureSpec(
        name,
        f"Other {kind.plural} of the {payer.title}, 24 hours",
        "count",
        f"How many {kind.plural} other than this one the {payer.title} met in the last 24 hours, at most 20",
        lambda f: sentence(f"{count(f[name], f'other {kind.title}', f'other {kind.plural}')} in 24 hours"),
        zero,
    )


def _geography(plan: Plan) -> list[FeatureSpec]:
    who = plan.kinds[0].title
    home = FeatureSpec(
        "home_distance_km",
        "Distance from home",
        "km",
        f"Great-circle distance between the place of the transaction and the {who}'s home",
        lambda f: f"{f['home_distance_km']:,.0f} km from the {who}'s home",
    )
    travel = FeatureSpec(
        "travel_kmh",
        "Speed since the last known place",
        "km/h",
        f"Distance to the {who}'s last known place over the time since, which is taken as at least five minutes",
        lambda f: f"Travelling from the last known place would take {f['travel_kmh']:,.0f} km/h",
    )
    return [home] * plan.homes + [travel] * plan.places


def _number(number: Number) -> FeatureSpec:
    if number.unit == "flag":
        words = flag(number.name, number.yes or number.title, number.no or f"Not: {number.title}")
    else:
        words = raw(number.name, number.title, number.unit)
    return FeatureSpec(number.name, number.title, number.unit, f"{number.title}, as the data give it", words)
