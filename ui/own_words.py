"""What one payment says in the columns of data of one's own."""

from __future__ import annotations

from services.domain.mapping_parts import Mapping
from services.domain.own_columns import OwnColumn, at_path, own_columns
from services.transactions import Transaction


def value(t: Transaction, column: OwnColumn) -> str | None:
    held = {
        "customer_id": t.customer_id, "merchant": t.merchant, "card": t.card, "terminal_id": t.terminal_id,
        "device": t.device, "attributes": t.attributes,
    }  # fmt: skip
    return at_path(held, column.path)


def told(t: Transaction, mapping: Mapping | None) -> tuple[tuple[str, str], ...]:
    """(title, value) of every column that the payment has a value in; nothing for the demo's data."""
    return tuple((c.title, found) for c in own_columns(mapping) if (found := value(t, c)) is not None)
