"""What the feature engine is told: a transaction, or a label becoming known. Both are made from MongoDB or the lake.

Amounts are integers of minor units and are compared as they are: a desk works in one currency. Times are whole
milliseconds since 1970-01-01 UTC. An absent id, country or coordinate is None and its features are missing (nan).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Event:
    """One card transaction. Treated as immutable; not frozen, because replay builds hundreds of thousands."""

    transaction_id: str
    at_ms: int
    amount_minor: int
    customer_id: str
    merchant_id: str
    terminal_id: str | None
    device_id: str | None
    channel: str
    entry_mode: str
    category: str
    country: str | None
    # The customer's home country, or the card issuer's where the customer's is not known.
    home_country: str | None
    lon: float | None
    lat: float | None
    home_lon: float | None
    home_lat: float | None


@dataclass(slots=True)
class LabelEvent:
    """A verdict on a transaction, known from `labelled_ms` on (inclusive). `value`: fraud, genuine, inconclusive."""

    transaction_id: str
    customer_id: str
    merchant_id: str | None
    terminal_id: str | None
    device_id: str | None
    event_ms: int
    amount_minor: int
    value: str
    labelled_ms: int


def epoch_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970 UTC, rounded down. Naive datetimes raise TypeError."""
    return (moment - _EPOCH) // _MILLISECOND


def event_from_document(document: Mapping[str, Any]) -> Event:
    """An Event from the shape of the `transactions` collection; KeyError when a required field is absent.

    A transaction that was validated but not stored may carry `transaction_id` in place of `_id`.
    """
    customer = document.get("customer") or {}
    home = customer.get("home") or {}
    card = document.get("card") or {}
    merchant = document["merchant"]
    place = merchant.get("location") or {}
    device = document.get("device") or {}
    return Event(
        transaction_id=document["_id"] if "_id" in document else document["transaction_id"],
        at_ms=epoch_ms(document["event_time"]),
        amount_minor=document["amount_minor"],
        customer_id=document["customer_id"],
        merchant_id=merchant["id"],
        terminal_id=document.get("terminal_id"),
        device_id=device.get("id"),
        channel=document["channel"],
        entry_mode=document["entry_mode"],
        category=merchant["category"],
        country=merchant.get("country"),
        home_country=customer.get("home_country") or card.get("issuer_country"),
        lon=place.get("lon"),
        lat=place.get("lat"),
        home_lon=home.get("lon"),
        home_lat=home.get("lat"),
    )


def label_from_document(document: Mapping[str, Any]) -> LabelEvent:
    """A LabelEvent from the shape of the `labels` collection; merchant, terminal and device may be absent."""
    return LabelEvent(
        transaction_id=document["transaction_id"],
        customer_id=document["customer_id"],
        merchant_id=document.get("merchant_id"),
        terminal_id=document.get("terminal_id"),
        device_id=document.get("device_id"),
        event_ms=epoch_ms(document["event_time"]),
        amount_minor=document["amount_minor"],
        value=document["value"],
        labelled_ms=epoch_ms(document["labelled_at"]),
    )


# Lake columns in the order of Event's fields; home_country and issuer_country share one field.
LAKE_COLUMNS = (
    "transaction_id",
    "event_time",
    "amount_minor",
    "customer_id",
    "merchant_id",
    "terminal_id",
    "device_id",
    "channel",
    "entry_mode",
    "category",
    "merchant_country",
    "home_country",
    "issuer_country",
    "merchant_lon",
    "merchant_lat",
    "home_lon",
    "home_lat",
)


def event_from_lake_row(row: Mapping[str, Any]) -> Event:
    """An Event from one row of the lake table `fraud.transactions`, `event_time` as an aware datetime."""
    values = {name: [row.get(name)] for name in LAKE_COLUMNS}
    values["event_time"] = [epoch_ms(row["event_time"])]
    return next(events_from_columns(values))


def events_from_columns(columns: Mapping[str, Sequence[Any]]) -> Iterator[Event]:
    """Events from whole lake columns (LAKE_COLUMNS, equally long), `event_time` already as epoch milliseconds."""
    for row in zip(*(columns[name] for name in LAKE_COLUMNS), strict=True):
        fields: tuple[Any, ...] = (*row[:11], row[11] or row[12], *row[13:])
        yield Event(*fields)
