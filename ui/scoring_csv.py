"""The template of a file of payments: its columns, with one example row where the columns are the desk's own."""

from __future__ import annotations

from typing import Any

from services.scoring_runs_rows import OPTIONAL, REQUIRED
from services.transactions import Transaction
from ui import export

_OWN = (*REQUIRED, *OPTIONAL)


def template(columns: tuple[str, ...] = _OWN, example: Transaction | None = None) -> bytes:
    """The header; a row taken from a real transaction where there is one. Columns of a mapping have no example."""
    if columns != _OWN:
        return export.to_csv(columns, [])
    values = _example(example) if example else _EXAMPLE
    return export.to_csv(columns, [[values.get(name, "") for name in columns]])


_EXAMPLE: dict[str, Any] = {
    "transaction_id": "example-1", "event_time": "2026-01-31T12:00:00Z", "amount_minor": 12999, "currency": "EUR",
    "customer_id": "cus_00001", "card.token": "tok_00000001", "card.bin": "431940", "card.last4": "1234",
    "merchant.id": "mer_0001", "merchant.name": "Example Store", "merchant.mcc": "5732",
    "merchant.category": "electronics", "merchant.country": "DE", "channel": "ecom", "entry_mode": "stored",
}  # fmt: skip


def _example(t: Transaction) -> dict[str, Any]:
    found = {
        **_EXAMPLE, "event_time": t.event_time.isoformat(), "amount_minor": t.amount_minor, "currency": t.currency,
        "customer_id": t.customer_id, "channel": t.channel or _EXAMPLE["channel"],
        "entry_mode": t.entry_mode or _EXAMPLE["entry_mode"],
    }  # fmt: skip
    found |= {f"card.{key}": value for key, value in t.card.items() if f"card.{key}" in found}
    return found | {f"merchant.{key}": value for key, value in t.merchant.items() if f"merchant.{key}" in found}
