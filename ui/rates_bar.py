"""The bar above the fraud rates: what is drawn in one line, what it is restricted to in the next, all kept in the URL.

The URL holds what the options are called on the screen (?rates_range=30d&rates_by=Category), so names are short. An
address that asks for what does not exist is answered with the usual values and one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from services.rates import Bucket, Dimension
from ui import format as fmt
from ui import rates_choice
from ui.rates_choice import BUCKETS, CUSTOM, PRESETS, USUAL_RANGE, Choice, Control
from ui.rates_frames import Measure, Rank

AUTO = "auto"
NO_SPLIT = "none"
Values = Callable[[str], Sequence[str]]
_IGNORED = "rates-ignored"
_ZONE = "rates-zone"


def filter_key(dimension: str) -> str:
    return f"only_{dimension}"


def title_of(dimensions: Sequence[Dimension], key: str) -> str:
    return next((d.title for d in dimensions if d.key == key), fmt.word(key))


def _range_name(key: str) -> str:
    return key if key[:1].isdigit() else fmt.word(key)


def _measure_name(measure: str) -> str:
    return f"By {measure}"


def _rank_name(rank: str) -> str:
    return f"Most {rank}"


def _split_name(dimensions: Sequence[Dimension], key: str, *, none: str) -> str:
    return none if key == NO_SPLIT else title_of(dimensions, key)


def _zone() -> str:
    """The zone in which days begin: the viewer's own unless another is chosen. It is always in the address, so that a
    link opens the same days for everybody; a bound control would leave its first value out.
    """
    viewer = rates_choice.zone_of(st.context.timezone)
    zones = rates_choice.zones(viewer)
    held = st.query_params.get(Control.ZONE)
    if held not in zones:
        held = st.query_params[Control.ZONE] = viewer
    st.session_state[_ZONE] = held
    st.selectbox(
        "Time zone", zones, key=_ZONE, width=190, label_visibility="collapsed", icon=":material/schedule:",
        help="Days, weeks and months begin at midnight of this zone.", on_change=_take_zone,
    )  # fmt: skip
    return held


def _take_zone() -> None:
    st.query_params[Control.ZONE] = st.session_state[_ZONE]


def bar(dimensions: Sequence[Dimension], values: Values, *, now: datetime) -> Choice:
    """Draws its three lines and answers what they hold. `values` lists the values of a dimension."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        span, middle = (
            st.container(horizontal=True, width="content", gap="small", vertical_alignment="center") for _ in range(2)
        )
        zone = _zone()
        with span:
            start, end = _range(zone, now)
        with middle:
            bucket, measure = _bucket(start, end), Measure.COUNT if fmt.several() else _measure()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        split, rank = _splits(dimensions)
        st.space("stretch")
        compare, band = _extras(split)
    shown = rates_choice.readable_bucket(bucket, start, end)
    return Choice(
        start=start,
        end=end,
        bucket=shown,
        zone=zone,
        measure=measure,
        dimensions=split,
        filters=_filters(dimensions, values),
        rank=rank,
        compare=compare,
        band=band,
        coarser=bucket if shown != bucket else None,
    )


def _range(zone: str, now: datetime) -> tuple[datetime, datetime]:
    preset = st.segmented_control(
        "Range", [*PRESETS, CUSTOM], default=USUAL_RANGE, required=True, key=Control.RANGE, bind="query-params",
        format_func=_range_name, label_visibility="collapsed",
    )  # fmt: skip
    preset = preset or USUAL_RANGE
    if preset == CUSTOM:
        today = now.astimezone(ZoneInfo(zone)).date()
        usual = rates_choice.bounded((), today=today)
        held = st.date_input(
            "From and to", usual, max_value=today, key=Control.DATES, bind="query-params", format="YYYY-MM-DD",
            label_visibility="collapsed", width=230,
        )  # fmt: skip
        days = rates_choice.bounded(held if isinstance(held, tuple) else (held,), today=today)
        return rates_choice.between(*days, zone=zone)
    if preset == "24h":
        return rates_choice.last_24_hours(now)
    return rates_choice.last_days(PRESETS[preset], now=now, zone=zone)


def _bucket(start: datetime, end: datetime) -> Bucket:
    usual = rates_choice.usual_bucket(start, end)
    held = st.selectbox(
        "Bucket", [AUTO, *BUCKETS], key=Control.BUCKET, bind="query-params", width=132, filter_mode=None,
        format_func=lambda key: fmt.word(key), label_visibility="collapsed", icon=":material/timeline:",
        help=f"What one point stands for. Auto takes a readable number of points: here a {usual} each.",
    )  # fmt: skip
    return next((bucket for bucket in BUCKETS if bucket == held), usual)


