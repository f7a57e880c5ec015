"""Documents of MongoDB -> flat rows of the lake: which field becomes which column.

What must be a number is checked here; text and times are checked by the column they end up in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.lake_schema import LABELS_TABLE, TRANSACTIONS_TABLE

_NOTHING: Mapping[str, Any] = {}
Row = tuple[Any, ...]


class Refused(Exception):
    """The record cannot be a row; its text says why, without a value of the record."""


def kind_of(value: Any) -> str:
    names = {str: "text", int: "a number", float: "a number", bool: "true/false", dict: "an object", list: "a list"}
    return "missing" if value is None else names.get(type(value), "something else")


def whole(value: Any, name: str) -> int:
    if type(value) is not int:
        raise Refused(f"{name} is {kind_of(value)}, not a whole number")
    if value < 0:
        raise Refused(f"{name} is negative")
    return value


def _number(value: Any, name: str) -> float | None:
    if value is None or type(value) is float:
        return value
    if type(value) is not int:
        raise Refused(f"{name} is {kind_of(value)}, not a number")
    return float(value)


def _transaction(key: str, d: Mapping[str, Any]) -> Row:
    customer = d.get("customer") or _NOTHING
    home = customer.get("home") or _NOTHING
    card = d.get("card") or _NOTHING
    merchant = d.get("merchant") or _NOTHING
    location = merchant.get("location") or _NOTHING
    device = d.get("device") or _NOTHING
    score = d.get("score") or _NOTHING
    alert = d.get("alert") or _NOTHING
    label = d.get("label") or _NOTHING
    attributes = d.get("attributes")
    if d.get("event_time") is None:
        raise Refused("event_time is missing")
    return (
        key,
        d["event_time"],
        d.get("received_at"),
        whole(d.get("amount_minor"), "amount_minor"),
        d.get("currency"),
        d.get("customer_id"),
        customer.get("home_country"),
        _number(home.get("lon"), "customer.home.lon"),
        _number(home.get("lat"), "customer.home.lat"),
        customer.get("segment"),
        card.get("token"),
        card.get("bin"),
        card.get("last4"),
        card.get("network"),
        card.get("type"),
        card.get("issuer_country"),
        merchant.get("id"),
        merchant.get("name"),
        merchant.get("mcc"),
        merchant.get("category"),
        merchant.get("country"),
        _number(location.get("lon"), "merchant.location.lon"),
        _number(location.get("lat"), "merchant.location.lat"),
        d.get("terminal_id"),
        d.get("channel"),
        d.get("entry_mode"),
        device.get("id"),
        device.get("ip"),
        device.get("email_domain"),
        device.get("user_agent_family"),
        None if attributes is None else orjson.dumps(attributes).decode(),
        _number(score.get("value"), "score.value"),
        score.get("decision"),
        _number(score.get("review_threshold"), "score.review_threshold"),
        score.get("model_version"),
        score.get("scored_at"),
        alert.get("status"),
        alert.get("opened_at"),
        label.get("value"),
        label.get("source"),
        label.get("labelled_at"),
        whole(d.get("version", 1), "version"),
    )


def _label(key: str, d: Mapping[str, Any]) -> Row:
    for name in ("transaction_id", "value", "labelled_at"):
        if d.get(name) is None:
            raise Refused(f"{name} is missing")
    amount = d.get("amount_minor")
    return (
        key,
        d["transaction_id"],
        d.get("customer_id"),
        d.get("merchant_id"),
        d.get("device_id"),
        d.get("event_time"),
        None if amount is None else whole(amount, "amount_minor"),
        d["value"],
        d.get("source"),
        d["labelled_at"],
        d.get("labelled_by"),
    )


FLATTEN: dict[str, Callable[[str, Any], Row]] = {
    TRANSACTIONS_TABLE.name: _transaction,
    LABELS_TABLE.name: _label,
}
