"""What the features of a counterparty or category are called, made of, and how they read; see `terms`."""

from __future__ import annotations

from services.features.counterparty import SUFFIXES as COUNTERPARTY
from services.features.plan import Kind, feature_name
from services.features.wording import FeatureSpec, compared, count, days, frauds, one, sentence, times, zero

_FRAUD_SPANS = {"1d": "1 day", "7d": "7 days", "28d": "28 days"}


def counterparty_terms(kind: Kind) -> list[FeatureSpec]:
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
        rate_term(name["fraud_rate_28d"], kind),
        FeatureSpec(
            run,
            f"Frauds {kind.preposition} the {kind.title} not explained by amount",
            "count",
            f"Length of the latest run of known frauds {where} whose amounts were ordinary for who paid (at most three "
            "times the mean), each within 7 days of the next; 0 once the last is more than 35 days ago",
            lambda f: sentence(f"{count(f[run], 'fraud')} of ordinary amounts {where}"),
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
            lambda f: sentence(f"{count(f[clean], 'transaction')} {where} since then without a known fraud"),
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
            lambda f: f"{sentence(this)}'s last 24 hours are {times(f[burst])} its usual day",
            one,
        ),
        FeatureSpec(
            others,
            f"Other customers {kind.preposition} the {kind.title}, 30 days",
            "count",
            f"How many other customers were {where} in the last 30 days, at most 20",
            lambda f: sentence(f"{count(f[others], 'other customer')} {where} in 30 days"),
            zero,
        ),
        FeatureSpec(
            known,
            f"Days since the {kind.title} was first met",
            "d",
            f"Days since the first transaction {where}, at most 30",
            lambda f: (
                f"{sentence(this)} was first met {days(f[known])} ago"
                if f[known]
                else f"{sentence(this)} has never been met before"
            ),
        ),
    ]


def rate_term(name: str, kind: Kind) -> FeatureSpec:
    return FeatureSpec(
        name,
        f"Share of known fraud {kind.preposition} the {kind.title}",
        "share",
        f"Frauds that became known in the last 28 days over the transactions of the last 30 {kind.preposition} this "
        f"{kind.title}, with 5 genuine ones added",
        lambda f: f"About {f[name]:.1%} of this {kind.title}'s transactions are known fraud",
        zero,
    )
