"""Where a plan finds its columns: in the desk's documents (MongoDB) and in the lake's tables.

Customer, merchant, terminal, device and card have fields of their own; every other entity and every plain feature of
a mapping is an attribute. The desk's own plan takes its categories and flags from the documents' fields, and a place
counts for it only where the card was where the terminal is.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from services.features.inputs import Event, LabelEvent, epoch_ms
from services.features.plan import Plan
from services.features.roles import Role

_FIELDS = {
    "entity.customer": ("customer_id", ()),
    "entity.merchant": ("merchant", ("id",)),
    "entity.terminal": ("terminal_id", ()),
    "entity.device": ("device", ("id",)),
    "entity.card": ("card", ("token",)),
}
_OWN_FIELDS = {"feature.country": ("merchant", ("country",)), "feature.category": ("merchant", ("category",))}
_LABEL_FIELDS = {
    "entity.customer": "customer_id",
    "entity.merchant": "merchant_id",
    "entity.terminal": "terminal_id",
    "entity.device": "device_id",
}
_LAKE = _LABEL_FIELDS | {"entity.card": "card_token"}
_OWN_LAKE = {"feature.country": "merchant_country", "feature.category": "category"}
_CARD_PRESENT = ("pos", "atm")
_WEAK_ENTRY = ("keyed", "swipe")
_ROWS = 1 << 16


def event_from_document(plan: Plan, document: Mapping[str, Any]) -> Event:
    """An Event from the shape of the `transactions` collection; KeyError when a required field is absent.

    A transaction that was validated but not stored may carry `transaction_id` in place of `_id`.
    """
    place = home = None
    if plan.places and (not plan.own or document.get("channel") in _CARD_PRESENT):
        place = _point((document.get("merchant") or {}).get("location"))
        home = _point((document.get("customer") or {}).get("home")) if plan.homes else None
    return Event(
        document["_id"] if "_id" in document else document["transaction_id"],
        epoch_ms(document["event_time"]),
        document["amount_minor"],
        names_of(plan, document),
        _own_flags(document) if plan.own else _numbers(plan, document.get("attributes") or {}),
        place,
        home,
    )


def names_of(plan: Plan, document: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The names of a transaction's entities and categories, in the plan's order."""
    found: list[str | None] = []
    for kind in plan.kinds:
        field = _FIELDS.get(kind.column) or (_OWN_FIELDS.get(kind.column) if plan.own else None)
        if field is None:
            value = (document.get("attributes") or {}).get(kind.name)
            found.append(None if value is None else _text(value))
            continue
        value = document.get(field[0])
        for name in field[1]:
            value = value.get(name) if value is not None else None
        found.append(value)
    return tuple(found)


def needs_transaction(plan: Plan) -> bool:
    """Whether a label alone does not name every entity that learns from it."""
    return any(k.column not in _LABEL_FIELDS for k in plan.kinds if k.role is not Role.KNOWN)


def label_from_document(
    plan: Plan, label: Mapping[str, Any], transaction: Mapping[str, Any] | None = None
) -> LabelEvent:
    """A LabelEvent from the shape of the `labels` collection, with the names of its transaction where it is given."""
    if transaction is not None:
        names = names_of(plan, transaction)
    else:
        names = tuple([label.get(_LABEL_FIELDS.get(kind.column, "")) for kind in plan.kinds])
    return LabelEvent(
        label["transaction_id"],
        names,
        epoch_ms(label["event_time"]),
        label["amount_minor"],
        label["value"],
        epoch_ms(label["labelled_at"]),
    )


def _own_flags(document: Mapping[str, Any]) -> tuple[float, ...]:
    """foreign, ecom, atm, weak_entry. The home country is the card issuer's where the customer's is not known."""
    home = (document.get("customer") or {}).get("home_country")
    if home is None:
        home = (document.get("card") or {}).get("issuer_country")
    # Transactions that were imported under another mapping may have neither merchant nor channel.
    country, channel = (document.get("merchant") or {}).get("country"), document.get("channel")
    return (
        nan if home is None or country is None else float(home != country),
        float(channel == "ecom"),
        float(channel == "atm"),
        float(document.get("entry_mode") in _WEAK_ENTRY),
    )


