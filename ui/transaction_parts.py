"""The parts of one transaction: facts in groups, what happened to it, its labels, what the model saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from services.domain.mapping_parts import Mapping as DataMapping
from services.domain.own_columns import entities, own_columns, paid
from services.transactions import CaseEvent, CustomerProfile, LabelEntry, QueueRow, Transaction
from ui import format as fmt
from ui import own_words, verdict

Line = tuple[str, str]
LONG = 12
EVENT_WORDS = {
    "alert_opened": (":material/notifications:", "Alert opened"),
    "decided": (":material/gavel:", "Decided"),
    "chargeback": (":material/undo:", "Chargeback received"),
    "customer_report": (":material/record_voice_over:", "Reported by the customer"),
}


def where(t: Transaction, mapping: DataMapping | None = None, *, keep: int = 60) -> str:
    """' at Corner Grocery' for Markdown, ' · Terminal 12' where the data call it so, nothing where they do not say."""
    name = t.merchant.get("name") or t.merchant.get("id")
    if name:
        return f" at {fmt.literal(fmt.short_id(str(name), keep=keep))}"
    whom = paid(mapping) if mapping else None
    name = own_words.value(t, whom) if whom else None
    return f" · {fmt.literal(whom.title)} {fmt.literal(fmt.short_id(name, keep=keep))}" if whom and name else ""


def how(t: Transaction, mapping: DataMapping | None = None) -> list[Line]:
    """What was paid for, and how, in a line each; without what the data do not have."""
    if mapping is not None:
        return list(own_words.told(t, mapping))
    shop = [fmt.word(t.merchant["category"])] if t.merchant.get("category") else []
    shop += [str(t.merchant["country"])] if t.merchant.get("country") else []
    card = f"card •• {t.card['last4']}" if t.card.get("last4") else None
    paid = [part for part in (t.channel, t.entry_mode, card) if part]
    return [(name, ", ".join(parts)) for name, parts in (("Merchant", shop), ("Paid", paid)) if parts]


def groups(t: Transaction, mapping: DataMapping | None = None) -> dict[str, list[Line]]:
    """Everything known, by what it is about; absent parts give no group, absent fields no line. `mapping` gives the
    attributes of data of one's own their titles."""
    merchant, card, customer, device = t.merchant, t.card, t.customer, t.device or {}
    found: dict[str, list[Line]] = {
        "Payment": _lines(
            ("Amount", fmt.money(t.amount_minor, t.currency, t.exponent)),
            ("Time", fmt.utc(t.event_time)),
            ("Received", fmt.utc(t.received_at)),
            ("Channel", t.channel),
            ("Entry", t.entry_mode),
            ("Terminal", t.terminal_id),
        ),
        "Merchant": _lines(
            ("Name", merchant.get("name")),
            ("Category", _category(merchant)),
            ("Country", merchant.get("country")),
            ("Id", merchant.get("id")),
        ),
        "Card": _lines(
            ("Number", f"{card.get('bin', '')} •••• {card['last4']}".strip() if card.get("last4") else None),
            ("Network", card.get("network")),
            ("Type", card.get("type")),
            ("Issued in", card.get("issuer_country")),
            ("Token", card.get("token")),
        ),
        "Customer": _lines(
            ("Id", t.customer_id),
            ("Home", customer.get("home_country")),
            ("Segment", customer.get("segment")),
        ),
        "Device": _lines(
            ("Id", device.get("id")),
            ("IP", device.get("ip")),
            ("E-mail", f"@{device['email_domain']}" if device.get("email_domain") else None),
            ("Browser", device.get("user_agent_family")),
        ),
        "Attributes": _attributes(t.attributes, mapping),
    }
    return {name: lines for name, lines in found.items() if lines}


def _lines(*pairs: tuple[str, Any]) -> list[Line]:
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def _attributes(held: Mapping[str, Any], mapping: DataMapping | None) -> list[Line]:
    """In the mapping's order and words, then the others as they are called."""
    if mapping is None:
        return _lines(*((fmt.word(str(key)), _plain(value)) for key, value in held.items()))
    titles = {column.key: (column.title, "") for column in entities(mapping)}
    titles |= {feature.name: (feature.title, feature.unit) for feature in mapping.features}
    named = [(*titles[key], held[key]) for key in titles if key in held]
    named += [(fmt.word(str(key)), "", value) for key, value in held.items() if key not in titles]
    return _lines(*((title, _plain(value, unit)) for title, unit, value in named))


