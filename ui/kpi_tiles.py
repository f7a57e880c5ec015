"""What the KPI tiles say: value, count beneath, change against the former period, formula, caution. Pure.

A change is coloured only when it is larger than chance explains; a figure on few events says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from services.domain.kpi import KpiFigures, ratio
from services.kpis import KpiPeriod
from ui import format as fmt

# Fewer events than this and a rate moves by a fifth or more by chance alone (1/sqrt(30) = 18 %).
FEW_EVENTS = 30
# Periods whose matured shares differ by less are compared as they are.
COMPARABLE = 0.05
_Z = 1.959964
APART = "Several currencies: below, each apart"


class Good(StrEnum):
    """Which direction is good news. NEITHER is never coloured."""

    DOWN = "down"
    UP = "up"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Delta:
    """`text` is signed with its unit; `color` is a Streamlit colour, grey where chance explains the change."""

    text: str
    arrow: str
    color: str
    why: str


@dataclass(frozen=True, slots=True)
class Tile:
    key: str
    label: str
    value: str
    beneath: str
    delta: Delta | None
    formula: str


FORMULAS: dict[str, tuple[str, str]] = {
    "fraud_bps_value": (
        "Fraud by value",
        "10,000 × amount of transactions labelled fraud ÷ amount of all transactions. Gross: stopped fraud counts too.",
    ),
    "fraud_bps_count": ("Fraud by count", "10,000 × transactions labelled fraud ÷ all transactions."),
    "alert_rate": ("Alert rate", "Transactions sent to review or declined ÷ scored transactions."),
    "precision": (
        "Precision",
        "Alerts labelled fraud ÷ alerts labelled fraud or genuine. Undecided alerts are left out.",
    ),
    "prevented_loss": (
        "Prevented loss",
        "Amount of declined transactions labelled fraud, plus reviewed ones that an analyst labelled fraud.",
    ),
    "volume": ("Volume", "Amount of all transactions of the period, approved or not."),
}
BASIS = (
    "A transaction belongs to the period of its event time (UTC). Labels are those known now, so recent fraud is a "
    "lower bound; a label counts as matured when the transaction is labelled or older than 90 days. Today runs from "
    "midnight UTC and is compared with the same hours of yesterday; the last 30 days with the 30 days before. A change "
    "is coloured only when it is beyond what chance explains (two-proportion test, 95 %), a fall of fraud only when "
    "the labels are as complete as those of the former period."
)


def tiles(period: KpiPeriod) -> tuple[Tile, ...]:
    now, before = period.current, period.former
    return (_by_value(now, before), _by_count(now, before), _alert_rate(now, before), _precision(now, before),
            _prevented(now, before), _volume(now, before))  # fmt: skip


def beyond_chance(events: int, trials: int, former_events: int, former_trials: int) -> bool:
    """Two-proportion z-test at 95 %, pooled. False where a period is empty or nothing happened in either."""
    if not trials or not former_trials:
        return False
    pooled = (events + former_events) / (trials + former_trials)
    spread = (pooled * (1 - pooled) * (1 / trials + 1 / former_trials)) ** 0.5
    return spread > 0 and abs(events / trials - former_events / former_trials) / spread > _Z


def delta(
    change: float | None, *, unit: str, good: Good, certain: bool, digits: int = 1, immature: str | None = None
) -> Delta | None:
    """None where there is nothing to compare with. `certain` says whether the change may carry a colour.

    `immature` says why a fall cannot be believed yet: a fall is then never coloured, a rise may be.
    """
    if change is None:
        return None
    text = fmt.signed(change, digits=digits, unit=unit)
    if text.startswith("±"):
        return Delta(text, "off", "gray", "No change at this precision.")
    arrow = "up" if change > 0 else "down"
    if good is Good.NEITHER:
        return Delta(text, arrow, "gray", "Neither direction is good or bad in itself.")
    if immature and change < 0:
        return Delta(text, arrow, "gray", immature)
    if not certain:
        return Delta(text, arrow, "gray", "This change is within what chance explains.")
    return Delta(text, arrow, "green" if arrow == good.value else "red", "This change is beyond what chance explains.")


def _difference(now: float | None, before: float | None, scale: float = 1.0) -> float | None:
    return None if now is None or before is None else (now - before) * scale


def _relative(now: int, before: int) -> float | None:
    return (now - before) / before * 100 if before else None


def caution(period: KpiPeriod) -> str | None:
    """Which rates of the period rest on few events; None when none does."""
    few = [
        f"{count:,} {what}"
        for count, what in ((period.current.fraud, "frauds"), (period.current.decided, "decided alerts"))
        if 0 < count < FEW_EVENTS
    ]
    return f"Only {' and '.join(few)} so far: rates built on them move much by chance." if few else None


def _tile(key: str, value: str, beneath: str, change: Delta | None) -> Tile:
    name, formula = FORMULAS[key]
    return Tile(key, name, value, beneath, change, formula)


def _by_value(now: KpiFigures, before: KpiFigures) -> Tile:
    certain = min(now.fraud, before.fraud) >= FEW_EVENTS and _fraud_moved(now, before)
    change = delta(
        _difference(now.fraud_bps_value, before.fraud_bps_value),
        unit="bps",
        good=Good.DOWN,
        certain=certain,
        immature=less_mature(now, before),
    )
    if len(now.by_currency) > 1:
        return _tile("fraud_bps_value", fmt.MISSING, APART, None)
    beneath = f"{_money(now, now.fraud_amount_minor)} of {_money(now, now.amount_minor)}"
    return _tile("fraud_bps_value", fmt.bps(now.fraud_bps_value), beneath, change)


def _money(now: KpiFigures, minor: int) -> str:
    """In the one currency of the period's payments."""
    one = now.by_currency[0] if now.by_currency else None
    return fmt.money_short(minor, one.currency, one.exponent) if one else fmt.money_short(minor)


