"""The queue's rows as an Arrow table and its columns: score and amount first, as numbers, times as a person counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import streamlit as st

from services.domain.mapping_parts import Mapping as DataMapping
from services.domain.own_columns import own_columns, paid
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

# Columns of data of one's own begin so, that none is taken for the demo's.
_OWN = "own-"
_DEMO: dict[str, Callable[[QueueRow], object]] = {
    "country": lambda r: r.country, "channel": lambda r: r.channel, "category": lambda r: r.category,
    "card": lambda r: r.card_last4,
}  # fmt: skip


def state_word(row: QueueRow, *, gone: bool = False, verdict: LabelValue | None = None) -> str:
    """What became of the alert: the verdict if there is one, else whether it still waits."""
    if verdict or row.label:
        return fmt.word(str(verdict or row.label))
    if gone:
        return "Decided"
    return "Open" if row.alert_status is AlertStatus.OPEN else fmt.MISSING


def table(
    standing: Standing, *, now: datetime, verdicts: Mapping[str, LabelValue], mapping: DataMapping | None = None
) -> pa.Table:
    """One Arrow row for each queue row, in order. Score and amount stay numbers, so that the grid sorts them.

    With a `mapping` the rows tell its entities and categories besides.
    """
    rows = standing.rows
    gone = standing.gone
    told = [dict(row.own) for row in rows]
    own = {_OWN + c.key: [one.get(c.key, fmt.MISSING) for one in told] for c in own_columns(mapping)}
    return pa.table(
        own
        | {
            "customer": [r.customer_id for r in rows],
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


def _own_order(view: QueueView, standing: Standing, mapping: DataMapping) -> list[str]:
    """The usual order in the mapping's words: whom the payment goes to where the demo has the merchant, else who pays;
    the demo's columns only where the data have them."""
    whom, keys = paid(mapping), [_OWN + column.key for column in own_columns(mapping)]
    first = _OWN + whom.key if whom else "customer"
    rest = [key for key in ("customer", *keys) if key != first]
    absent = {name for name, value in _DEMO.items() if not any(map(value, standing.rows))} | {"merchant"}
    order = [name for name in _ORDER[view] if name not in absent]
    return [*order[:2], first, *order[2:], *rest]


def _amount_width(standing: Standing) -> int:
    """Enough for the largest amount that is shown: 84 for thousands, 8 more for each digit or comma beyond."""
    largest = max((row.amount_minor / 10**row.exponent for row in standing.rows), default=0.0)
    return 84 + 8 * max(len(f"{largest:,.2f}") - len("9,999.99"), 0)


def columns(
    view: QueueView, standing: Standing, mapping: DataMapping | None = None
) -> tuple[list[str], dict[str, Any]]:
    """(order, configuration). The currency gets its own column only where rows differ in it."""
    currencies = {row.currency for row in standing.rows}
    order = list(_ORDER[view]) if mapping is None else _own_order(view, standing, mapping)
    if len(currencies) > 1:
        order.insert(order.index("amount") + 1, "currency")
    symbol = {"EUR": "€", "USD": "$", "GBP": "£"}.get(next(iter(currencies), ""), "") if len(currencies) == 1 else ""
    column = st.column_config
    own = {_OWN + c.key: column.TextColumn(c.title, width=116) for c in own_columns(mapping)}
    return order, own | {
        "customer": column.TextColumn("Customer", width=116),
        "score": column.ProgressColumn(
            "Score", min_value=0, max_value=1, format="%.3f", width=98, pinned=True,
            help="The model's fraud score from 0 to 1; an empty cell has not been scored.",
        ),
        "amount": column.NumberColumn(
            "Amount", format=f"{symbol}%,.2f", width=_amount_width(standing), alignment="right"
        ),
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
