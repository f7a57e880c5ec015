"""The transactions behind a point, beside the chart: newest first, a page at a time, each a link to its own screen."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from services.rates import DrillDown, RatesQuery
from ui import format as fmt
from ui import page, rates_export, wiring
from ui.rates_choice import Choice, Point, bucket_words, key_of, range_words, value_words
from ui.rates_frames import ALL

PAGE_SIZE = 100
HEIGHT = 246
ADDRESS = "rates_point"
ONLY_FRAUD = "rates_fraud"
_PAGES = "rates-drill-pages"


def open_at(point: Point) -> None:
    """Put the point into the address: whoever opens it sees the same transactions."""
    st.query_params[ADDRESS] = point.to_address()


def close() -> None:
    st.query_params.pop(ADDRESS, None)
    st.session_state.pop(_PAGES, None)


def title(choice: Choice, point: Point) -> str:
    """'Week of 12 Oct 2026, Ecom, DE'."""
    if point.bucket is None:
        when = range_words(choice.start, choice.end, choice.zone)
    else:
        when = bucket_words(point.bucket, choice.bucket, choice.zone)
    return ", ".join([when, *(value_words(value) for value in (point.first, point.second) if value != ALL)])


def _load(query: RatesQuery, only_fraud: bool, cursor: str | None, limit: int) -> DrillDown:
    return wiring.services().rates.transactions(query, only_fraud=only_fraud, limit=limit, cursor=cursor)


def draw(choice: Choice, point: Point, query: RatesQuery) -> None:
    """The panel; `query` is what `ui.rates_choice.behind` makes of the point."""
    with st.container(border=True, gap="xsmall", key="rates-drill"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{fmt.literal(title(choice, point))}**", width="stretch")
            st.button(
                "Close", key="rates-drill-close", icon=":material/close:", type="tertiary", on_click=close,
                help="Back to the chart alone",
            )  # fmt: skip
        tools = st.container(horizontal=True, vertical_alignment="center", gap="small")
        with tools:
            only_fraud = st.toggle("Only fraud", key=ONLY_FRAUD, bind="query-params")
            st.space("stretch")
        with page.content():
            _rows(choice, query, only_fraud=bool(only_fraud), tools=tools)


def _rows(choice: Choice, query: RatesQuery, *, only_fraud: bool, tools: Any) -> None:
    of = (key_of(query), only_fraud)
    cursors: list[str | None] = _cursors(of)
    key = ("rates.transactions", *of, cursors[-1])
    with st.skeleton(HEIGHT):
        read = wiring.last_good(
            key, partial(_load, query, only_fraud, cursors[-1], PAGE_SIZE), ttl=15.0, source="S3", background=True
        )
    page.stale(read, in_line=True)
    found = read.value
    with tools:
        rates_export.transactions(lambda cursor, limit: _load(query, only_fraud, cursor, limit), choice)
    if found.frame.empty:
        hint = "None of them is labelled fraud so far." if only_fraud else "The lake has none for this point."
        page.empty("No transactions", hint)
        return
    _table(found.frame, choice)
    _pager(found, cursors, of)


def _cursors(of: object) -> list[str | None]:
    """The cursors that led to this page; another point begins at its first one."""
    held = st.session_state.get(_PAGES)
    if held is None or held[0] != of:
        held = st.session_state[_PAGES] = (of, [None])
    return list(held[1])


def _go(of: object, cursors: list[str | None]) -> None:
    st.session_state[_PAGES] = (of, cursors)


def _pager(found: DrillDown, cursors: list[str | None], of: object) -> None:
    first = (len(cursors) - 1) * PAGE_SIZE + 1
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"{first:,} to {first + len(found.frame) - 1:,} of {fmt.count(found.matching)}, newest first",
            width="stretch",
        )
        st.button(
            "Previous", key="rates-drill-previous", icon=":material/chevron_left:", type="tertiary",
            disabled=len(cursors) == 1, on_click=_go, args=(of, cursors[:-1] or [None]),
        )  # fmt: skip
        st.button(
            "Next", key="rates-drill-next", icon=":material/chevron_right:", icon_position="right", type="tertiary",
            disabled=found.next_cursor is None, on_click=_go, args=(of, [*cursors, found.next_cursor]),
        )  # fmt: skip


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """What a person reads of each transaction; an unscored or undecided one says so with an empty cell. Where nothing
    has a merchant's name, as in most data of one's own, it is who paid."""
    whom = "merchant_name" if frame["merchant_name"].notna().any() else "customer_id"
    return pd.DataFrame(
        {
            "open": [f"/transaction?id={identifier}" for identifier in frame["transaction_id"]],
            "event_time": frame["event_time"],
            "amount": [
                fmt.money(int(minor), currency, fmt.exponent_of(currency))
                for minor, currency in zip(frame["amount_minor"], frame["currency"], strict=True)
            ],
            whom: frame[whom],
            "label": [fmt.word(label) if isinstance(label, str) else None for label in frame["label"]],
            "score": frame["score"],
        }
    )


def _table(frame: pd.DataFrame, choice: Choice) -> None:
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    st.dataframe(
        shown(frame),
        hide_index=True,
        height=HEIGHT,
        row_height=32,
        key="rates-drill-table",
        placeholder=fmt.MISSING,
        column_config={
            "open": st.column_config.LinkColumn("", display_text=":material/open_in_new:", width=34, help="Open"),
            "event_time": st.column_config.DatetimeColumn(
                "Time", timezone=choice.zone, format="D MMM HH:mm", width=92, help=f"Time of payment, {choice.zone}"
            ),
            "amount": text("Amount", alignment="right", width=80),
            "merchant_name": text("Merchant", width=106),
            "customer_id": text("Customer", width=106),
            "label": text("Label", width=62),
            "score": number("Score", format="%.3f", width=52),
        },
        alt="The transactions behind the point, newest first, each with a link to its own screen",
    )
