"""The queue's rows as an Arrow table and its columns: score and amount first, as numbers, times as a person counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import streamlit as st

from services.domain.states import AlertStatus, LabelValue
from services.transactions import QueueRow, QueueView
from ui import format as fmt
from ui.live_table import Standing

_ALWAYS = ("score", "amount", "merchant", "reason")
_ORDER: dict[QueueView, tuple[str, ...]] = {
    QueueView.OPEN_ALERTS: (*_ALWAYS, "due", "age", "decision", "country", "channel", "category", "card", "state"),
    QueueView.ALL: (*_ALWAYS, "age", "decision", "state", "country", "channel", "category", "card"),
    QueueView.DECIDED: (*_ALWAYS, "state", "age", "decision", "country", "channel", "category", "card"),
}


def state_word(row: QueueRow, *, gone: bool = False, verdict: LabelValue | None = None) -> str:
    """What became of the alert: the verdict if there is one, else whether it still waits."""
    if verdict or row.label:
        return fmt.word(str(verdict or row.label))
    if gone:
        return "Decided"
    return "Open" if row.alert_status is AlertStatus.OPEN else fmt.MISSING


def table(standing: Standing, *, now: datetime, verdicts: Mapping[str, LabelValue]) -> pa.Table:
    """One Arrow row for each queue row, in order. Score and amount stay numbers, so that the grid sorts them."""
    rows = standing.rows
    gone = standing.gone
    return pa.table(
        {
            "score": pa.array([r.score for r in rows], pa.float64()),
            "amount": pa.array([r.amount_minor / 10**r.exponent for r in rows], pa.float64()),
            "currency": [r.currency for r in rows],
            "merchant": [r.merchant_name or fmt.MISSING for r in rows],
            "reason": [r.top_reason or ("Not scored yet" if r.score is None else fmt.MISSING) for r in rows],
            "due": [fmt.due(r.due_at, now) if r.alert_status is AlertStatus.OPEN else fmt.MISSING for r in rows],
            "age": [fmt.duration((now - r.event_time).total_seconds()) for r in rows],
            "decision": [fmt.word(str(r.decision)) if r.decision else "Not scored" for r in rows],
            "country": [r.country or fmt.MISSING for r in rows],
            "channel": [r.channel or fmt.MISSING for r in rows],
            "category": [fmt.word(r.category) for r in rows],
            "card": [f"•• {r.card_last4}" if r.card_last4 else fmt.MISSING for r in rows],
            "state": [
                state_word(r, gone=r.transaction_id in gone, verdict=verdicts.get(r.transaction_id)) for r in rows
            ],
        }
    )


def columns(view: QueueView, standing: Standing) -> tuple[list[str], dict[str, Any]]:
    """(order, configuration). The currency gets its own column only where rows differ in it."""
    currencies = {row.currency for row in standing.rows}
    order = list(_ORDER[view])
    if len(currencies) > 1:
        order.insert(order.index("amount") + 1, "currency")
    symbol = {"EUR": "€", "USD": "$", "GBP": "£"}.get(next(iter(currencies), ""), "") if len(currencies) == 1 else ""
    column = st.column_config
    return order, {
        "score": column.ProgressColumn(
            "Score", min_value=0, max_value=1, format="%.3f", width=98, pinned=True,
            help="The model's fraud score from 0 to 1; an empty cell has not been scored.",
        ),
        "amount": column.NumberColumn("Amount", format=f"{symbol}%,.2f", width=84, alignment="right"),
        "currency": column.TextColumn("Currency", width=64),
        "merchant": column.TextColumn("Merchant", width=116),
        "reason": column.TextColumn("Top reason", width=220, help="What raised the score most."),
        "due": column.TextColumn("Due", width=100, alignment="right", help="Time left for the promised verdict."),
        "age": column.TextColumn("Age", width=62, alignment="right", help="Time since the payment."),
        "decision": column.TextColumn("Decision", width=76, help="What the desk did when it scored the payment."),
        "country": column.TextColumn("Country", width=64),
        "channel": column.TextColumn("Channel", width=66),
        "category": column.TextColumn("Category", width=104),
        "card": column.TextColumn("Card", width=68, help="The card's last four digits."),
        "state": column.TextColumn("Verdict", width=86, help="Open, or the verdict that stands."),
    }  # fmt: skip
