"""One payment typed in: a known payment gives everything that is not asked for, the form what is tried out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from services.domain.states import Channel, EntryMode
from services.errors import ServiceError
from services.transactions import QueueFilter, QueueRow, QueueView, Sort, Transaction
from ui import format as fmt
from ui import own_words, wiring

_PREFIX = "try-"
START = "live-start"
# Merchant category codes (ISO 18245) by our category; what is not here goes as 5999, miscellaneous retail.
CATEGORIES = {
    "groceries": "5411", "restaurants": "5812", "fuel": "5541", "transport": "4111", "fashion": "5651", "home": "5712",
    "pharmacy": "5912", "electronics": "5732", "travel": "4722", "leisure": "7832", "digital": "5815", "cash": "6011",
}  # fmt: skip
COUNTRIES = ("DE", "FR", "ES", "IT", "NL", "GB", "US")


@dataclass(frozen=True, slots=True)
class Fields:
    """What the form asks for. `amount` is in major units."""

    customer_id: str
    amount: float
    currency: str
    merchant_id: str
    merchant_name: str
    category: str
    country: str
    channel: str
    entry_mode: str
    device_id: str


DEFAULTS = Fields(
    customer_id="cus_00001", amount=129.9, currency="EUR", merchant_id="mer_0001", merchant_name="Example Store",
    category="electronics", country="DE", channel="ecom", entry_mode="stored", device_id="",
)  # fmt: skip


def fields_of(t: Transaction) -> Fields:
    return Fields(
        customer_id=t.customer_id,
        amount=t.amount_minor / 10**t.exponent,
        currency=t.currency,
        merchant_id=str(t.merchant.get("id", "")),
        merchant_name=str(t.merchant.get("name", "")),
        category=str(t.merchant.get("category", "")),
        country=str(t.merchant.get("country", "")),
        channel=t.channel or DEFAULTS.channel,
        entry_mode=t.entry_mode or DEFAULTS.entry_mode,
        device_id=str((t.device or {}).get("id", "")),
    )


def record_of(fields: Fields, base: Transaction | None, *, now: datetime, identifier: str) -> dict[str, Any]:
    """The record to score, as of `now`. Card, home, place and exponent come from the payment it started from."""
    exponent = base.exponent if base and base.currency == fields.currency else 2
    same_shop = base is not None and base.merchant.get("id") == fields.merchant_id
    merchant: dict[str, Any] = {
        "id": fields.merchant_id,
        "name": fields.merchant_name,
        "mcc": base.merchant.get("mcc") if base and same_shop else CATEGORIES.get(fields.category, "5999"),
        "category": fields.category,
        "country": fields.country,
    }
    if base is not None and same_shop and base.merchant.get("location"):
        merchant["location"] = dict(base.merchant["location"])
    record: dict[str, Any] = {
        "transaction_id": identifier,
        "event_time": now.isoformat(),
        "amount_minor": round(fields.amount * 10**exponent),
        "currency": fields.currency,
        "exponent": exponent,
        "customer_id": fields.customer_id,
        "card": _clean(base.card) if base else {"token": "tok_live", "bin": "431940", "last4": "0000"},
        "merchant": merchant,
        "channel": fields.channel,
        "entry_mode": fields.entry_mode,
    }
    if base is not None and base.customer_id == fields.customer_id and base.customer:
        record["customer"] = _clean(base.customer)
    if fields.device_id:
        kept = _clean(base.device) if base and base.device and base.device.get("id") == fields.device_id else {}
        record["device"] = {**kept, "id": fields.device_id}
    return record


def _clean(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(v) if isinstance(v, Mapping) else v for key, v in part.items() if v is not None}


def recent() -> tuple[QueueRow, ...]:
    """The newest payments, to start from."""
    filters = QueueFilter(view=QueueView.ALL)
    return wiring.last_good(
        ("live.recent",),
        lambda: wiring.services().transactions.page(filters, sort=Sort.NEWEST, limit=30),
        ttl=30.0,
        background=True,
    ).value.rows


def faces(rows: Sequence[QueueRow], held: str | None) -> dict[str, str]:
    """What each payment to start from is called. The held one stays, under the same name, when it is no longer among
    the newest: a browser sends the name, not the id."""
    found = {row.transaction_id: _face(row, row.merchant_name or _first(row.own)) for row in rows}
    if held is None or held in found:
        return found
    start = base()
    if start is None or start.transaction_id != held:
        return {held: fmt.short_id(held), **found}
    own = own_words.told(start, wiring.services().transactions.mapping)
    shop = start.merchant.get("name") or start.merchant.get("id")
    return {held: _face(start, shop or _first(own)), **found}


def _first(own: Sequence[tuple[str, str]]) -> str | None:
    return own[0][1] if own else None


def _face(payment: QueueRow | Transaction, shop: str | None) -> str:
    money = fmt.money(payment.amount_minor, payment.currency, payment.exponent)
    return " · ".join(part for part in (money, shop, payment.customer_id) if part)


def base() -> Transaction | None:
    found: Transaction | None = st.session_state.get(f"{_PREFIX}base")
    return found


def start_from(identifier: str | None) -> None:
    """Fill the form from a stored payment; None fills it with the plain defaults."""
    found = wiring.services().transactions.get(identifier) if identifier else None
    st.session_state[f"{_PREFIX}base"] = found
    values = fields_of(found) if found else DEFAULTS
    for name in Fields.__dataclass_fields__:
        st.session_state[_PREFIX + name] = getattr(values, name)


def prepare(rows: Sequence[QueueRow]) -> None:
    """Before the first drawing: a known customer, card and merchant from the newest payment, else plain defaults."""
    if f"{_PREFIX}amount" in st.session_state:
        return
    newest = rows[0].transaction_id if rows else None
    try:
        start_from(newest)
    except ServiceError:
        start_from(None)
    else:
        st.session_state[START] = newest


def known() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(categories, countries) to choose from: those the desk has seen, or a plain list while it cannot be asked."""
    try:
        facets = wiring.last_good(
            ("queue.facets",), lambda: wiring.services().transactions.facets(), ttl=60.0, background=True
        ).value
    except ServiceError:
        return tuple(CATEGORIES), COUNTRIES
    return facets.categories or tuple(CATEGORIES), facets.countries or COUNTRIES


