"""Transaction: is this payment fraud? Everything known, why it was scored so, and the verdict."""

from __future__ import annotations

from functools import partial

import streamlit as st

from services.access import Actor, Permission
from services.errors import NotFound
from services.transactions import Transaction
from ui import charts, navigation, page, score_parts, transaction_charts, verdict, wiring
from ui import format as fmt
from ui import transaction_parts as parts

SHORTCUTS = (("F", "verdict fraud"), ("G", "verdict genuine"), ("I", "verdict inconclusive"))
KEPT = "decisions cannot be saved, your text is kept"


def show() -> None:
    actor = page.guard(Permission.VIEW_TRANSACTION)
    identifier = st.query_params.get("id", "").strip()
    right = page.header("Is this payment fraud?")
    with right:
        chip = st.container(width="content")
        page.keys(SHORTCUTS)
        st.page_link(navigation.file_of("queue"), label="Queue", icon=":material/arrow_back:")
    with page.content(retry=True):
        if not identifier:
            _ask()
            return
        try:
            read = wiring.last_good(
                ("transaction", identifier), lambda: wiring.services().transactions.get(identifier), ttl=2.0
            )
        except NotFound:
            _not_found(identifier)
            return
        with chip:
            page.chip(page.live(read, parts.moment()))
        page.stale(read, kept=KEPT)
        _draw(read.value, actor, reachable=read.problem is None)


def _ask() -> None:
    """The page without an id: a field, not an error."""
    with st.container(border=True):
        st.markdown("**Which transaction?**")
        wanted = st.text_input(
            "Transaction id", placeholder="Paste a transaction id", label_visibility="collapsed", max_chars=64,
            icon=":material/search:", key="transaction-wanted",
        )  # fmt: skip
        st.caption("Or open one from the queue.")
    if wanted:
        st.query_params["id"] = wanted.strip()
        st.rerun()


def _not_found(identifier: str) -> None:
    page.state(
        "No transaction has this id",
        f"Nothing is known under {fmt.short_id(identifier, keep=40)}. The address may be cut off, or the id mistyped.",
        icon="search_off",
        action=("Go to the queue", navigation.file_of("queue")),
    )


def _draw(t: Transaction, actor: Actor, *, reachable: bool) -> None:
    mapping = wiring.services().transactions.mapping
    _headline(t)
    left, right = st.columns([54, 46], gap="small")
    with left:
        with st.container(border=True):
            _why(t)
        with st.container(border=True):
            st.markdown("**What happened**")
            parts.events(t.events, parts.moment())
            st.markdown("**Verdicts**")
            parts.labels(t.labels, parts.moment())
    with right, st.container(border=True):
        parts.draw_groups(parts.groups(t, mapping), columns=2)
    _customer(t)
    if t.features:
        with st.expander(f"What the model saw ({len(t.features)} features)", icon=":material/data_object:"):
            parts.features(t)
    with st.bottom:
        verdict.bar(t, actor=actor, reachable=reachable, in_line=True)


def _headline(t: Transaction) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        amount = fmt.money(t.amount_minor, t.currency, t.exponent)
        where = parts.where(t, wiring.services().transactions.mapping)
        st.markdown(f"#### {fmt.literal(amount)}{where}", anchors=False, width="content")
        if t.label is not None:
            verdict.badge(t.label.value, by=t.label.labelled_by)
        verdict.due_badge(t, parts.moment())
        st.caption(fmt.literal(fmt.relative(t.event_time, parts.moment())), help=fmt.utc(t.event_time), width="content")
        st.code(t.transaction_id, language=None, width="content")


def _why(t: Transaction) -> None:
    if t.score is None:
        score_parts.not_scored(t)
        return
    score_parts.summary(t.score, key="transaction-scale")
    if not t.score.reasons:
        st.caption("Reasons are kept for scores at or above the review threshold.")
        return
    colors = charts.palette()
    charts.show(
        wiring.drawn(
            ("transaction.reasons", t.transaction_id, t.score.scored_at, colors),
            partial(score_parts.reason_chart, t.score.reasons, colors=colors),
        ),
        key="transaction-reasons",
        alt="Reasons for the score: " + "; ".join(r.text for r in t.score.reasons),
    )


def _customer(t: Transaction) -> None:
    """The customer's own normal: figures, payments over time, where. A failed read takes only this part away."""
    with page.content(), st.container(border=True):
        st.markdown(f"**Customer {fmt.literal(t.customer_id)}**")
        found = wiring.last_good(
            ("customer.profile", t.customer_id, t.currency),
            lambda: wiring.services().transactions.customer_profile(t.customer_id, currency=t.currency),
            ttl=10.0,
        )
        rows = wiring.last_good(
            ("customer.history", t.customer_id, t.event_time),
            lambda: wiring.services().transactions.customer_history(t.customer_id, until=t.event_time, limit=50),
            ttl=10.0,
        ).value
        parts.profile(found.value, t, parts.moment())
        colors = charts.palette()
        home, shop = t.customer.get("home"), t.merchant.get("location")
        placed = transaction_charts.has_place(home) and transaction_charts.has_place(shop)
        cells = st.columns([62, 38] if placed else [1], gap="medium")
        with cells[0]:
            charts.show(
                wiring.drawn(
                    ("transaction.history", t.transaction_id, rows, colors),
                    partial(transaction_charts.history, rows, highlighted=t.transaction_id, colors=colors),
                ),
                key="transaction-history",
                alt="Amounts of this customer's payments over time, this one ringed",
            )
        if placed and home and shop:
            with cells[1]:
                charts.show(
                    wiring.drawn(
                        ("transaction.place", t.transaction_id, colors),
                        partial(transaction_charts.place, home, shop, name="merchant", colors=colors),
                    ),
                    key="transaction-place",
                    alt="Where the payment was made, against the customer's home",
                )
        mapping = wiring.services().transactions.mapping
        parts.history_table(rows, this=t.transaction_id, now=parts.moment(), mapping=mapping)


show()
