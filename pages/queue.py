"""Queue: which alerts need a verdict first?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from services.access import Actor, Permission
from services.errors import ServiceError
from services.transactions import COUNT_CAP, Facets, QueueCounts, QueueFilter, QueuePage, QueueView, Sort
from ui import alert_panel, export, page, queue_filters, queue_state, queue_table, wiring
from ui import format as fmt
from ui.live_table import Standing

PAGE_SIZE = 50
KEPT = "decisions cannot be saved, your text is kept"
SHORTCUTS = (
    ("J / K", "next / previous alert"),
    ("F", "verdict fraud"),
    ("G", "verdict genuine"),
    ("I", "verdict inconclusive"),
    ("N", "let new rows in"),
    ("Esc", "leave a field, close a menu"),
)


@st.fragment(run_every="3s", key="queue-board")
def board() -> None:
    actor = page.guard(Permission.VIEW_QUEUE)
    head = st.container()
    with page.content():
        _draw(actor, head)


def _header(view: QueueView, freshness: page.Freshness) -> None:
    with page.header(queue_filters.TITLES[view], freshness=freshness):
        page.keys(SHORTCUTS)


def _draw(actor: Actor, head: DeltaGenerator) -> None:
    summary = st.container()
    top = st.container(horizontal=True, vertical_alignment="center")
    with top:
        view, sort = queue_filters.view_bar(queue_state.filters_changed)
        tools = st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center")
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        mapping = wiring.services().transactions.mapping
        chosen = queue_filters.filter_bar(view, sort, _facets(), queue_state.filters_changed, mapping)
    filters = chosen.filters(queue_state.as_of())
    cursor = queue_state.cursor()
    try:
        read = _page(filters, sort, cursor)
    except ServiceError as error:
        with head:
            _header(view, page.unreadable(error))
        raise
    counts = _counts(filters)
    with head:
        _header(view, page.live(read, datetime.now(UTC)))
    with summary:
        if read.problem is None:
            _summary(counts.value)
        else:  # in the place of the figures, so that the rows below do not move
            page.stale(read, kept=KEPT, in_line=True)
    shown = queue_state.standing((filters, sort, cursor), read.value)
    with tools:
        _tools(filters, sort, newer=_newer(filters) if read.problem is None else 0)
    if not shown.rows:
        _empty(view, narrowed=chosen.narrowed)
        return
    left, panel = st.columns([66, 34], gap="small")
    with left:
        _grid(view, shown)
        _pager(read.value, counts.value.matching, len(shown.rows))
    with panel, st.container(border=True, height=alert_panel.HEIGHT, gap="small"):
        identifier = queue_state.selected()
        with page.content():
            alert_panel.draw(identifier, actor=actor, on_page=identifier in shown.ids, waiting=len(shown.rows))


def _page(filters: QueueFilter, sort: Sort, cursor: str | None) -> wiring.Read[QueuePage]:
    def load() -> QueuePage:
        return wiring.services().transactions.page(filters, sort=sort, cursor=cursor, limit=PAGE_SIZE)

    return wiring.last_good(("queue.page", filters, sort, cursor), load, ttl=2.0)


def _counts(filters: QueueFilter) -> wiring.Read[QueueCounts]:
    return wiring.last_good(
        ("queue.counts", filters), lambda: wiring.services().transactions.counts(filters), ttl=3.0, background=True
    )


def _newer(filters: QueueFilter) -> int:
    since = filters.before_or_at or datetime.now(UTC)
    waiting = replace(filters, before_or_at=None)
    load = partial(_count_newer, waiting, since)
    return wiring.last_good(("queue.newer", waiting, since), load, ttl=2.0, background=True).value


def _count_newer(filters: QueueFilter, since: datetime) -> int:
    return wiring.services().transactions.newer(filters, since=since)


def _facets() -> Facets:
    """The values to choose from; without them the bar still works, with what the URL names."""
    try:
        return wiring.last_good(
            ("queue.facets",), lambda: wiring.services().transactions.facets(), ttl=60.0, background=True
        ).value
    except ServiceError:
        return Facets((), (), ())


def _summary(counts: QueueCounts) -> None:
    """The desk in one line: what waits, what is at stake, what is late."""
    figures = (
        (fmt.count(counts.open_alerts), "open alerts", "Alerts of the whole desk that wait for a verdict."),
        (fmt.sums(counts.at_risk), "at risk", "Sum of the open alerts' amounts, each currency apart."),
        (fmt.count(counts.overdue), "overdue", "Open alerts past the time promised for their verdict."),
        (fmt.count(counts.unscored), "not scored", "Payments that have waited for a score for more than 10 seconds."),
    )
    with st.container(horizontal=True, gap="medium"):
        for value, name, meaning in figures:
            st.markdown(f"**{fmt.literal(value)}** :gray[{name}]", help=meaning, width="content")


def _tools(filters: QueueFilter, sort: Sort, *, newer: int) -> None:
    if newer:
        st.button(
            f"{fmt.count(newer, cap=999)} new", key="queue-new", icon=":material/arrow_upward:", type="primary",
            shortcut="N", on_click=queue_state.show_newest, help="Show what arrived since these rows were read.",
        )  # fmt: skip
    st.download_button(
        "Export", partial(export.queue_csv, wiring.services().transactions, filters, sort),
        file_name=f"fraud-desk-{filters.view}-{datetime.now(UTC):%Y%m%d-%H%M}.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="queue-export",
        help=f"These rows as CSV, at most {export.MAX_EXPORT_ROWS:,}.",
    )  # fmt: skip


def _grid(view: QueueView, shown: Standing) -> None:
    mapping = wiring.services().transactions.mapping
    order, config = queue_table.columns(view, shown, mapping)
    queue_state.put_selection(shown)
    st.dataframe(
        queue_table.table(shown, now=datetime.now(UTC), verdicts=queue_state.verdicts(), mapping=mapping),
        key=queue_state.GRID,
        on_select=queue_state.take_selection,
        selection_mode="single-row",
        hide_index=True,
        column_order=order,
        column_config=config,
        height=alert_panel.HEIGHT - 56,
        row_height=32,
        alt=f"{queue_filters.VIEWS[view]}, one transaction a row",
    )


def _pager(read: QueuePage, matching: int, rows: int) -> None:
    number = queue_state.page_number()
    with st.container(horizontal=True, vertical_alignment="center"):
        place = f"Page {number} · " if number else ""
        st.caption(f"{place}{rows} of {fmt.count(matching, cap=COUNT_CAP)} rows", width="stretch")
        st.button(
            "Previous", key="queue-previous", icon=":material/chevron_left:", type="tertiary",
            disabled=queue_state.cursor() is None, on_click=queue_state.previous_page,
        )  # fmt: skip
        st.button(
            "Next", key="queue-next", icon=":material/chevron_right:", icon_position="right", type="tertiary",
            disabled=read.next_cursor is None, on_click=queue_state.next_page, args=(read.next_cursor,),
        )  # fmt: skip


def _empty(view: QueueView, *, narrowed: bool) -> None:
    if narrowed:
        page.empty("Nothing matches these filters", "Clear them, or widen one: the bar above says what is applied.")
    elif view is QueueView.OPEN_ALERTS:
        page.empty("No open alerts", "Every alert has a verdict. New ones appear here within seconds of their score.")
    elif view is QueueView.DECIDED:
        page.empty("No verdicts yet", "Transactions appear here once an analyst has decided them.")
    else:
        page.empty("No transactions yet", "They appear here as soon as the front door accepts the first one.")


board()
