"""Arithmetic on the frames of the fraud rates: totals, folding small groups, ranking, pairs. Pure.

A rates frame has the columns of `services.rates.COLUMNS`. Rates are always computed from summed counts, never averaged;
rows that are shown as the service gave them keep its figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from services.domain.dimensions import AMOUNT_BANDS
from services.rates import SMALL_FRAUD, SMALL_TRANSACTIONS

SUMMED = ["transactions", "amount_minor", "alerted", "fraud", "fraud_amount_minor", "matured"]
ALL = "all"
OTHER = "Other"
MAX_SERIES = 5
# A heat table may be wider than a chart has lines: it is read cell by cell.
MAX_ROWS, MAX_COLUMNS = 8, 6
# Below this share of matured labels a bucket is drawn as unfinished: its rate will still rise.
MATURE_AT = 0.9
_Z = 1.959964
_BANDS = tuple(name for _, name in AMOUNT_BANDS)


class Measure(StrEnum):
    VALUE = "value"
    COUNT = "count"

    @property
    def column(self) -> str:
        return f"fraud_bps_{self.value}"

    @property
    def interval(self) -> tuple[str, str]:
        """Columns of the 95 % interval."""
        return f"bps_{self.value}_low", f"bps_{self.value}_high"

    @property
    def numerator(self) -> str:
        return "fraud_amount_minor" if self is Measure.VALUE else "fraud"

    @property
    def denominator(self) -> str:
        return "amount_minor" if self is Measure.VALUE else "transactions"


class Rank(StrEnum):
    """What makes a value one of the few that are drawn by name."""

    FRAUD = "fraud"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a frame; rates are None where nothing was processed."""

    transactions: int
    amount_minor: int
    alerted: int
    fraud: int
    fraud_amount_minor: int
    matured: int

    @property
    def bps_count(self) -> float | None:
        return 10_000 * self.fraud / self.transactions if self.transactions else None

    @property
    def bps_value(self) -> float | None:
        return 10_000 * self.fraud_amount_minor / self.amount_minor if self.amount_minor else None

    @property
    def alert_rate(self) -> float | None:
        return self.alerted / self.transactions if self.transactions else None

    @property
    def matured_share(self) -> float | None:
        return self.matured / self.transactions if self.transactions else None


def totals(frame: pd.DataFrame) -> Totals:
    return Totals(**{name: int(frame[name].sum()) for name in SUMMED})


def with_alert_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds alert_rate, the share of transactions that raised an alert; NaN over nothing."""
    return frame.assign(alert_rate=frame["alerted"] / frame["transactions"].where(frame["transactions"] > 0))


def summed(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row for each of `keys`: sums, rates (NaN over nothing, never 0), Wilson's interval by count, `small`.

    There is no interval by value of a sum: it needs the single amounts, which a rollup does not hold.
    """
    rows = frame.groupby(keys, as_index=False, sort=False)[SUMMED].sum()
    count = rows["transactions"].where(rows["transactions"] > 0)
    rows["fraud_bps_count"] = 10_000 * rows["fraud"] / count
    rows["fraud_bps_value"] = 10_000 * rows["fraud_amount_minor"] / rows["amount_minor"].where(rows["amount_minor"] > 0)
    rows["bps_count_low"], rows["bps_count_high"] = wilson(rows["fraud"], rows["transactions"])
    rows["bps_value_low"] = rows["bps_value_high"] = float("nan")
    rows["small"] = (rows["fraud"] < SMALL_FRAUD) | (rows["transactions"] < SMALL_TRANSACTIONS)
    rows["matured_share"] = rows["matured"] / count
    return rows


