"""Made-up transactions, good, odd and poisoned, and the row of the lake each should become. Plain Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128
from bson.datetime_ms import DatetimeMS

Document = dict[str, Any]
# A card number where none belongs: whatever is refused, this must not be kept.
CARD_NUMBER = "4111111111111111"
DEEP = 150
_MERCHANTS = (("Corner Grocery", "groceries", "DE"), ("Plane & Rail", "travel", "BR"), ("Fuel 24", "fuel", "GB"))


def transaction(key: str, rng: random.Random, now: datetime) -> Document:
    """An ordinary transaction of the last few days."""
    name, category, country = rng.choice(_MERCHANTS)
    at = now - timedelta(hours=rng.choice((0, 0, 0, 5, 30)), seconds=rng.randrange(3600))
    return {
        "_id": key,
        "event_time": at.replace(microsecond=at.microsecond // 1000 * 1000),
        "received_at": now.replace(microsecond=0),
        "amount_minor": rng.choice((500, 2_499, 19_900, 75_000, 250_000)),
        "currency": "EUR",
        "exponent": 2,
        "customer_id": f"c-{rng.randrange(50)}",
        "customer": {"home_country": "DE", "home": {"lon": 13.4, "lat": 52.5}, "segment": "retail"},
        "card": {"token": f"tok-{rng.randrange(99)}", "bin": "400000", "last4": "1234", "network": "visa"},
        "merchant": {"id": "m-1", "name": name, "category": category, "country": country},
        "channel": rng.choice(("pos", "ecom")),
        "entry_mode": "chip",
        "attributes": {"counter": 0},
        "version": 1,
    }


def _deep() -> Document:
    nested: Document = {"end": 1}
    for _ in range(DEEP):
        nested = {"d": nested}
    return nested


def _without(document: Document, *names: str) -> None:
    for name in names:
        del document[name]


# Strange but within the contract: these are folded as they are.
ODD: Mapping[str, Callable[[Document], None]] = {
    "late": lambda d: d.update(event_time=d["event_time"] - timedelta(days=200)),
    "clock ahead": lambda d: d.update(event_time=d["event_time"] + timedelta(hours=24)),
    "clock behind": lambda d: d.update(event_time=d["event_time"] - timedelta(hours=24)),
    "NUL": lambda d: d["merchant"].update(name="a\x00b"),
    "dotted and dollar keys": lambda d: d["attributes"].update({"a.b": 1, "$set": {"x.y": True}}),
    "deep": lambda d: d["attributes"].update(deep=_deep()),
    "new fields": lambda d: d.update(brand_new={"field": [1, 2]}, terminal_id="term-9"),
    "parts missing": lambda d: _without(d, "customer", "card", "merchant"),
}

# Outside the contract: refused as a whole.
POISON: Mapping[str, Callable[[Document], None]] = {
    "decimal NaN": lambda d: d.update(amount_minor=Decimal128("NaN")),
    "NaN": lambda d: d["customer"]["home"].update(lon=float("nan")),
    "number as text": lambda d: d.update(amount_minor="1250", note=CARD_NUMBER),
    "fraction": lambda d: d.update(amount_minor=12.5),
    "negative": lambda d: d.update(amount_minor=-1),
    "object for text": lambda d: d.update(currency={"code": "EUR", "card": CARD_NUMBER}),
    "no time": lambda d: _without(d, "event_time"),
    "time as text": lambda d: d.update(event_time=f"yesterday {CARD_NUMBER}"),
    "year 9999": lambda d: d.update(event_time=datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
    "year 10000": lambda d: d.update(event_time=DatetimeMS(253_402_300_800_000)),
    "year 0": lambda d: d.update(event_time=DatetimeMS(-62_135_596_800_001)),
    "list for object": lambda d: d.update(merchant=["x"]),
}
# How a good document goes bad in an update.
DRIFT: Mapping[str, Document] = {
    "text": {"amount_minor": "12,50"},
    "decimal": {"amount_minor": Decimal128("12.50")},
    "object": {"channel": {"name": "pos"}},
}


def flat(d: Document) -> Document:
    """The columns of the lake that the campaign compares. `attributes` stays a mapping."""
    merchant, card, customer, label = (d.get(name) or {} for name in ("merchant", "card", "customer", "label"))
    return {
        "transaction_id": d["_id"],
        "event_time": d["event_time"],
        "received_at": d["received_at"],
        "amount_minor": d["amount_minor"],
        "currency": d["currency"],
        "customer_id": d["customer_id"],
        "home_lon": (customer.get("home") or {}).get("lon"),
        "segment": customer.get("segment"),
        "card_last4": card.get("last4"),
        "merchant_name": merchant.get("name"),
        "category": merchant.get("category"),
        "merchant_country": merchant.get("country"),
        "channel": d["channel"],
        "terminal_id": d.get("terminal_id"),
        "attributes": d["attributes"],
        "label": label.get("value"),
        "labelled_at": label.get("labelled_at"),
        "version": d["version"],
    }


def flat_label(d: Document) -> Document:
    names = ("transaction_id", "customer_id", "amount_minor", "value", "source", "labelled_at", "labelled_by")
    return {"label_id": d["_id"], **{name: d[name] for name in names}}