def draw() -> tuple[Fields, bool]:
    """The form; answers its fields and whether it was sent."""
    categories, countries = known()
    held = {name: st.session_state.get(_PREFIX + name) for name in Fields.__dataclass_fields__}
    with st.form("live-form", border=False):
        left, right = st.columns(2)
        with left:
            st.text_input("Customer id", key=f"{_PREFIX}customer_id", persist_state="session", max_chars=64)
            st.number_input(
                f"Amount ({held['currency']})", key=f"{_PREFIX}amount", min_value=0.0, step=10.0, format="%.2f",
                persist_state="session",
            )  # fmt: skip
            _choice("Channel", "channel", tuple(str(c) for c in Channel), held)
            _choice("Entry", "entry_mode", tuple(str(e) for e in EntryMode), held)
            st.text_input(
                "Device id", key=f"{_PREFIX}device_id", persist_state="session", placeholder="None", max_chars=64
            )
        with right:
            st.text_input("Merchant id", key=f"{_PREFIX}merchant_id", persist_state="session", max_chars=64)
            st.text_input("Merchant name", key=f"{_PREFIX}merchant_name", persist_state="session", max_chars=120)
            _choice("Category", "category", categories, held, own=True)
            _choice("Merchant country", "country", countries, held, own=True)
            _choice("Currency", "currency", ("EUR", "USD", "GBP", "CHF", "JPY"), held, own=True)
        with st.container(horizontal=True, horizontal_alignment="right"):
            sent = st.form_submit_button("Score", type="primary", icon=":material/bolt:", shortcut="Ctrl+Enter")
    return fields(), sent


def _choice(label: str, name: str, options: tuple[str, ...], held: Mapping[str, Any], *, own: bool = False) -> None:
    known = tuple(dict.fromkeys((*options, *([held[name]] if held[name] else []))))
    st.selectbox(
        label, known, key=_PREFIX + name, persist_state="session", accept_new_options=own,
        format_func=lambda v: v if v.isupper() else fmt.word(v),
    )  # fmt: skip


def fields() -> Fields:
    """What the form holds, or the plain defaults before it was drawn."""
    if f"{_PREFIX}amount" not in st.session_state:
        return DEFAULTS
    values = {name: st.session_state.get(_PREFIX + name) for name in Fields.__dataclass_fields__}
    text = {name: str(value or "").strip() for name, value in values.items() if name != "amount"}
    return Fields(amount=float(values["amount"] or 0.0), **text)


def new_id() -> str:
    return f"live-{secrets.token_hex(6)}"


def now() -> datetime:
    return datetime.now(UTC)
