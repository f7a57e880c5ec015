"""The queue's filter bar. Every control is bound to the URL, so an address is a view; `clear` empties it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from services.domain.mapping_parts import Mapping
from services.domain.own_columns import own_columns
from services.domain.states import Decision
from services.transactions import Facets, QueueFilter, QueueView, Sort
from ui import format as fmt

VIEWS = {QueueView.OPEN_ALERTS: "Open alerts", QueueView.ALL: "All transactions", QueueView.DECIDED: "Decided"}
TITLES = {
    QueueView.OPEN_ALERTS: "Which alerts need a verdict first?",
    QueueView.ALL: "What was paid, and how was it scored?",
    QueueView.DECIDED: "What was decided?",
}
SORTS = {Sort.RISK: "Riskiest first", Sort.NEWEST: "Newest first", Sort.VALUE: "Largest first", Sort.DUE: "Due first"}
PERIODS: dict[str, tuple[str, timedelta | None]] = {
    "any": ("Any time", None),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
_EMPTY: dict[str, Any] = {
    "q_search": "", "q_channel": [], "q_category": [], "q_country": [], "q_decision": [], "q_min": None, "q_max": None,
    "q_period": "any",
}  # fmt: skip
_OWN = "q_own_"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the person asked for; the moment is added when a page is read (`filters`)."""

    view: QueueView
    sort: Sort
    search: str
    channels: tuple[str, ...]
    categories: tuple[str, ...]
    countries: tuple[str, ...]
    decisions: tuple[str, ...]
    min_amount: float | None
    max_amount: float | None
    period: str
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def narrowed(self) -> bool:
        lists = self.channels or self.categories or self.countries or self.decisions or self.own
        amounts = self.min_amount is not None or self.max_amount is not None
        return bool(self.search or lists or amounts or self.period != "any")

    def filters(self, as_of: datetime) -> QueueFilter:
        """Amounts are typed in major units of the currency of totals; the period ends at `as_of`."""
        span = PERIODS[self.period][1]
        return QueueFilter(
            view=self.view,
            search=self.search,
            channels=self.channels,
            categories=self.categories,
            countries=self.countries,
            decisions=self.decisions,
            min_amount_minor=None if self.min_amount is None else fmt.minor(self.min_amount),
            max_amount_minor=None if self.max_amount is None else fmt.minor(self.max_amount),
            since=as_of - span if span else None,
            before_or_at=as_of,
            own=self.own,
        )


def clear() -> None:
    for key, value in _EMPTY.items():
        st.session_state[key] = value
    for key in st.session_state:
        if isinstance(key, str) and key.startswith(_OWN) and not key.endswith("_popover"):
            st.session_state[key] = []


def view_bar(on_change: Callable[[], None]) -> tuple[QueueView, Sort]:
    """Which list, in which order. Only open alerts have a due time."""
    view = st.segmented_control(
        "View", list(QueueView), format_func=lambda v: VIEWS[v], default=QueueView.OPEN_ALERTS, required=True,
        key="q_view", bind="query-params", on_change=on_change, label_visibility="collapsed",
    )  # fmt: skip
    view = QueueView(view or QueueView.OPEN_ALERTS)
    orders = [s for s in Sort if view is QueueView.OPEN_ALERTS or s is not Sort.DUE]
    sort = st.selectbox(
        "Order", orders, format_func=lambda s: SORTS[s], key="q_sort", bind="query-params", on_change=on_change,
        label_visibility="collapsed", width=150, filter_mode=None,
    )  # fmt: skip
    return view, Sort(sort or Sort.RISK)


def _searched(mapping: Mapping | None) -> str:
    """What can be found; data of one's own seldom have a card's last digits."""
    return "Id of anything, or a card's last 4" if mapping is None else "Id of anything"


