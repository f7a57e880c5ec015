"""What each feature of a plan is called, measured in, made of, and how it reads to an analyst.

The same words serve every kind of entity: "this customer", "this beneficiary". A title names the feature in a table,
a description says what it is made of, and `words` say one value beside what is ordinary.
"""

from __future__ import annotations

from services.features.counterparty import SUFFIXES as COUNTERPARTY
from services.features.history import SUFFIXES as HISTORY
from services.features.plan import Kind, Number, Plan, feature_name
from services.features.roles import Role
from services.features.wording import (
    FeatureSpec,
    above,
    amount,
    compared,
    count,
    days,
    duration,
    flag,
    frauds,
    frequency,
    one,
    raw,
    times,
    zero,
)

_SPANS = {"10m": "10 minutes", "1h": "an hour", "24h": "24 hours", "7d": "7 days"}
_FRAUD_SPANS = {"1d": "1 day", "7d": "7 days", "28d": "28 days"}


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
            specs += _history(kind, first=not place)
    payer = plan.kinds[0]
    specs += [_new(kind, payer) for kind in plan.kinds[1:]]
    many = plan.company_names[len(plan.kinds) - 1 :]
    specs += [_met(name, kind, payer) for name, kind in zip(many, plan.met, strict=True)]
    specs += _geography(plan)
    for kind in plan.kinds:
        if kind.role is Role.COUNTERPARTY:
            specs += _counterparty(kind)
    specs += [_rate(f"{kind.name}_fraud_rate_28d", kind) for kind in plan.kinds if kind.role is Role.CATEGORY]
    specs += [_number(number) for number in plan.numbers]
    assert tuple(spec.name for spec in specs) == plan.names, "every feature has words"
    return tuple(specs)


def _history(kind: Kind, *, first: bool) -> list[FeatureSpec]:
    who, whose = f"this {kind.title}", f"the {kind.title}'s"
    name = {suffix: feature_name(kind.name, suffix, first=first) for suffix in HISTORY}
    mean = name["mean_minor"]
    counts = [
        FeatureSpec(
            name[f"count_{span}"],
            f"Transactions in {words}" + ("" if first else f" ({kind.title})"),
            "count",
            f"How many transactions {who} made in the {words.replace('an ', '')} before, at most 20",
            frequency(name[f"count_{span}"], who, "the last " + words.replace("an ", "")),
        )
        for span, words in _SPANS.items()
    ]
    return [
        FeatureSpec(
            name["hour_share"],
            "Habit of this time of day" + ("" if first else f" ({kind.title})"),
            "share",
            f"Share of all transactions of {who} in the same three hours of the day (UTC), from the 10th on",
            lambda f: f"{f[name['hour_share']]:.0%} of {who}'s transactions are at this time of day",
            lambda f: 0.125,
        ),
        *counts,
        FeatureSpec(
            name["burst_24h"],
            f"24 hours against {whose} usual day",
            "ratio",
            f"Transactions of {who} in the last 24 hours, against its average day of the last 30 days",
            lambda f: f"Transactions in the last 24 hours are {times(f[name['burst_24h']])} {who}'s usual day",
            one,
        ),
        FeatureSpec(
            name["spend_24h_ratio"],
            "Spent in 24 hours, in usual purchases" + ("" if first else f" ({kind.title})"),
            "ratio",
            f"What {who} spent in the last 24 hours with this transaction, in multiples of its mean amount",
            lambda f: (
                f"With this, {f.money(f[name['spend_24h_ratio']] * f[mean])} in 24 hours, "
                f"{times(f[name['spend_24h_ratio']])} {who}'s usual purchase"
            ),
            one,
        ),
        FeatureSpec(
            mean,
            f"{whose.capitalize()} usual amount",
            "minor",
            f"The mean of the last 193 to 256 amounts of {who}, in minor units",
            lambda f: f"{who.capitalize()} usually spends {f.money(f[mean])}",
        ),
        FeatureSpec(
            name["amount_to_mean"],
            f"Amount against {whose} usual",
            "ratio",
            f"The amount against the mean amount of {who}",
            compared(name["amount_to_mean"], f"{who}'s usual"),
            one,
        ),
        FeatureSpec(
            name["amount_to_median"],
            f"Amount against {whose} middle one",
            "ratio",
            f"The amount against the median of the last 32 amounts of {who}",
            compared(name["amount_to_median"], f"{who}'s middle amount of late,"),
            one,
        ),
        FeatureSpec(
            name["amount_zscore"],
            f"Amount in {whose} standard deviations",
            "sd",
            f"How many standard deviations of its own amounts the amount lies above the mean of {who}",
            above(name["amount_zscore"], mean, who),
            zero,
        ),
        FeatureSpec(
            name["amount_to_max_30d"],
            f"Amount against {whose} largest in 30 days",
            "ratio",
            f"The amount against the largest of {who} in the last 30 days",
            compared(name["amount_to_max_30d"], f"{who}'s largest in 30 days,"),
            one,
        ),
        FeatureSpec(
            name["max_ratio_14d"],
            "Largest in 14 days against the usual" + ("" if first else f" ({kind.title})"),
            "ratio",
            f"The largest amount of {who} in the last 14 days against its mean",
            lambda f: f"Lately (14 days) {who} spent up to {times(f[name['max_ratio_14d']])} the usual amount",
            one,
        ),
        FeatureSpec(
            name["seconds_since_previous"],
            f"Time since {whose} previous transaction",
            "s",
            f"Seconds since the previous transaction of {who}, at most 7 days",
            lambda f: (
                f"More than 7 days since {who}'s previous transaction"
                if f[name["seconds_since_previous"]] >= 604_800
                else f"{duration(f[name['seconds_since_previous']])} after {who}'s previous transaction"
            ),
        ),
        FeatureSpec(
            name["tenure_days"],
            f"Days since {whose} first transaction",
            "d",
            f"Days since the first transaction of {who}, at most 30",
            lambda f: f"{who.capitalize()} has been known for {days(f[name['tenure_days']])}",
        ),
        FeatureSpec(
            name["frauds_28d"],
            f"{whose.capitalize()} known frauds, 28 days",
            "count",
            f"Frauds of {who} that became known in the last 28 days, at most 20",
            frauds(name["frauds_28d"], f"of {who}", "28 days"),
            zero,
        ),
    ]


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
        lambda f: f"{count(f[name], f'other {kind.title}', f'other {kind.plural}')} in 24 hours".capitalize(),
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