def ranked(frame: pd.DataFrame, column: str, measure: Measure, rank: Rank) -> list[str]:
    """Values of a dimension, most fraud (or volume) by `measure` first; ties by volume, then by name.

    Bands of amount keep their order.
    """
    by = measure.numerator if rank is Rank.FRAUD else measure.denominator
    sums = frame.groupby(column)[["fraud", "fraud_amount_minor", "transactions", "amount_minor"]].sum().reset_index()
    weights = {str(row[column]): (-row[by], -row["transactions"]) for row in sums.to_dict("records")}
    if weights and all(name in _BANDS for name in weights):
        return sorted(weights, key=_BANDS.index)
    return sorted(weights, key=lambda name: (*weights[name], name))


@dataclass(frozen=True, slots=True)
class Folded:
    """`names`: what is shown, in order, "Other" last where there is a rest; `rest`: what "Other" stands for."""

    names: tuple[str, ...]
    rest: tuple[str, ...]


def fold(frame: pd.DataFrame, column: str, measure: Measure, rank: Rank, *, limit: int = MAX_SERIES) -> Folded:
    """At most `limit` names in all. A data value that is itself called "Other" joins the rest."""
    names = ranked(frame, column, measure, rank)
    if len(names) <= limit and OTHER not in names:
        return Folded(tuple(names), ())
    kept = [name for name in names if name != OTHER][: limit - 1]
    return Folded((*kept, OTHER), tuple(name for name in names if name not in kept))


def series(frame: pd.DataFrame, folded: Folded) -> pd.DataFrame:
    """Rows by bucket and first: those kept as they came, the rest of each bucket summed as "Other"."""
    if not folded.rest:
        return frame
    rest = frame["first"].isin(folded.rest)
    other = summed(frame[rest], ["bucket"]).assign(first=OTHER, second=ALL)
    return pd.concat([frame[~rest], other], ignore_index=True).sort_values(["bucket", "first"], ignore_index=True)


def cells(frame: pd.DataFrame, first: Folded, second: Folded) -> pd.DataFrame:
    """One row a pair over the whole range, the rest of either dimension summed as "Other"."""
    named = frame.assign(
        first=frame["first"].where(~frame["first"].isin(first.rest), OTHER),
        second=frame["second"].where(~frame["second"].isin(second.rest), OTHER),
    )
    return summed(named, ["first", "second"])


def by_value(frame: pd.DataFrame, keys: list[str], measure: Measure, rank: Rank) -> pd.DataFrame:
    """One row a value (or pair) over the whole range, most fraud or volume first, with its rate by bucket (`trend`)."""
    rows = summed(frame, keys)
    trends = frame.sort_values("bucket").groupby(keys)[measure.column].apply(lambda rates: rates.fillna(0).tolist())
    rows["trend"] = [trends.loc[tuple(key) if len(keys) > 1 else key[0]] for key in rows[keys].itertuples(index=False)]
    rows["share_of_fraud"] = rows[measure.numerator] / max(float(rows[measure.numerator].sum()), 1.0)
    by = measure.numerator if rank is Rank.FRAUD else measure.denominator
    return rows.sort_values([by, "transactions"], ascending=False, kind="stable", ignore_index=True)


def aligned(current: pd.DataFrame, former: pd.DataFrame) -> pd.DataFrame:
    """The former period's rows with `at`, the bucket of `current` in the same place; those without one are dropped."""
    places = dict(enumerate(sorted(current["bucket"].unique())))
    order = {bucket: place for place, bucket in enumerate(sorted(former["bucket"].unique()))}
    at = [places.get(order[bucket]) for bucket in former["bucket"]]
    return former.assign(at=pd.Series(at, index=former.index, dtype=current["bucket"].dtype)).dropna(subset="at")


def wilson(events: pd.Series, trials: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The 95 % interval of events/trials in basis points (Wilson 1927). NaN where there were no trials."""
    n = trials.where(trials > 0).astype(float)
    share = events / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * ((share * (1 - share) / n + _Z**2 / (4 * n**2)) ** 0.5)
    return (centre - half).clip(lower=0) * 10_000, (centre + half) * 10_000
