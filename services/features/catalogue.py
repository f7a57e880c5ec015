"""What each feature is called, what it is measured in, and how it reads to an analyst."""

from __future__ import annotations

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
    times,
    zero,
)

# Raise it whenever a feature is added, removed, reordered or computed differently: models name the one they need.
FEATURES_VERSION = "1"

FEATURES: tuple[FeatureSpec, ...] = (
    FeatureSpec(
        "amount_minor",
        "Amount",
        "minor",
        amount,
        lambda f: f["customer_mean_minor"],
    ),
    FeatureSpec(
        "customer_hour_share",
        "Habit of this time of day",
        "share",
        lambda f: f"{f['customer_hour_share']:.0%} of this customer's transactions are at this time of day",
        lambda f: 0.125,
    ),
    FeatureSpec(
        "customer_count_10m",
        "Transactions in 10 minutes",
        "count",
        frequency("customer_count_10m", "the last 10 minutes"),
    ),
    FeatureSpec(
        "customer_count_1h", "Transactions in an hour", "count", frequency("customer_count_1h", "the last hour")
    ),
    FeatureSpec(
        "customer_count_24h", "Transactions in 24 hours", "count", frequency("customer_count_24h", "the last 24 hours")
    ),
    FeatureSpec(
        "customer_count_7d", "Transactions in 7 days", "count", frequency("customer_count_7d", "the last 7 days")
    ),
    FeatureSpec(
        "customer_burst_24h",
        "24 hours against the customer's usual day",
        "ratio",
        lambda f: f"Transactions in the last 24 hours are {times(f['customer_burst_24h'])} this customer's usual day",
        one,
    ),
    FeatureSpec(
        "customer_spend_24h_ratio",
        "Spent in 24 hours, in usual purchases",
        "ratio",
        lambda f: (
            f"With this, {f.money(f['customer_spend_24h_ratio'] * f['customer_mean_minor'])} in 24 hours, "
            f"{times(f['customer_spend_24h_ratio'])} this customer's usual purchase"
        ),
        one,
    ),
    FeatureSpec(
        "customer_mean_minor",
        "The customer's usual amount",
        "minor",
        lambda f: f"This customer usually spends {f.money(f['customer_mean_minor'])}",
    ),
    FeatureSpec(
        "amount_to_mean",
        "Amount against the customer's usual",
        "ratio",
        compared("amount_to_mean", "this customer's usual"),
        one,
    ),
    FeatureSpec(
        "amount_to_median",
        "Amount against the customer's middle one",
        "ratio",
        compared("amount_to_median", "this customer's middle amount of late,"),
        one,
    ),
    FeatureSpec("amount_zscore", "Amount in the customer's standard deviations", "sd", above, zero),
    FeatureSpec(
        "amount_to_max_30d",
        "Amount against the customer's largest in 30 days",
        "ratio",
        compared("amount_to_max_30d", "this customer's largest in 30 days,"),
        one,
    ),
    FeatureSpec(
        "customer_max_ratio_14d",
        "Largest in 14 days against the usual",
        "ratio",
        lambda f: f"Lately (14 days) this customer spent up to {times(f['customer_max_ratio_14d'])} the usual amount",
        one,
    ),
    FeatureSpec(
        "seconds_since_previous",
        "Time since the customer's previous transaction",
        "s",
        lambda f: (
            "More than 7 days since this customer's previous transaction"
            if f["seconds_since_previous"] >= 604_800
            else f"{duration(f['seconds_since_previous'])} after this customer's previous transaction"
        ),
    ),
    FeatureSpec(
        "customer_tenure_days",
        "Days since the customer's first transaction",
        "d",
        lambda f: f"This customer has been known for {days(f['customer_tenure_days'])}",
    ),
    FeatureSpec(
        "customer_frauds_28d",
        "The customer's known frauds, 28 days",
        "count",
        frauds("customer_frauds_28d", "of this customer", "28 days"),
        zero,
    ),
    FeatureSpec(
        "merchant_new",
        "First time at the merchant",
        "flag",
        flag("merchant_new", "First time at this merchant", "The customer has been at this merchant before"),
        zero,
    ),
    FeatureSpec(
        "country_new",
        "First time in the country",
        "flag",
        flag("country_new", "First time in this country", "The customer has bought in this country before"),
        zero,
    ),
    FeatureSpec(
        "category_new",
        "First time in the category",
        "flag",
        flag("category_new", "First purchase in this category", "The customer has bought in this category before"),
        zero,
    ),
    FeatureSpec(
        "device_new",
        "First time on the device",
        "flag",
        flag("device_new", "First time this customer uses this device", "The customer has used this device before"),
        zero,
    ),
    FeatureSpec(
        "home_distance_km",
        "Distance from home",
        "km",
        lambda f: f"{f['home_distance_km']:,.0f} km from the customer's home",
    ),
    FeatureSpec(
        "travel_kmh",
        "Speed since the card was last present",
        "km/h",
        lambda f: f"Travelling from the last place the card was present would take {f['travel_kmh']:,.0f} km/h",
    ),
    FeatureSpec(
        "foreign",
        "Outside the home country",
        "flag",
        flag("foreign", "Outside the customer's home country", "In the customer's home country"),
        zero,
    ),
    FeatureSpec(
        "device_other_customers_30d",
        "Other customers on the device, 30 days",
        "count",
        lambda f: f"{count(f['device_other_customers_30d'], 'other customer')} on this device in 30 days".capitalize(),
        zero,
    ),
    FeatureSpec(
        "device_age_days",
        "Days since the device was first used",
        "d",
        lambda f: (
            f"This device was first used {days(f['device_age_days'])} ago"
            if f["device_age_days"]
            else "This device has never been used before"
        ),
    ),
    FeatureSpec(
        "device_frauds_28d",
        "Known frauds on the device, 28 days",
        "count",
        frauds("device_frauds_28d", "on this device", "28 days"),
        zero,
    ),
    FeatureSpec(
        "terminal_frauds_1d",
        "Known frauds at the terminal, 1 day",
        "count",
        frauds("terminal_frauds_1d", "at this terminal", "day"),
        zero,
    ),
    FeatureSpec(
        "terminal_frauds_7d",
        "Known frauds at the terminal, 7 days",
        "count",
        frauds("terminal_frauds_7d", "at this terminal", "7 days"),
        zero,
    ),
    FeatureSpec(
        "terminal_frauds_28d",
        "Known frauds at the terminal, 28 days",
        "count",
        frauds("terminal_frauds_28d", "at this terminal", "28 days"),
        zero,
    ),
    FeatureSpec(
        "terminal_fraud_rate_28d",
        "Share of known fraud at the terminal",
        "share",
        lambda f: f"About {f['terminal_fraud_rate_28d']:.1%} of this terminal's transactions are known fraud",
        zero,
    ),
    FeatureSpec(
        "terminal_unexplained_run",
        "Frauds at the terminal not explained by amount",
        "count",
        lambda f: f"{count(f['terminal_unexplained_run'], 'fraud')} of ordinary amounts at this terminal".capitalize(),
        zero,
    ),
    FeatureSpec(
        "terminal_run_age_days",
        "Days since frauds at the terminal began",
        "d",
        lambda f: f"Frauds of ordinary amounts at this terminal began {days(f['terminal_run_age_days'])} ago",
    ),
    FeatureSpec(
        "merchant_frauds_7d",
        "Known frauds at the merchant, 7 days",
        "count",
        frauds("merchant_frauds_7d", "at this merchant", "7 days"),
        zero,
    ),
    FeatureSpec(
        "merchant_fraud_rate_28d",
        "Share of known fraud at the merchant",
        "share",
        lambda f: f"About {f['merchant_fraud_rate_28d']:.1%} of this merchant's transactions are known fraud",
        zero,
    ),
    FeatureSpec(
        "amount_to_merchant_mean",
        "Amount against the merchant's usual",
        "ratio",
        compared("amount_to_merchant_mean", "this merchant's usual"),
        one,
    ),
    FeatureSpec(
        "merchant_burst_24h",
        "24 hours against the merchant's usual day",
        "ratio",
        lambda f: f"This merchant's last 24 hours are {times(f['merchant_burst_24h'])} its usual day",
        one,
    ),
    FeatureSpec("ecom", "Bought online", "flag", flag("ecom", "Bought online", "Not bought online")),
    FeatureSpec("atm", "Cash machine", "flag", flag("atm", "At a cash machine", "Not at a cash machine")),
    FeatureSpec(
        "weak_entry",
        "Card keyed or swiped",
        "flag",
        flag(
            "weak_entry", "The card was keyed in or swiped", "The card was read by chip or contactless, or is on file"
        ),
        zero,
    ),
)
