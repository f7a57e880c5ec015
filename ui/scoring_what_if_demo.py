"""What if, for the demo's columns: what may be changed of a payment, and the payment with it changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import streamlit as st

from services.domain.states import Channel, EntryMode
from ui import format as fmt
from ui import scoring_form
from ui import scoring_what_if_parts as parts

_BASE = "what-if-base"
NEW_DEVICE, NO_DEVICE, NEW_MERCHANT = "Never seen before", "No device", "Never met before"


def ask() -> tuple[dict[str, Any], dict[str, Any]]:
    """The controls; the payment of the form as of the moment it was chosen or changed there, and changed."""
    record = _base()
    return record, changed(record, _controls(record), now=scoring_form.now())


def _base() -> dict[str, Any]:
    fields = scoring_form.fields()
    base = scoring_form.base()
    held: tuple[Any, dict[str, Any]] | None = st.session_state.get(_BASE)
    seen = (fields, base.transaction_id if base else None)
    if held is None or held[0] != seen:
        record = scoring_form.record_of(fields, base, now=scoring_form.now(), identifier=scoring_form.new_id())
        st.session_state[_BASE] = held = (seen, record)
        _reset(record)
    return held[1]


def _reset(record: Mapping[str, Any]) -> None:
    """All controls as the payment is."""
    values = parts.of_payment(record) | {
        "category": record["merchant"]["category"], "country": record["merchant"]["country"],
        "channel": record["channel"], "entry_mode": record["entry_mode"], "device": parts.SAME, "merchant": parts.SAME,
    }  # fmt: skip
    for name, value in values.items():
        st.session_state[parts.KEY + name] = value


def _controls(record: dict[str, Any]) -> dict[str, Any]:
    categories, countries = scoring_form.known()
    merchant = record["merchant"]
    with st.container(border=True):
        top = st.columns(4)
        bottom = st.columns([20, 20, 19, 19, 22], vertical_alignment="bottom")
        with top[0]:
            parts.amount(record)
        with top[1]:
            parts.clock()
        with top[2]:
            _choice("Category", "category", (merchant["category"], *categories))
        with top[3]:
            _choice("Merchant country", "country", (merchant["country"], *countries))
        with bottom[0]:
            _choice("Channel", "channel", tuple(str(c) for c in Channel))
        with bottom[1]:
            _choice("Entry", "entry_mode", tuple(str(e) for e in EntryMode))
        with bottom[2]:
            _choice("Device", "device", (parts.SAME, NEW_DEVICE, NO_DEVICE))
        with bottom[3]:
            _choice("Merchant", "merchant", (parts.SAME, NEW_MERCHANT))
        with bottom[4]:
            parts.reset_button(partial(_reset, record))
    names = ("amount", "time", "category", "country", "channel", "entry_mode", "device", "merchant")
    return {name: st.session_state[parts.KEY + name] for name in names}


def _choice(label: str, name: str, options: tuple[str, ...]) -> None:
    st.selectbox(
        label, tuple(dict.fromkeys(options)), key=parts.KEY + name,
        format_func=lambda v: v if v.isupper() or " " in v else fmt.word(v),
    )  # fmt: skip


def changed(record: Mapping[str, Any], chosen: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The record with what was chosen: amount (major units), time (of day, UTC: its latest moment that is not in the
    future), category, country, channel, entry_mode, device, merchant."""
    made = copy.deepcopy(dict(record))
    made["amount_minor"] = round(chosen["amount"] * 10 ** record["exponent"])
    made["event_time"] = parts.at(datetime.fromisoformat(record["event_time"]), chosen["time"], now).isoformat()
    made["channel"], made["entry_mode"] = chosen["channel"], chosen["entry_mode"]
    merchant = made["merchant"]
    if chosen["category"] != merchant["category"]:
        merchant |= {"category": chosen["category"], "mcc": scoring_form.CATEGORIES.get(chosen["category"], "5999")}
    merchant["country"] = chosen["country"]
    if chosen["merchant"] == NEW_MERCHANT:
        merchant["id"] = "mer_never_met"
    if chosen["device"] == NEW_DEVICE:
        made["device"] = {"id": "dev_never_seen"}
    elif chosen["device"] == NO_DEVICE:
        made.pop("device", None)
    return made
