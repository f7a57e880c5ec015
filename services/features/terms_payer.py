"""What the features of a payer are called, made of, and how they read; see `terms`."""

from __future__ import annotations

from services.features.history import SUFFIXES as HISTORY
from services.features.plan import Kind, feature_name
from services.features.wording import (
    FeatureSpec,
    above,
    compared,
    days,
    duration,
    frauds,
    frequency,
    one,
    sentence,
    times,
    zero,
)

_SPANS = {"10m": "10 minutes", "1h": "an hour", "24h": "24 hours", "7d": "7 days"}


def payer_terms(kind: Kind, *, first: bool) -> list[FeatureSpec]:
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
            f"{sentence(whose)} usual amount",
            "minor",
            f"The mean of the last 193 to 256 amounts of {who}, in minor units",
            lambda f: f"{sentence(who)} usually spends {f.money(f[mean])}",
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
            lambda f: f"{sentence(who)} has been known for {days(f[name['tenure_days']])}",
        ),
        FeatureSpec(
            name["frauds_28d"],
            f"{sentence(whose)} known frauds, 28 days",
            "count",
            f"Frauds of {who} that became known in the last 28 days, at most 20",
            frauds(name["frauds_28d"], f"of {who}", "28 days"),
            zero,
        ),
    ]
