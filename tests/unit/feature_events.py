"""Transactions and verdicts of the desk's own plan for tests. Times are offsets from a Monday midnight, UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from services.features import DEMO, Event, LabelEvent, State, epoch_ms, event_from_document

START = datetime(2026, 6, 1, tzinfo=UTC)
MONDAY = epoch_ms(START)
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
_BASE: dict[str, Any] = {
    "transaction_id": "t",
    "amount_minor": 1_000,
    "customer_id": "c",
    "merchant_id": "m",
    "terminal_id": "T",
    "device_id": None,
    "channel": "pos",
    "entry_mode": "chip",
    "category": "grocery",
    "country": "DE",
    "home_country": "DE",
    "lon": None,
    "lat": None,
    "home_lon": None,
    "home_lat": None,
}


def at(offset_ms: int, **changes: Any) -> Event:
    """A transaction of customer c at terminal T of merchant m, unless said otherwise."""
    f = _BASE | changes
    assert f.keys() == _BASE.keys()
    return event_from_document(
        DEMO,
        {
            "_id": f["transaction_id"],
            "event_time": START + timedelta(milliseconds=offset_ms),
            "amount_minor": f["amount_minor"],
            "customer_id": f["customer_id"],
            "customer": {"home_country": f["home_country"], "home": {"lon": f["home_lon"], "lat": f["home_lat"]}},
            "merchant": {
                "id": f["merchant_id"],
                "category": f["category"],
                "country": f["country"],
                "location": {"lon": f["lon"], "lat": f["lat"]},
            },
            "terminal_id": f["terminal_id"],
            "device": {"id": f["device_id"]},
            "channel": f["channel"],
            "entry_mode": f["entry_mode"],
        },
    )


def verdict(of: Event, known_ms: int, value: str = "fraud") -> LabelEvent:
    """`known_ms`: an offset from MONDAY, like those of transactions."""
    return LabelEvent(of.transaction_id, of.names, of.at_ms, of.amount_minor, value, MONDAY + known_ms)


def after(history: Sequence[Event], event: Event, labels: Sequence[LabelEvent] = ()) -> dict[str, float]:
    """The features of `event` by name, once `history` was observed and `labels` became known."""
    states: dict[str, State] = {}
    for former in history:
        DEMO.observe(former, states)
    for label in labels:
        DEMO.observe_label(label, states)
    return dict(zip(DEMO.names, DEMO.compute(event, states), strict=True))