def _numbers(plan: Plan, attributes: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple([_float(attributes.get(number.name)) for number in plan.numbers])


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else nan


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _point(place: Mapping[str, Any] | None) -> tuple[float, float] | None:
    if not place or place.get("lon") is None or place.get("lat") is None:
        return None
    return place["lon"], place["lat"]


def lake_columns(plan: Plan) -> tuple[str, ...]:
    """The columns of the lake's `transactions` that `from_lake` needs."""
    found = ["transaction_id", "event_time", "received_at", "amount_minor"]
    named = _LAKE | (_OWN_LAKE if plan.own else {})
    found += [named.get(kind.column, "attributes") for kind in plan.kinds]
    if plan.own:
        found += ["channel", "entry_mode", "home_country", "issuer_country", "merchant_country"]
    elif plan.numbers:
        found.append("attributes")
    if plan.places:
        found += ["merchant_lon", "merchant_lat"]
    if plan.homes:
        found += ["home_lon", "home_lat"]
    return tuple(dict.fromkeys(found))


def from_lake(plan: Plan, table: pa.Table) -> dict[str, Any]:
    """Canonical columns (services.features.columns) of rows of the lake."""
    event_ms = milliseconds(table["event_time"])
    received = milliseconds(table["received_at"]) if "received_at" in table.column_names else event_ms
    columns: dict[str, Any] = {
        "transaction_id": table["transaction_id"],
        "event_ms": event_ms,
        "received_ms": pc.coalesce(received, event_ms),
        "amount_minor": table["amount_minor"],
    }
    named = _LAKE | (_OWN_LAKE if plan.own else {})
    columns |= {kind.column: table[named[kind.column]] for kind in plan.kinds if kind.column in named}
    columns |= _own_columns(table) if plan.own else _attributes(plan, table)
    for place, wanted in (("merchant", plan.places), ("home", plan.homes)):
        if wanted:
            for axis in ("lon", "lat"):
                column = table[f"{place}_{axis}"]
                columns[f"place.{place}_{axis}"] = _where_present(table, column) if plan.own else column
    return columns


def _where_present(table: pa.Table, column: Any) -> Any:
    return pc.if_else(pc.is_in(table["channel"], pa.array(_CARD_PRESENT)), column, pa.scalar(None, pa.float64()))


def _own_columns(table: pa.Table) -> dict[str, Any]:
    home = pc.coalesce(
        pc.if_else(pc.equal(table["home_country"], ""), None, table["home_country"]), table["issuer_country"]
    )
    return {
        "feature.foreign": pc.not_equal(home, table["merchant_country"]),
        "feature.ecom": pc.equal(table["channel"], "ecom"),
        "feature.atm": pc.equal(table["channel"], "atm"),
        "feature.weak_entry": pc.is_in(table["entry_mode"], pa.array(_WEAK_ENTRY)),
    }


def _attributes(plan: Plan, table: pa.Table) -> dict[str, Any]:
    """The plan's attributes, a slice of rows at a time."""
    kinds = [kind for kind in plan.kinds if kind.column not in _LAKE]
    if not kinds and not plan.numbers:
        return {}
    words: dict[str, list[pa.Array]] = {kind.column: [] for kind in kinds}
    numbers: dict[str, list[Any]] = {number.column: [] for number in plan.numbers}
    for begin in range(0, max(len(table), 1), _ROWS):
        texts = table["attributes"].slice(begin, _ROWS).to_pylist()
        rows = [orjson.loads(text) if text else {} for text in texts]
        for kind in kinds:
            found = [row.get(kind.name) for row in rows]
            words[kind.column].append(pa.array([None if v is None else _text(v) for v in found], pa.string()))
        for number in plan.numbers:
            numbers[number.column].append(np.array([_float(row.get(number.name)) for row in rows], np.float64))
    columns: dict[str, Any] = {name: pa.chunked_array(parts) for name, parts in words.items()}
    return columns | {name: np.concatenate(parts) for name, parts in numbers.items()}


def milliseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Epoch milliseconds, rounded down, of a timestamp column."""
    return column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
