"""Valid records to vary in tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def record(transaction_id: str = "t-1", **changes: Any) -> dict[str, Any]:
    """A transaction as it may be sent to the front door; `changes` replace top-level fields, None removes one."""
    base: dict[str, Any] = {
        "transaction_id": transaction_id,
        "event_time": "2026-06-01T11:59:00Z",
        "amount_minor": 4210,
        "currency": "EUR",
        "exponent": 2,
        "customer_id": "c-1",
        "customer": {"home_country": "NL", "home": {"lon": 4.9, "lat": 52.4}, "segment": "retail"},
        "card": {
            "token": "tok-1",
            "bin": "400000",
            "last4": "1234",
            "network": "visa",
            "type": "debit",
            "issuer_country": "NL",
        },
        "merchant": {
            "id": "m-1",
            "name": "Corner Grocery",
            "mcc": "5411",
            "category": "grocery",
            "country": "NL",
            "location": {"lon": 4.8, "lat": 52.3},
        },
        "terminal_id": "term-1",
        "channel": "pos",
        "entry_mode": "chip",
        "attributes": {"basket": 3},
    }
    base.update(changes)
    return {key: value for key, value in base.items() if value is not None}


def document(transaction_id: str = "t-1", *, received_at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """The same, as stored: `_id`, aware datetimes, version 1."""
    stored = record(transaction_id, **changes)
    stored["_id"] = stored.pop("transaction_id")
    if isinstance(stored["event_time"], str):
        stored["event_time"] = datetime.fromisoformat(stored["event_time"])
    return stored | {"received_at": received_at, "version": changes.get("version", 1)}
