"""The bar above the fraud rates: range, bucket, measure, breakdown and one filter a dimension, all kept in the URL.

The URL holds what the options are called on the screen (?rates_range=30d&rates_by=Category), so names are short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import streamlit as st

from services.rates import Bucket
from ui import format as fmt
from ui.rates_frames import Measure, Range, last_days, usual_bucket

RANGES: dict[str, int] = {"7d": 7, "30d": 30, "90d": 90, "150d": 150}
CUSTOM = "custom"
USUAL_RANGE = "150d"
BUCKETS: tuple[Bucket, ...] = ("day", "week", "month")
NO_SPLIT = "none"
# One query reads at most this many days; the lake's hourly table would answer more, a chart would not show it.
MAX_DAYS = 731
KEYS = ("rates_range", "rates_dates", "rates_bucket", "rates_measure", "rates_by")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the bar says. `bucket` None means the usual one for the range; `filters` holds only what is restricted."""

    range: Range
    bucket: Bucket
    measure: Measure
    dimension: str | None
    filters: dict[str, tuple[str, ...]]

    @property
    def filtered(self) -> int:
        return len(self.filters)


def dimension_name(dimension: str) -> str:
    return {"country": "Merchant country", "segment": "Customer segment"}.get(dimension, fmt.word(dimension))


def _short_name(dimension: str) -> str:
    return {"segment": "Segment", "amount_band": "Amount"}.get(dimension, fmt.word(dimension))


def filter_key(dimension: str) -> str:
    return f"rates_{dimension}"


def _clear(dimensions: Sequence[str]) -> None:
    for dimension in dimensions:
        st.session_state[filter_key(dimension)] = []


def bar(dimensions: Sequence[str], values: Callable[[str], Sequence[str]], *, today: date) -> Choice:
    """Draws the bar in two lines and answers what it holds. `values` lists the values of a dimension."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        preset = st.segmented_control(
            "Range", [*RANGES, CUSTOM], default=USUAL_RANGE, required=True, key="rates_range", bind="query-params",
            format_func=lambda key: "Custom" if key == CUSTOM else key, label_visibility="collapsed",
        )  # fmt: skip
        chosen = _dates(today) if preset == CUSTOM else last_days(RANGES[preset or USUAL_RANGE], today=today)
        bucket = st.segmented_control(
            "Bucket", ["auto", *BUCKETS], default="auto", required=True, key="rates_bucket", bind="query-params",
            format_func=fmt.word, label_visibility="collapsed",
            help="Auto takes days up to a month, weeks up to half a year, then months.",
        )  # fmt: skip
        measure = st.segmented_control(
            "Measure", [m.value for m in Measure], default=Measure.VALUE.value, required=True, key="rates_measure",
            bind="query-params", format_func=lambda m: f"By {m}", label_visibility="collapsed",
        )  # fmt: skip
        split = st.selectbox(
            "Break down by", [NO_SPLIT, *dimensions], key="rates_by", bind="query-params", width=230,
            format_func=lambda d: "No breakdown" if d == NO_SPLIT else dimension_name(d),
            label_visibility="collapsed", icon=":material/stacked_line_chart:",
        )  # fmt: skip
    filters = _filters(dimensions, values)
    return Choice(
        range=chosen,
        bucket=next((b for b in BUCKETS if b == bucket), usual_bucket(chosen.days)),
        measure=Measure(measure or Measure.VALUE),
        dimension=None if split in (None, NO_SPLIT) else split,
        filters=filters,
    )


def _dates(today: date) -> Range:
    """Two days at most MAX_DAYS apart; while only one is chosen the range is that day."""
    usual = last_days(30, today=today)
    held = st.date_input(
        "From and to", (usual.start, usual.end), max_value=today, key="rates_dates", bind="query-params",
        format="YYYY-MM-DD", label_visibility="collapsed", width=240,
    )  # fmt: skip
    return bounded(held if isinstance(held, tuple) else (held,), usual=usual)


def bounded(held: Sequence[date | None], *, usual: Range) -> Range:
    """The range that a date field holds: one day stands for itself, none for `usual`, too long is cut at its start."""
    days = [day for day in held if day is not None]
    if not days:
        return usual
    start, end = min(days), max(days)
    too_long = (end - start).days >= MAX_DAYS
    return Range(end.fromordinal(end.toordinal() - MAX_DAYS + 1) if too_long else start, end)


def _filters(dimensions: Sequence[str], values: Callable[[str], Sequence[str]]) -> dict[str, tuple[str, ...]]:
    filters: dict[str, tuple[str, ...]] = {}
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        for dimension in dimensions:
            name = _short_name(dimension)
            held = st.multiselect(
                dimension_name(dimension), list(values(dimension)), key=filter_key(dimension), bind="query-params",
                placeholder=name, label_visibility="collapsed", width=138, wrap=False, format_func=shown,
            )  # fmt: skip
            if held:
                filters[dimension] = tuple(held)
        st.button(
            "Clear" if not filters else f"Clear {len(filters)}",
            key="rates-clear",
            type="tertiary",
            icon=":material/filter_alt_off:",
            disabled=not filters,
            on_click=_clear,
            args=(tuple(dimensions),),
            help="Remove all filters",
        )
    return filters


def shown(value: str) -> str:
    """Codes as words; bands, countries and anything with digits as they are."""
    return fmt.word(value) if value.islower() and value.replace("_", "").isalpha() else value
