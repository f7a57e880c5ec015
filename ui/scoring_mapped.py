"""One payment typed in where the desk's data follow a mapping: its entities and its own columns are the fields."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from datetime import datetime
from typing import Any

import streamlit as st

from services.domain.mapping import Mapping
from services.mapped_file import exponent_of
from services.transactions import Transaction

_KEY = "own-"
_FIELDS = {"customer": ("customer_id",), "merchant": ("merchant", "id"), "card": ("card", "token"),
           "terminal": ("terminal_id",), "device": ("device", "id")}  # fmt: skip


def record_of(
    mapping: Mapping, values: AnyMapping[str, Any], *, now: datetime, identifier: str, base: Transaction | None = None
) -> dict[str, Any]:
    """The record to score, as of `now`. `values`: amount (major units), currency, `entity.<kind>`, `feature.<name>`;
    what is empty is absent. Places are those of the payment it started from, while its payer and merchant are."""
    currency = str(values["currency"]).strip().upper()
    exponent = exponent_of(mapping, currency)
    record: dict[str, Any] = {
        "transaction_id": identifier, "event_time": now.isoformat(),
        "amount_minor": round(float(values["amount"] or 0.0) * 10**exponent), "currency": currency,
        "exponent": exponent,
    }  # fmt: skip
    attributes: dict[str, Any] = {}
    for kind in mapping.entities:
        name = str(values.get(f"entity.{kind}") or "").strip()
        if not name:
            continue
        path = _FIELDS.get(kind)
        if path is None:
            attributes[kind] = name
        elif len(path) == 1:
            record[path[0]] = name
        else:
            record[path[0]] = {path[1]: name}
    for feature in mapping.features:
        value = values.get(f"feature.{feature.name}")
        if value is not None and value != "":
            attributes[feature.name] = value == "yes" if feature.kind == "flag" else value
    if base is not None:
        _place(record, base)
    return record | ({"attributes": attributes} if attributes else {})


def _place(record: dict[str, Any], base: Transaction) -> None:
    merchant, customer = base.merchant or {}, base.customer or {}
    if merchant.get("location") and record.get("merchant", {}).get("id") == merchant.get("id"):
        record["merchant"] = {**record.get("merchant", {}), "location": dict(merchant["location"])}
    if customer.get("home") and record.get("customer_id") == base.customer_id:
        record["customer"] = {"home": dict(customer["home"])}


def values_of(mapping: Mapping, t: Transaction) -> dict[str, Any]:
    """What the form shows for a stored payment."""
    held: dict[str, Any] = {"amount": t.amount_minor / 10**t.exponent, "currency": t.currency}
    parts: dict[str, Any] = {
        "customer": t.customer_id, "merchant": (t.merchant or {}).get("id"), "card": (t.card or {}).get("token"),
        "terminal": t.terminal_id, "device": (t.device or {}).get("id"),
    }  # fmt: skip
    for kind in mapping.entities:
        held[f"entity.{kind}"] = str(parts.get(kind) or t.attributes.get(kind) or "")
    for feature in mapping.features:
        value = t.attributes.get(feature.name)
        if feature.kind == "flag":
            value = None if value is None else "yes" if value else "no"
        held[f"feature.{feature.name}"] = value if feature.kind in ("number", "flag") else str(value or "")
    return held


def fill(mapping: Mapping, t: Transaction | None) -> None:
    """Before the form is drawn: the chosen payment's values, once for each choice."""
    chosen = t.transaction_id if t else None
    if st.session_state.get(f"{_KEY}from", "") == chosen:
        return
    st.session_state[f"{_KEY}from"] = chosen
    usual = {"amount": 100.0, "currency": mapping.amount.currency or "EUR"}
    for name, value in (values_of(mapping, t) if t else usual).items():
        st.session_state[_KEY + name] = value


def draw(mapping: Mapping) -> tuple[dict[str, Any], bool]:
    """The form; its values and whether it was sent."""
    with st.form("own-form", border=False):
        left, right = st.columns(2)
        with left:
            st.number_input(
                "Amount", key=f"{_KEY}amount", min_value=0.0, step=10.0, format="%.2f", persist_state="session"
            )
        with right:
            st.text_input("Currency", key=f"{_KEY}currency", max_chars=3, persist_state="session")
        for place, kind in enumerate(mapping.entities):
            with (left, right)[place % 2]:
                st.text_input(
                    kind.replace("_", " ").capitalize(), key=f"{_KEY}entity.{kind}", max_chars=64,
                    help="As the desk shows it.", persist_state="session",
                )  # fmt: skip
        for place, feature in enumerate(mapping.features, start=len(mapping.entities)):
            key = f"{_KEY}feature.{feature.name}"
            label = f"{feature.title} ({feature.unit})" if feature.unit else feature.title
            with (left, right)[place % 2]:
                if feature.kind == "number":
                    st.number_input(label, key=key, value=None, placeholder="Not known", persist_state="session")
                elif feature.kind == "flag":
                    st.selectbox(
                        label, ("yes", "no"), key=key, index=None, placeholder="Not known", persist_state="session"
                    )
                else:
                    st.text_input(label, key=key, max_chars=200, placeholder="Not known", persist_state="session")
        with st.container(horizontal=True, horizontal_alignment="right"):
            sent = st.form_submit_button("Score", type="primary", icon=":material/bolt:", shortcut="Ctrl+Enter")
    return values(mapping), sent


def values(mapping: Mapping) -> dict[str, Any]:
    """What the form holds."""
    names = ["amount", "currency", *(f"entity.{kind}" for kind in mapping.entities)]
    names += [f"feature.{feature.name}" for feature in mapping.features]
    return {name: st.session_state.get(_KEY + name) for name in names}
