"""Arithmetic on the frames of the fraud rates: totals, folding small groups, maturity, intervals. Pure.

A rates frame has the columns bucket, value, transactions, amount_minor, alerted, fraud, fraud_amount_minor,
fraud_bps_count, fraud_bps_value, matured_share. Rates are always computed from summed counts, never averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

import pandas as pd

from services.lake_schema import AMOUNT_BANDS
from services.rates import Bucket

SUMMED = ["transactions", "amount_minor", "alerted", "fraud", "fraud_amount_minor", "matured"]
OTHER = "Other"
UNKNOWN = "Unknown"
ALL = "all"
MAX_SERIES = 5
# Below this share of matured labels a bucket is drawn as unfinished: its rate will still rise.
MATURE_AT = 0.9
# Fewer frauds than this and the rate moves by a third or more by chance alone (1/sqrt(10)).
SMALL_FRAUDS = 10
_Z = 1.959964
_BANDS = tuple(name for _, name in AMOUNT_BANDS)


class Measure(StrEnum):
    VALUE = "value"
    COUNT = "count"

    @property
    def column(self) -> str:
        return f"fraud_bps_{self.value}"

    @property
    def numerator(self) -> str:
        return "fraud_amount_minor" if self is Measure.VALUE else "fraud"


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a frame; rates are None where nothing was processed."""

    transactions: int
    amount_minor: int
    alerted: int
    fraud: int
    fraud_amount_minor: int
    matured_share: float | None

    @property
    def bps_count(self) -> float | None:
        return 10_000 * self.fraud / self.transactions if self.transactions else None

    @property
    def bps_value(self) -> float | None:
        return 10_000 * self.fraud_amount_minor / self.amount_minor if self.amount_minor else None

    @property
    def alert_rate(self) -> float | None:
        return self.alerted / self.transactions if self.transactions else None

    def bps(self, measure: Measure) -> float | None:
        return self.bps_value if measure is Measure.VALUE else self.bps_count


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with "Unknown" where the lake has no value of the dimension."""
    return frame.assign(value=frame["value"].fillna(UNKNOWN)) if frame["value"].isna().any() else frame


def totals(frame: pd.DataFrame) -> Totals:
    transactions = int(frame["transactions"].sum())
    matured = float((frame["matured_share"].fillna(0) * frame["transactions"]).sum())
    return Totals(
        transactions=transactions,
        amount_minor=int(frame["amount_minor"].sum()),
        alerted=int(frame["alerted"].sum()),
        fraud=int(frame["fraud"].sum()),
        fraud_amount_minor=int(frame["fraud_amount_minor"].sum()),
        matured_share=matured / transactions if transactions else None,
    )


def with_rates(sums: pd.DataFrame) -> pd.DataFrame:
    """Adds both rates, alert_rate and matured_share to summed columns; a rate over nothing is NaN, never 0."""
    frame = sums.copy()
    count = frame["transactions"].where(frame["transactions"] > 0)
    amount = frame["amount_minor"].where(frame["amount_minor"] > 0)
    frame["fraud_bps_count"] = 10_000 * frame["fraud"] / count
    frame["fraud_bps_value"] = 10_000 * frame["fraud_amount_minor"] / amount
    frame["alert_rate"] = frame["alerted"] / count
    frame["matured_share"] = frame["matured"] / count
    return frame.drop(columns="matured")


def with_alert_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds alert_rate, the share of transactions that raised an alert; NaN over nothing."""
    return frame.assign(alert_rate=frame["alerted"] / frame["transactions"].where(frame["transactions"] > 0))


def _summed(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    weighed = frame.assign(matured=frame["matured_share"].fillna(0) * frame["transactions"])
    return with_rates(weighed.groupby(keys, as_index=False, sort=False)[SUMMED].sum())


def ranked(frame: pd.DataFrame, measure: Measure) -> list[str]:
    """Values of the dimension, most fraud by `measure` first; ties by volume, then by name. Bands keep their order."""
    sums = frame.groupby("value")[[measure.numerator, "transactions"]].sum().reset_index()
    weights = {str(row["value"]): (-row[measure.numerator], -row["transactions"]) for row in sums.to_dict("records")}
    if weights and all(name in _BANDS for name in weights):
        return sorted(weights, key=_BANDS.index)
    return sorted(weights, key=lambda name: (*weights[name], name))


def folded(frame: pd.DataFrame, measure: Measure, *, limit: int = MAX_SERIES) -> tuple[pd.DataFrame, list[str]]:
    """At most `limit` values and, where there are more, the rest summed as "Other". Second: the values in order."""
    names = ranked(frame, measure)
    if len(names) <= limit:
        return _summed(frame, ["bucket", "value"]), names
    kept = names[:limit]
    value = frame["value"].astype(str)
    return _summed(frame.assign(value=value.where(value.isin(kept), OTHER)), ["bucket", "value"]), [*kept, OTHER]


def by_value(frame: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """One row a value over the whole range, with its rate by bucket as a list (`trend`), ranked."""
    sums = _summed(frame, ["value"]).set_index("value")
    order = ranked(frame, measure)
    trends = frame.sort_values("bucket").groupby("value")[measure.column].apply(lambda rates: rates.fillna(0).tolist())
    sums["trend"] = trends
    share = sums[measure.numerator] / max(float(sums[measure.numerator].sum()), 1.0)
    return sums.assign(share_of_fraud=share).loc[order].reset_index()


def by_bucket(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a bucket over all values, newest first."""
    return _summed(frame, ["bucket"]).sort_values("bucket", ascending=False, ignore_index=True)


def wilson(events: pd.Series, trials: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The 95 % interval of events/trials in basis points (Wilson 1927). NaN where there were no trials."""
    n = trials.where(trials > 0).astype(float)
    share = events / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * ((share * (1 - share) / n + _Z**2 / (4 * n**2)) ** 0.5)
    return (centre - half).clip(lower=0) * 10_000, (centre + half) * 10_000


@dataclass(frozen=True, slots=True)
class Range:
    """Both days inclusive, UTC."""

    start: date
    end: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1


def last_days(days: int, *, today: date) -> Range:
    """The last `days` days, today included."""
    return Range(today - timedelta(days=days - 1), today)


def usual_bucket(days: int) -> Bucket:
    """The bucket that gives a readable number of points: days up to a month, weeks up to half a year, then months."""
    return "day" if days <= 31 else "week" if days <= 200 else "month"