def _splits(dimensions: Sequence[Dimension]) -> tuple[tuple[str, ...], Rank]:
    keys = [dimension.key for dimension in dimensions]
    first = st.selectbox(
        "Break down by", [NO_SPLIT, *keys], key=Control.BY, bind="query-params", width=190, filter_mode=None,
        format_func=lambda d: _split_name(dimensions, d, none="No breakdown"),
        label_visibility="collapsed", icon=":material/stacked_line_chart:",
    )  # fmt: skip
    if first in (None, NO_SPLIT):
        return (), Rank.FRAUD
    second = st.selectbox(
        "And by", [NO_SPLIT, *(key for key in keys if key != first)], key=Control.AND, bind="query-params", width=190,
        format_func=lambda d: _split_name(dimensions, d, none="And by …"), label_visibility="collapsed",
        filter_mode=None, icon=":material/grid_on:",
    )  # fmt: skip
    rank = st.selectbox(
        "Shown by name", [rank.value for rank in Rank], key=Control.RANK, bind="query-params", width=150,
        format_func=_rank_name, label_visibility="collapsed", filter_mode=None,
        help="Which values are drawn by name; the rest is summed as Other.",
    )  # fmt: skip
    return (first,) if second in (None, NO_SPLIT) else (first, second), Rank(rank or Rank.FRAUD)


def _measure() -> Measure:
    held = st.segmented_control(
        "Measure", list(Measure), default=Measure.VALUE, required=True, key=Control.MEASURE, bind="query-params",
        format_func=_measure_name, label_visibility="collapsed",
    )  # fmt: skip
    return Measure(held or Measure.VALUE)


def _extras(split: tuple[str, ...]) -> tuple[bool, bool]:
    """Compare with the former period; draw the interval (there is none in a table of pairs)."""
    compare = st.toggle(
        "Former period", key="rates_compare", bind="query-params",
        help="Compare with the same length of time right before: dashed in the chart, signed changes in the figures.",
    )  # fmt: skip
    band = len(split) < 2 and st.toggle(
        "95 % band", value=True, key="rates_band", bind="query-params",
        help="Where the true rate lies with 95 % confidence; Wilson's interval for the rate by count.",
    )  # fmt: skip
    return compare, band


def _filters(dimensions: Sequence[Dimension], values: Values) -> dict[str, tuple[str, ...]]:
    """One line that says what is applied; one click clears it."""
    filters: dict[str, tuple[str, ...]] = {}
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(":gray[:material/filter_alt:]", width="content")
        for dimension in dimensions:
            held = _filter(dimension, values(dimension.key))
            if held:
                filters[dimension.key] = held
        if filters:
            st.button(
                f"Clear {len(filters)}", key="rates-clear", type="tertiary", icon=":material/filter_alt_off:",
                on_click=_clear, args=(tuple(d.key for d in dimensions),), help="Remove all filters",
            )  # fmt: skip
    return filters


def _filter(dimension: Dimension, values: Sequence[str]) -> tuple[str, ...]:
    """A button that says what it restricts to; the values are behind it."""
    key = filter_key(dimension.key)
    # Before its first drawing what is chosen is known from the address only, in the words of the screen.
    held = [value for value in st.session_state.get(key) or [] if isinstance(value, str)]
    said = (
        [rates_choice.value_words(value) for value in held] if key in st.session_state else st.query_params.get_all(key)
    )
    face = dimension.title + (f": {said[0] if len(said) == 1 else len(said)}" if said else "")
    with st.popover(face, key=f"{key}-open", type="primary" if said else "secondary"):
        picked = st.pills(
            f"Only {dimension.title.lower()}", list(dict.fromkeys((*values, *held))), selection_mode="multi", key=key,
            bind="query-params", format_func=rates_choice.value_words, width=300,
        )  # fmt: skip
    return tuple(picked or ())


def _clear(dimensions: Sequence[str]) -> None:
    for dimension in dimensions:
        st.session_state[filter_key(dimension)] = []


def check_address(dimensions: Sequence[Dimension], values: Values) -> None:
    """Before the bar is drawn for an address that came from outside: note what of it does not exist.

    The framework drops such values without a word; the sentence stays until something else is chosen.
    """
    address = {word: st.query_params.get_all(word) for word in st.query_params}
    titles = {d.title for d in dimensions}
    zones = rates_choice.zones("UTC")
    allowed = {
        Control.RANGE.value: ("range", {_range_name(key) for key in (*PRESETS, CUSTOM)}),
        Control.BUCKET.value: ("bucket", {fmt.word(key) for key in (AUTO, *BUCKETS)}),
        Control.MEASURE.value: ("measure", {_measure_name(m) for m in Measure}),
        Control.BY.value: ("breakdown", titles | {"No breakdown"}),
        Control.AND.value: ("second breakdown", (titles - set(address.get(Control.BY, ()))) | {"And by …"}),
        Control.RANK.value: ("order", {_rank_name(rank) for rank in Rank}),
        Control.ZONE.value: ("time zone", set(zones) | {rates_choice.zone_of(st.context.timezone)}),
    }
    for dimension in dimensions:
        if known := {rates_choice.value_words(value) for value in values(dimension.key)}:
            allowed[filter_key(dimension.key)] = (dimension.title.lower(), known)
    found = rates_choice.unknown(address, allowed)
    if "rates_point" in address and rates_choice.point_from(address["rates_point"]) is None:
        found.append("a point in the chart")
        del st.query_params["rates_point"]
    if found:
        st.session_state[_IGNORED] = (rates_choice.fell_back(found), None)


def ignored(choice: Choice) -> None:
    """The sentence about the address, until the view is changed."""
    held = st.session_state.get(_IGNORED)
    if held is None:
        return
    sentence, of = held
    if of is not None and of != choice:
        del st.session_state[_IGNORED]
        return
    st.session_state[_IGNORED] = (sentence, choice)
    st.caption(f":orange[:material/link_off:] {fmt.literal(sentence)}")