def _comparable(now: KpiFigures, before: KpiFigures) -> bool:
    """Amounts of both periods are in the same one currency."""
    return len({one.currency for one in (*now.by_currency, *before.by_currency)}) < 2


def by_currency(now: KpiFigures) -> pd.DataFrame:
    """The amounts of each currency; rates are of its own payments only."""
    rows = [
        {
            "Currency": one.currency,
            "Transactions": one.transactions,
            "Volume": fmt.money_short(one.amount_minor, one.currency, one.exponent),
            "Fraud": fmt.money_short(one.fraud_amount_minor, one.currency, one.exponent),
            "Fraud by value (bps)": ratio(one.fraud_amount_minor, one.amount_minor, 10_000),
            "Prevented loss": fmt.money_short(one.prevented_loss_minor, one.currency, one.exponent),
        }
        for one in now.by_currency
    ]
    return pd.DataFrame(rows)


def less_mature(now: KpiFigures, before: KpiFigures) -> str | None:
    """Why a fall of fraud between the periods is no news yet; None where labels are about as complete in both."""
    a, b = now.matured_share, before.matured_share
    if a is None or b is None or b - a < COMPARABLE:
        return None
    return (
        f"Not judged: {fmt.percent(a, 0)} of these labels have matured against {fmt.percent(b, 0)} then, so part of "
        "the fall is fraud that is not reported yet."
    )


def _fraud_moved(now: KpiFigures, before: KpiFigures) -> bool:
    return beyond_chance(now.fraud, now.transactions, before.fraud, before.transactions)


def _by_count(now: KpiFigures, before: KpiFigures) -> Tile:
    change = delta(
        _difference(now.fraud_bps_count, before.fraud_bps_count),
        unit="bps",
        good=Good.DOWN,
        certain=_fraud_moved(now, before),
        immature=less_mature(now, before),
    )
    beneath = f"{fmt.count(now.fraud)} of {fmt.count(now.transactions)}"
    return _tile("fraud_bps_count", fmt.bps(now.fraud_bps_count), beneath, change)


def _alert_rate(now: KpiFigures, before: KpiFigures) -> Tile:
    change = delta(
        _difference(now.alert_rate, before.alert_rate, 100), unit="pp", good=Good.NEITHER, certain=False, digits=2
    )
    beneath = f"{fmt.count(now.alerts)} of {fmt.count(now.scored)}"
    return _tile("alert_rate", fmt.percent(now.alert_rate, 2), beneath, change)


def _precision(now: KpiFigures, before: KpiFigures) -> Tile:
    certain = beyond_chance(now.confirmed, now.decided, before.confirmed, before.decided)
    change = delta(_difference(now.precision, before.precision, 100), unit="pp", good=Good.UP, certain=certain)
    beneath = f"{fmt.count(now.confirmed)} of {fmt.count(now.decided)}" if now.decided else "No alert decided yet"
    return _tile("precision", fmt.percent(now.precision), beneath, change)


def _prevented(now: KpiFigures, before: KpiFigures) -> Tile:
    if len(now.by_currency) > 1:
        return _tile("prevented_loss", fmt.MISSING, APART, None)
    moved = _relative(now.prevented_loss_minor, before.prevented_loss_minor) if _comparable(now, before) else None
    change = delta(moved, unit="%", good=Good.NEITHER, certain=False)
    lost = now.fraud_amount_minor
    share = fmt.percent(now.prevented_loss_minor / lost, 0) if lost else None
    beneath = f"{share} of fraud value" if share else "No fraud labelled yet"
    return _tile("prevented_loss", _money(now, now.prevented_loss_minor), beneath, change)


def _volume(now: KpiFigures, before: KpiFigures) -> Tile:
    if len(now.by_currency) > 1:
        return _tile("volume", fmt.MISSING, APART, None)
    moved = _relative(now.amount_minor, before.amount_minor) if _comparable(now, before) else None
    change = delta(moved, unit="%", good=Good.NEITHER, certain=False)
    return _tile("volume", _money(now, now.amount_minor), f"{fmt.count(now.transactions)} transactions", change)


def maturity_sentence(share: float | None) -> str | None:
    """How finished the labels of the last 30 days are; None when there are no transactions or all have matured."""
    if share is None or share >= 0.995:
        return None
    percent = fmt.percent(share, 0 if share >= 0.01 else 1)
    return f"{percent} of the labels of the last 30 days have matured; fraud rates will still rise as the rest arrives."