def filter_bar(
    view: QueueView, sort: Sort, facets: Facets, on_change: Callable[[], None], mapping: Mapping | None = None
) -> Chosen:
    """One line of controls; each says on its face what it restricts to. `mapping`: of data of one's own."""
    search = st.text_input(
        "Search", key="q_search", bind="query-params", placeholder=_searched(mapping),
        type="search", icon=":material/search:", label_visibility="collapsed", width=270, max_chars=64,
        on_change=on_change,
    )  # fmt: skip
    channels = _choice("Channel", "q_channel", facets.channels, on_change)
    categories = _choice("Category", "q_category", facets.categories, on_change)
    countries = _choice("Country", "q_country", facets.countries, on_change)
    own = _own(facets, mapping, on_change)
    decisions = _choice("Decision", "q_decision", tuple(str(d) for d in Decision), on_change)
    low, high = _amounts(on_change)
    period = _period(on_change)
    words = (search or "").strip()
    chosen = Chosen(view, sort, words, channels, categories, countries, decisions, low, high, period, own)
    if chosen.narrowed:
        st.button("Clear", key="q_clear", icon=":material/close:", type="tertiary", on_click=_clear_then(on_change))
    return chosen


def _own(
    facets: Facets, mapping: Mapping | None, on_change: Callable[[], None]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The categories of data of one's own, under their titles."""
    known = dict(facets.own)
    picked = {
        column.key: _choice(column.title, _OWN + column.key, known.get(column.key, ()), on_change, word=str)
        for column in own_columns(mapping)
        if not column.entity
    }
    return tuple((key, values) for key, values in picked.items() if values)


def _clear_then(on_change: Callable[[], None]) -> Callable[[], None]:
    def act() -> None:
        clear()
        on_change()

    return act


def face(name: str, values: Sequence[str], word: Callable[[str], str] = fmt.word) -> str:
    """'Channel', 'Channel: ecom', 'Channel: 3'."""
    if not values:
        return name
    return f"{name}: {word(values[0]) if len(values) == 1 else len(values)}"


def _choice(
    name: str,
    key: str,
    options: tuple[str, ...],
    on_change: Callable[[], None],
    word: Callable[[str], str] | None = None,
) -> tuple[str, ...]:
    """`word` says how a value is written; those of data of one's own stay as they are."""
    now = [v for v in st.session_state.get(key) or [] if isinstance(v, str)]
    known = tuple(dict.fromkeys((*options, *now)))
    if not known:
        return ()  # data of one's own need not have it at all
    # Before the first drawing what is chosen is known from the address only, in the words of the screen.
    said = now if key in st.session_state else st.query_params.get_all(key)
    with st.popover(face(name, said, word or fmt.word), key=f"{key}_popover"):
        picked = st.pills(
            name, known, selection_mode="multi", key=key, bind="query-params", on_change=on_change,
            format_func=word or _label, width=280,
        )  # fmt: skip
    return tuple(picked or ())


def _label(value: str) -> str:
    return value if value.isupper() else fmt.word(value)


def _amounts(on_change: Callable[[], None]) -> tuple[float | None, float | None]:
    low, high = st.session_state.get("q_min"), st.session_state.get("q_max")
    name = "Amount"
    if low is not None or high is not None:
        name = f"Amount: {low or 0:,.0f} to {high:,.0f}" if high is not None else f"Amount: from {low:,.0f}"
    with st.popover(name, key="q_amount_popover"):
        low = st.number_input(
            "At least (major units)", min_value=0.0, value=None, step=50.0, format="%.2f", key="q_min",
            bind="query-params", on_change=on_change,
        )  # fmt: skip
        high = st.number_input(
            "At most (major units)", min_value=0.0, value=None, step=50.0, format="%.2f", key="q_max",
            bind="query-params", on_change=on_change,
        )  # fmt: skip
    return low, high


def _period(on_change: Callable[[], None]) -> str:
    now = st.session_state.get("q_period") or "any"
    with st.popover(PERIODS.get(now, PERIODS["any"])[0], key="q_period_popover"):
        period = st.radio(
            "Time of payment", list(PERIODS), format_func=lambda p: PERIODS[p][0], key="q_period", bind="query-params",
            on_change=on_change,
        )  # fmt: skip
    return period or "any"