def _counterparty(kind: Kind) -> list[FeatureSpec]:
    name = {suffix: feature_name(kind.name, suffix) for suffix in COUNTERPARTY}
    this, whose, where = f"this {kind.title}", f"the {kind.title}'s", f"{kind.preposition} this {kind.title}"
    clean = name["clean_since_fraud"]
    run, age, burst = name["unexplained_run"], name["run_age_days"], name["burst_24h"]
    others, known = name["other_payers_30d"], name["age_days"]
    return [
        *(
            FeatureSpec(
                name[f"frauds_{span}"],
                f"Known frauds {kind.preposition} the {kind.title}, {words}",
                "count",
                f"Frauds {where} that became known in the last {words.removeprefix('1 ')}, at most 20",
                frauds(name[f"frauds_{span}"], where, words.removeprefix("1 ")),
                zero,
            )
            for span, words in _FRAUD_SPANS.items()
        ),
        _rate(name["fraud_rate_28d"], kind),
        FeatureSpec(
            run,
            f"Frauds {kind.preposition} the {kind.title} not explained by amount",
            "count",
            f"Length of the latest run of known frauds {where} whose amounts were ordinary for who paid (at most three "
            "times the mean), each within 7 days of the next; 0 once the last is more than 35 days ago",
            lambda f: f"{count(f[run], 'fraud')} of ordinary amounts {where}".capitalize(),
            zero,
        ),
        FeatureSpec(
            age,
            f"Days since frauds {kind.preposition} the {kind.title} began",
            "d",
            f"Days since the first fraud of that run {where} happened",
            lambda f: f"Frauds of ordinary amounts {where} began {days(f[age])} ago",
        ),
        FeatureSpec(
            clean,
            f"Transactions {kind.preposition} the {kind.title} since its last such fraud",
            "count",
            f"Transactions {where} on the days since the last fraud of that run which would be known by now, were they "
            "frauds and reported as late as that one, at most 20; many say that the run is over",
            lambda f: f"{count(f[clean], 'transaction')} {where} since then without a known fraud".capitalize(),
        ),
        FeatureSpec(
            name["amount_to_mean"],
            f"Amount against {whose} usual",
            "ratio",
            f"The amount against the mean amount {where} in the last 30 days",
            compared(name["amount_to_mean"], f"{this}'s usual"),
            one,
        ),
        FeatureSpec(
            burst,
            f"24 hours against {whose} usual day",
            "ratio",
            f"Transactions {where} in the last 24 hours, against its average day of the last 30 days",
            lambda f: f"{this.capitalize()}'s last 24 hours are {times(f[burst])} its usual day",
            one,
        ),
        FeatureSpec(
            others,
            f"Other customers {kind.preposition} the {kind.title}, 30 days",
            "count",
            f"How many other customers were {where} in the last 30 days, at most 20",
            lambda f: f"{count(f[others], 'other customer')} {where} in 30 days".capitalize(),
            zero,
        ),
        FeatureSpec(
            known,
            f"Days since the {kind.title} was first met",
            "d",
            f"Days since the first transaction {where}, at most 30",
            lambda f: (
                f"{this.capitalize()} was first met {days(f[known])} ago"
                if f[known]
                else f"{this.capitalize()} has never been met before"
            ),
        ),
    ]


def _rate(name: str, kind: Kind) -> FeatureSpec:
    return FeatureSpec(
        name,
        f"Share of known fraud {kind.preposition} the {kind.title}",
        "share",
        f"Frauds that became known in the last 28 days over the transactions of the last 30 {kind.preposition} this "
        f"{kind.title}, with 5 genuine ones added",
        lambda f: f"About {f[name]:.1%} of this {kind.title}'s transactions are known fraud",
        zero,
    )


def _number(number: Number) -> FeatureSpec:
    if number.unit == "flag":
        words = flag(number.name, number.yes or number.title, number.no or f"Not: {number.title}")
    else:
        words = raw(number.name, number.title, number.unit)
    return FeatureSpec(number.name, number.title, number.unit, f"{number.title}, as the data give it", words)
