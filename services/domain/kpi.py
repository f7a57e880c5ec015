"""The managers' figures from plain counts. Pure; the formulas are the ones the screen states.

Fraud is what is labelled fraud as known now; labels arrive weeks late, so every recent figure is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sum:
    """What payments of one currency add up to, in its minor units. Amounts of different currencies are never added."""

    currency: str
    exponent: int
    amount_minor: int
    payments: int


@dataclass(frozen=True, slots=True)
class CurrencySums:
    """The amounts of KpiCounts of the payments in one currency."""

    currency: str
    exponent: int
    transactions: int
    amount_minor: int
    fraud_amount_minor: int
    prevented_loss_minor: int


@dataclass(frozen=True, slots=True)
class KpiCounts:
    """Sums over the transactions whose event time lies in a period [start, end). Money is minor units.

    scored: with a score; alerts: decision review or decline; decided: alerts labelled fraud or genuine;
    confirmed: alerts labelled fraud; prevented: declined and labelled fraud, or reviewed and labelled fraud by an
    analyst.
    matured: labelled, or older than 90 days. by_currency: the amounts apart, that of most payments first; with more
    than one the amounts here are mixtures that mean nothing.
    """

    transactions: int = 0
    amount_minor: int = 0
    scored: int = 0
    alerts: int = 0
    fraud: int = 0
    fraud_amount_minor: int = 0
    decided: int = 0
    confirmed: int = 0
    prevented_loss_minor: int = 0
    matured: int = 0
    by_currency: tuple[CurrencySums, ...] = ()


@dataclass(frozen=True, slots=True)
class KpiFigures:
    """A ratio without a denominator is None: unknown, never zero.

    fraud_bps_count = 10,000 x fraud / transactions
    fraud_bps_value = 10,000 x fraud amount / processed amount (gross: prevented fraud is included); None where there
                      are several currencies
    alert_rate      = alerts / scored transactions
    precision       = confirmed / decided
    """

    transactions: int
    amount_minor: int
    scored: int
    alerts: int
    fraud: int
    fraud_amount_minor: int
    decided: int
    confirmed: int
    prevented_loss_minor: int
    fraud_bps_count: float | None
    fraud_bps_value: float | None
    alert_rate: float | None
    precision: float | None
    matured_share: float | None
    by_currency: tuple[CurrencySums, ...] = ()


def ratio(part: float, whole: float, scale: float = 1.0) -> float | None:
    return scale * part / whole if whole else None


def figures(counts: KpiCounts) -> KpiFigures:
    return KpiFigures(
        transactions=counts.transactions,
        amount_minor=counts.amount_minor,
        scored=counts.scored,
        alerts=counts.alerts,
        fraud=counts.fraud,
        fraud_amount_minor=counts.fraud_amount_minor,
        decided=counts.decided,
        confirmed=counts.confirmed,
        prevented_loss_minor=counts.prevented_loss_minor,
        fraud_bps_count=ratio(counts.fraud, counts.transactions, 10_000),
        fraud_bps_value=None
        if len(counts.by_currency) > 1
        else ratio(counts.fraud_amount_minor, counts.amount_minor, 10_000),
        alert_rate=ratio(counts.alerts, counts.scored),
        precision=ratio(counts.confirmed, counts.decided),
        matured_share=ratio(counts.matured, counts.transactions),
        by_currency=counts.by_currency,
    )
