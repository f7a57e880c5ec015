"""Fraud over time by any dimension, from the lake in S3 only: rates, what is behind each point, and the files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go
import streamlit as st

from services.access import Permission
from services.errors import ServiceError
from services.rates import Dimension, RatesQuery, RatesResult
from ui import charts, page, rates_bar, rates_choice, rates_drill, rates_export, rates_headline, rates_table, wiring
from ui.rates_choice import Choice, Point
from ui.rates_view import View, draw_figure, notes

TITLE = "Where does fraud happen, and does it rise?"
TTL_SECONDS = 15.0


def _dimensions() -> tuple[Dimension, ...]:
    return wiring.last_good(
        ("rates.dimensions",), lambda: wiring.services().rates.dimensions(), ttl=300.0, source="S3", background=True
    ).value


def _values(dimension: str) -> tuple[str, ...]:
    """Values to filter by; none while S3 never answered, so that the bar still stands."""
    try:
        return wiring.last_good(
            ("rates.values", dimension),
            lambda: wiring.services().rates.values(dimension),
            ttl=120.0,
            source="S3",
            background=True,
        ).value
    except ServiceError:
        return ()


def _read(query: RatesQuery) -> wiring.Read[RatesResult]:
    return wiring.last_good(
        ("rates.table", *rates_choice.key_of(query)),
        lambda: wiring.services().rates.table(query),
        ttl=TTL_SECONDS,
        source="S3",
        background=True,
    )


def _freshness(read: wiring.Read[RatesResult], now: datetime) -> page.Freshness:
    chip = page.current_to(read.value.current_to, now, problem=read.problem)
    snapshot = f" Lake snapshot {read.value.snapshot_id}." if read.value.snapshot_id is not None else ""
    return page.Freshness(chip.state, chip.text, f"{chip.help}{'' if chip.help.endswith('.') else '.'}{snapshot}")


def _view(choice: Choice, read: wiring.Read[RatesResult]) -> View:
    """What is drawn: the frame, and the former period's where it is compared."""
    former, before = None, None
    if choice.compare:
        before = wiring.services().rates.former(choice.query())
        former = _read(before).value
    return View(choice, read.value, before, former)


def _point(choice: Choice) -> Point | None:
    """The point of the address; one that the view does not have any more is closed."""
    point = rates_choice.point_from(st.query_params.get_all(rates_drill.ADDRESS))
    if point is not None and not rates_choice.fits(choice, point):
        rates_drill.close()
        return None
    return point


def _picked() -> None:
    """A click in the chart: its point into the address. A click beside the points changes nothing."""
    points = st.session_state[rates_export.CHART]["selection"]["points"]
    held = next((point["customdata"] for point in points if point.get("customdata")), None)
    if held is None:
        return
    start, *values = held
    moment = None if start == rates_choice.WHOLE_RANGE else datetime.fromisoformat(start)
    rates_drill.open_at(Point(moment, *values))


def _chart(figure: go.Figure, view: View, dimensions: Sequence[Dimension]) -> None:
    picture = {**charts.CONFIG["toImageButtonOptions"], "filename": rates_export.name_of(view.choice)}
    st.plotly_chart(
        figure,
        key=rates_export.CHART,
        width="stretch",
        config={**charts.CONFIG, "toImageButtonOptions": picture},
        alt=f"{view.title(dimensions)}, {view.words}; the numbers are in the table beneath",
        on_select=_picked,
        selection_mode="points",
        theme=None,
    )


def _answer(view: View, dimensions: Sequence[Dimension], point: Point | None) -> None:
    rates_headline.draw(view.totals, view.headline_former(), view.words)
    left, right = st.columns([53, 47], gap="small") if point else (st.container(), None)
    with left:
        figure = wiring.drawn(
            ("rates.figure", *view.key(), charts.palette(), point),
            lambda: draw_figure(view, charts.palette(), dimensions, point),
        )
        _chart(figure, view, dimensions)
        for note in notes(view):
            st.caption(note)
    if point is not None and right is not None:
        with right:
            rates_drill.draw(view.choice, point, view.behind(point))
    if not view.result.frame.empty:
        rows = wiring.drawn(
            ("rates.rows", *view.key()), lambda: rates_table.rows_of(view.result.frame, view.aligned, view.choice)
        )
        rates_table.draw(rows, view.choice, dimensions, point)


def _body(now: datetime) -> None:
    right = page.header(TITLE)
    with page.content():
        with st.skeleton(560):
            dimensions = _dimensions()
            rates_bar.check_address(dimensions, _values)
        choice = rates_bar.bar(dimensions, _values, now=now)
        rates_bar.ignored(choice)
        point = _point(choice)
        with st.skeleton(460):
            read = _read(choice.query())
            view = _view(choice, read)
        with right:
            page.chip(_freshness(read, now))
            rates_export.figures(read.value.frame, choice)
        page.stale(read, kept="figures that were not looked at before cannot be shown")
        if read.value.current_to is None:
            page.empty("The lake is empty so far", "Rates appear when the first transactions have streamed to S3.")
            return
        _answer(view, dimensions, point)


@st.fragment(run_every="15s", key="rates-body")
def _render() -> None:
    page.guard(Permission.VIEW_RATES)
    _body(datetime.now(UTC))


_render()