def _plain(value: Any, unit: str = "") -> Any:
    """Numbers of imported columns are stored as floating point: whole ones are shown as such."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return value
    return f"{value:,.10g} {unit}".rstrip() if isinstance(value, int | float) else value


def _category(merchant: Mapping[str, Any]) -> str | None:
    if not merchant.get("category"):
        return None
    return f"{fmt.word(merchant.get('category'))} (MCC {merchant.get('mcc', fmt.MISSING)})"


def draw_groups(found: Mapping[str, list[Line]], *, columns: int = 3) -> None:
    """Groups side by side in rows, one Markdown element a group; what is beyond LONG lines of one is below, unfolded on
    demand, so that data of sixty columns leave room for the rest."""
    cells = st.columns(columns, gap="medium")
    for index, (name, lines) in enumerate(found.items()):
        cells[index % columns].markdown(f"**{name}**  \n{_body(lines[:LONG])}")
    rest = [line for lines in found.values() for line in lines[LONG:]]
    if rest:
        with st.expander(f"{len(rest)} more", icon=":material/list:"):
            half = -(-len(rest) // columns)
            for place, cell in enumerate(st.columns(columns, gap="medium")):
                cell.markdown(_body(rest[place * half : (place + 1) * half]))


def _body(lines: list[Line]) -> str:
    return "  \n".join(f":gray[{fmt.literal(label)}]  {fmt.literal(value)}" for label, value in lines)


def profile(p: CustomerProfile, t: Transaction, now: datetime) -> None:
    """This customer's own normal over 90 days, against which the payment stands out."""
    mean = None if p.mean_amount_minor is None else round(p.mean_amount_minor)
    factor = t.amount_minor / p.mean_amount_minor if p.mean_amount_minor else None
    figures: tuple[tuple[str, str, str], ...] = (
        ("Payments in 90 days", fmt.count(p.transactions_90d), f"First seen {fmt.utc(p.first_seen)}"),
        ("Usual amount", fmt.money_short(mean, t.currency, t.exponent), "Mean of the last 90 days"),
        ("This one", fmt.MISSING if factor is None else f"{factor:,.1f}×", "This amount against the usual one"),
        ("Countries", fmt.count(len(p.countries)), ", ".join(p.countries)),
        ("Devices", fmt.count(p.devices), "Different devices in 90 days"),
        ("Fraud before", fmt.count(p.fraud_labels), "Payments labelled fraud in 90 days"),
    )
    # Data of one's own need not say countries and devices; 0 of them would read as a finding.
    absent = {"Countries"} if not p.countries else set()
    absent |= {"Devices"} if not p.devices else set()
    figures = tuple(figure for figure in figures if figure[0] not in absent)
    for cell, (name, value, help_) in zip(st.columns(len(figures)), figures, strict=True):
        cell.metric(name, value, help=fmt.literal(help_))


def history_table(rows: Iterable[QueueRow], *, this: str, now: datetime, mapping: DataMapping | None = None) -> None:
    """The customer's payments up to this one, newest first; this one says so."""
    shown = list(rows)
    column = st.column_config
    own = own_columns(mapping)[:2]
    order = ["when", "amount", "currency", *(["merchant", "country"] if mapping is None else [c.key for c in own])]
    st.dataframe(
        {
            "when": ["This payment" if r.transaction_id == this else fmt.relative(r.event_time, now) for r in shown],
            "amount": [r.amount_minor / 10**r.exponent for r in shown],
            "currency": [r.currency for r in shown],
            "merchant": [r.merchant_name or fmt.MISSING for r in shown],
            "country": [r.country or fmt.MISSING for r in shown],
            "score": [r.score for r in shown],
            "verdict": [fmt.word(str(r.label)) if r.label else fmt.MISSING for r in shown],
        }
        | {c.key: [dict(r.own).get(c.key, fmt.MISSING) for r in shown] for c in own},
        hide_index=True,
        column_order=[*order, "score", "verdict"],
        height="content" if len(shown) <= 7 else 252,
        column_config={
            "when": column.TextColumn("When", width=110),
            "amount": column.NumberColumn("Amount", format="%,.2f", width=84),
            "currency": column.TextColumn("", width=48),
            "merchant": column.TextColumn("Merchant", width=160),
            "country": column.TextColumn("Country", width=64),
            "score": column.ProgressColumn("Score", min_value=0, max_value=1, format="%.3f", width=96),
            "verdict": column.TextColumn("Verdict", width=88),
        }
        | {c.key: column.TextColumn(c.title, width=112) for c in own},
        alt="This customer's payments, newest first",
    )


def events(found: Iterable[CaseEvent], now: datetime) -> None:
    """What happened to the transaction, oldest first."""
    lines = []
    for event in found:
        icon, word = EVENT_WORDS.get(event.kind, (":material/circle:", fmt.word(event.kind)))
        value = event.detail.get("value")
        what = f"{word}: {value}" if value else word
        when = fmt.clock(event.at, now, seconds=True)
        who = "" if event.kind == "alert_opened" else f" by {fmt.literal(event.actor_name)}"
        lines.append(f"{icon} **{fmt.literal(what)}**{who} :gray[{fmt.literal(when)}]")
    if lines:
        st.markdown("  \n".join(lines))
    else:
        st.caption("Nothing has happened to this payment since it was received.")


def labels(found: Iterable[LabelEntry], now: datetime) -> None:
    """Every label ever given, newest first, with its note: a changed mind stays on record."""
    entries = sorted(found, key=lambda entry: entry.label.labelled_at, reverse=True)
    if not entries:
        st.caption("No verdict yet. The model learns from this payment once there is one.")
    for index, entry in enumerate(entries):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            verdict.badge(entry.label.value)
            stands = "stands" if index == 0 else "replaced"
            when = fmt.clock(entry.label.labelled_at, now)
            about = fmt.literal(f"{entry.label.source}, {when}, {stands}")
            st.markdown(f"{fmt.literal(entry.label.labelled_by)} :gray[{about}]")
        if entry.note:
            st.text(entry.note)


def features(t: Transaction) -> None:
    """The numbers the model saw, by name; the exact input of the score above."""
    names = sorted(t.features)
    st.dataframe(
        {"Feature": names, "Value": [t.features[name] for name in names]},
        hide_index=True,
        height="content" if len(names) <= 9 else 320,
        column_config={"Value": st.column_config.NumberColumn(format="%.4g")},
        alt="Feature values as scored",
    )


def moment() -> datetime:
    return datetime.now(UTC)
