"""The answer of the fraud rates in one line: both rates with their counts, alerts, how finished the labels are.

With a former period each figure carries its signed change and names that period. A change is coloured only when it is
beyond what chance explains, and a fall only when the labels are as complete as they were then.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from ui import format as fmt
from ui.kpi_tiles import COMPARABLE, FEW_EVENTS, Delta, Good, beyond_chance, delta
from ui.rates_frames import Totals


@dataclass(frozen=True, slots=True)
class Former:
    """`words` name the period: '24 Jan to 22 Jun 2026'."""

    totals: Totals
    words: str


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    value: str
    beneath: str
    change: Delta | None
    help: str


MATURED = (
    "Share of transactions whose label is complete: labelled, or older than 90 days. Fraud is reported late, so below "
    "100 % the fraud rate will still rise."
)
_FORMULAS = {
    "value": "10,000 × amount of transactions labelled fraud ÷ amount of all transactions.",
    "count": "10,000 × transactions labelled fraud ÷ all transactions.",
    "alerts": "Transactions that were sent to review or declined ÷ all transactions.",
}


def figures(now: Totals, former: Former | None, words: str) -> tuple[Figure, ...]:
    """`words` name the range itself."""
    then = former.totals if former else None
    return (
        Figure("Fraud by value", fmt.MISSING, "Several currencies: no total", None, _FORMULAS["value"])
        if fmt.several()
        else Figure(
            "Fraud by value", fmt.bps(now.bps_value),
            f"{fmt.money_short(now.fraud_amount_minor)} of {fmt.money_short(now.amount_minor)}",
            _bps_change(now.bps_value, then.bps_value if then else None, now, then), _FORMULAS["value"],
        ),
        Figure(
            "Fraud by count", fmt.bps(now.bps_count),
            f"{fmt.count(now.fraud)} of {fmt.count(now.transactions)} transactions",
            _bps_change(now.bps_count, then.bps_count if then else None, now, then), _FORMULAS["count"],
        ),
        Figure(
            "Alert rate", fmt.percent(now.alert_rate, 2), f"{fmt.count(now.alerted)} alerts",
            _points(now.alert_rate, then.alert_rate if then else None, digits=2), _FORMULAS["alerts"],
        ),
        Figure(
            "Labels matured", fmt.percent(now.matured_share, 0), words,
            _points(now.matured_share, then.matured_share if then else None, digits=0), MATURED,
        ),
    )  # fmt: skip


def _bps_change(rate: float | None, before: float | None, now: Totals, then: Totals | None) -> Delta | None:
    if rate is None or before is None or then is None:
        return None
    moved = beyond_chance(now.fraud, now.transactions, then.fraud, then.transactions)
    certain = moved and min(now.fraud, then.fraud) >= FEW_EVENTS
    return delta(rate - before, unit="bps", good=Good.DOWN, certain=certain, immature=_less_mature(now, then))


def _less_mature(now: Totals, then: Totals) -> str | None:
    """Why a fall of fraud between the periods is no news yet; None where labels are about as complete in both."""
    a, b = now.matured_share, then.matured_share
    if a is None or b is None or b - a < COMPARABLE:
        return None
    return (
        f"Not judged: {fmt.percent(a, 0)} of these labels have matured against {fmt.percent(b, 0)} then, so part of "
        "the fall is fraud that is not reported yet."
    )


def _points(share: float | None, before: float | None, *, digits: int) -> Delta | None:
    change = None if share is None or before is None else (share - before) * 100
    return delta(change, unit="pp", good=Good.NEITHER, certain=False, digits=digits)


def draw(now: Totals, former: Former | None, words: str) -> None:
    for column, figure in zip(st.columns(4, gap="small"), figures(now, former, words), strict=True):
        with column.container(gap=None):
            change, against = figure.change, f"Compared with {former.words}." if former else ""
            why = change.why if change else "Nothing to compare with there." if former else ""
            st.metric(
                figure.label,
                figure.value,
                f"{change.text} vs {former.words}" if change and former else None,
                delta_color=change.color if change else "off",  # type: ignore[arg-type]
                delta_arrow=change.arrow if change else "off",  # type: ignore[arg-type]
                help="\n\n".join(filter(None, (figure.help, against, why))),
            )
            st.caption(figure.beneath)
