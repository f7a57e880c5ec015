"""The windows of a plan in pandas, as one would write them: groupby and rolling, one column after the other.

Every column is one that `services.features` computes too, by the same definition, so that the numbers can be
compared; what the plan computes beyond these is not asked of pandas. Frauds count once their labels are known
(`delay_days` after the transaction), by the subtraction of two rolling sums that the Fraud Detection Handbook uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_SPANS = {"10m": "10min", "1h": "1h", "24h": "24h", "7d": "7D"}
_CAP = 20.0


def frame(columns: dict[str, Any], fraud: Any) -> pd.DataFrame:
    """Rows as given, which is in order of time."""
    return pd.DataFrame(
        {
            "time": pd.to_datetime(columns["event_ms"], unit="ms"),
            "amount": columns["amount_minor"].astype(np.float64),
            "customer": columns["entity.customer"].to_numpy(zero_copy_only=False),
            "terminal": columns["entity.terminal"].to_numpy(zero_copy_only=False),
            "fraud": fraud.astype(np.float64),
        }
    )


def features(rows: pd.DataFrame, *, delay_days: int) -> dict[str, Any]:
    """name -> column, in the order of the rows."""
    out: dict[str, Any] = {"amount_minor": rows["amount"].to_numpy()}
    out |= _customer(rows)
    out |= _terminal(rows, delay_days)
    return out


def group_by_group(rows: pd.DataFrame, *, delay_days: int) -> dict[str, Any]:
    """The Handbook's twelve columns the way it makes them: each customer and terminal by itself, then its windows."""
    out = {name: np.empty(len(rows)) for name in _names()}
    indexed = rows.set_index("time")
    for places in rows.groupby("customer").indices.values():
        amounts = indexed["amount"].iloc[places]
        for days in (1, 7, 30):
            window = amounts.rolling(f"{days}D")
            count, total = window.count(), window.sum()
            out[f"customer_count_{days}d"][places] = count
            out[f"customer_mean_{days}d"][places] = total / count
    for places in rows.groupby("terminal").indices.values():
        frauds = indexed["fraud"].iloc[places]
        unknown, young = frauds.rolling(f"{delay_days}D").sum(), frauds.rolling(f"{delay_days}D").count()
        for days in (1, 7, 30):
            window = frauds.rolling(f"{delay_days + days}D")
            count = window.count() - young
            out[f"terminal_count_{days}d"][places] = count
            out[f"terminal_risk_{days}d"][places] = ((window.sum() - unknown) / count).fillna(0)
    return out


def _names() -> list[str]:
    of = ("customer_count", "customer_mean", "terminal_count", "terminal_risk")
    return [f"{name}_{days}d" for name in of for days in (1, 7, 30)]


def _back(series: Any, place: Any) -> Any:
    """What a grouped computation gave, in the order of the rows; `place` are the rows in its order."""
    out = np.empty(len(place))
    out[place] = series.to_numpy()
    return out


def _customer(rows: pd.DataFrame) -> dict[str, Any]:
    by_time = rows.set_index("time").groupby("customer", sort=True)["amount"]
    by_row = rows.groupby("customer", sort=True)
    place = np.concatenate(list(by_row.indices.values()))
    amount = rows["amount"].to_numpy()
    out: dict[str, Any] = {}
    for name, span in _SPANS.items():
        out[f"customer_count_{name}"] = np.minimum(_back(by_time.rolling(span, closed="both").count(), place) - 1, _CAP)
    spent = _back(by_time.rolling("24h", closed="both").sum(), place)
    # Of the transactions before: shifted by one within the customer.
    former = by_row["amount"].shift(1)
    earlier = rows.assign(former=former).groupby("customer", sort=True)["former"]
    mean = _back(earlier.rolling(256, min_periods=1).mean(), place)
    deviation = _back(earlier.rolling(256, min_periods=3).std(ddof=0), place)
    middle = _back(earlier.rolling(32, min_periods=1).quantile(0.5, interpolation="higher"), place)
    largest = _back(by_time.rolling("30D", closed="left").max(), place)
    lately = _back(by_time.rolling("14D", closed="left").max(), place)
    first = by_row["time"].transform("min")
    hour = (rows["time"].dt.hour // 3).rename("band")
    in_band = rows.groupby([rows["customer"], hour]).cumcount()
    before = by_row.cumcount()
    month = _back(by_time.rolling("30D", closed="both").count(), place) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        return out | {
            "customer_hour_share": np.where(before >= 10, in_band / before, np.nan),
            "customer_burst_24h": (out["customer_count_24h"] * 30 / np.maximum(month, 1)),
            "customer_spend_24h_ratio": spent / mean,
            "customer_mean_minor": mean,
            "amount_to_mean": amount / mean,
            "amount_to_median": amount / middle,
            "amount_zscore": ((amount - mean) / deviation).clip(-50, 50),
            "amount_to_max_30d": amount / largest,
            "customer_max_ratio_14d": lately / mean,
            "seconds_since_previous": by_row["time"].diff().dt.total_seconds().clip(upper=604_800).to_numpy(),
            "customer_tenure_days": ((rows["time"] - first).dt.total_seconds() / 86_400).clip(upper=30).to_numpy(),
            "terminal_new": (rows.groupby(["customer", "terminal"]).cumcount() == 0).astype(float).to_numpy(),
        }


def _terminal(rows: pd.DataFrame, delay_days: int) -> dict[str, Any]:
    indexed = rows.set_index("time")
    by_time = indexed.groupby("terminal", sort=True)
    place = np.concatenate(list(rows.groupby("terminal", sort=True).indices.values()))
    out: dict[str, Any] = {}
    unknown = _back(by_time["fraud"].rolling(f"{delay_days}D").sum(), place)
    for days in (1, 7, 28):
        known = _back(by_time["fraud"].rolling(f"{delay_days + days}D", closed="both").sum(), place) - unknown
        out[f"terminal_frauds_{days}d"] = np.minimum(known, _CAP)
    count = _back(by_time["amount"].rolling("30D", closed="both").count(), place) - 1
    mean = (_back(by_time["amount"].rolling("30D", closed="both").sum(), place) - rows["amount"]) / count
    today = _back(by_time["amount"].rolling("24h", closed="both").count(), place) - 1
    first = rows.groupby("terminal")["time"].transform("min")
    return out | {
        "terminal_fraud_rate_28d": out["terminal_frauds_28d"] / (count + 5),
        "amount_to_terminal_mean": (rows["amount"] / mean).to_numpy(),
        "terminal_burst_24h": today * 30 / np.maximum(count, 1),
        "terminal_age_days": ((rows["time"] - first).dt.total_seconds() / 86_400).clip(upper=30).to_numpy(),
    }
