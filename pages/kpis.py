"""How much fraud, how well caught: today and the last 30 days against the periods before, and the backlog now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pandas as pd
import streamlit as st

from services.access import Permission
from services.domain.kpi import KpiFigures
from services.errors import ServiceError
from services.kpis import Backlog, KpiPeriod, KpiSummary
from services.rates import RatesQuery
from ui import charts, charts_kpis, kpi_tiles, navigation, page, wiring
from ui import format as fmt
from ui.rates_frames import with_alert_rate

TITLE = "How much fraud, and how well is it caught?"


def _summary(now: datetime) -> wiring.Read[KpiSummary]:
    return wiring.last_good(
        ("kpis.summary",), lambda: wiring.services().kpis.summary(now=now), ttl=15.0, background=True
    )


def _daily(now: datetime) -> tuple[pd.DataFrame, int | None]:
    """60 days of the lake's rates by day, the newest included, and the snapshot they are of."""
    today = now.date()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    query = RatesQuery(start=midnight - timedelta(days=59), end=midnight + timedelta(days=1))
    read = wiring.last_good(
        ("rates.daily", today), lambda: wiring.services().rates.table(query), ttl=60.0, source="S3", background=True
    )
    return with_alert_rate(read.value.frame), read.value.snapshot_id


def _tile(tile: kpi_tiles.Tile, compared: str) -> None:
    with st.container(border=True, gap="xxsmall", height="stretch"):
        change = tile.delta
        st.metric(
            tile.label,
            tile.value,
            change.text if change else None,
            delta_color=change.color if change else "off",  # type: ignore[arg-type]
            delta_arrow=change.arrow if change else "off",  # type: ignore[arg-type]
            help=f"{tile.formula}\n\nCompared with {compared}."
            + (f" {change.why}" if change else " Nothing to compare."),
        )
        st.caption(tile.beneath)


def _period(title: str, period: KpiPeriod, *, compared: str) -> None:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall")
    row.markdown(f"**{title}**", width="content")
    row.caption(f"changes against {compared}", width="content")
    few = kpi_tiles.caution(period)
    if few:
        row.caption(f":orange[:material/error_outline:] {few}", width="content")
    for column, tile in zip(st.columns(6, gap="xsmall"), kpi_tiles.tiles(period), strict=True):
        with column:
            _tile(tile, compared)
    _by_currency(period.current)


def _by_currency(now: KpiFigures) -> None:
    """The amounts where they have no total."""
    if len(now.by_currency) < 2:
        return
    column = st.column_config
    st.dataframe(
        kpi_tiles.by_currency(now),
        hide_index=True,
        column_config={
            "Fraud by value (bps)": column.NumberColumn(format="%.1f"),
            "Transactions": column.NumberColumn(format="localized"),
            **{name: column.TextColumn(alignment="right") for name in ("Volume", "Fraud", "Prevented loss")},
        },
        alt="The amounts of this period by currency; amounts of different currencies are never added",
    )


def _backlog(backlog: Backlog, now: datetime) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown("**Backlog now**", width="content")
        st.markdown(f"{fmt.count(backlog.open)} :gray[open]", width="content")
        overdue = f"{fmt.count(backlog.overdue)} overdue"
        if backlog.overdue:
            st.badge(overdue, icon=":material/timer_off:", color="orange", help="Open alerts past their due time.")
        else:
            st.badge("none overdue", icon=":material/check:", color="green", help="Open alerts past their due time.")
        st.markdown(
            f"{fmt.relative(backlog.oldest_opened_at, now)} :gray[oldest]",
            help=f"Opened {fmt.utc(backlog.oldest_opened_at)}" if backlog.oldest_opened_at else None,
            width="content",
        )
        st.markdown(
            f"{fmt.literal(fmt.sums(backlog.at_risk))} :gray[at risk]",
            help="Sum of the amounts of all open alerts, each currency apart.",
            width="content",
        )
        st.space("stretch")
        st.page_link(navigation.file_of("queue"), label="Open the queue", icon=":material/inbox:")


def _trends(now: datetime) -> None:
    try:
        frame, snapshot_id = _daily(now)
    except ServiceError as error:
        st.caption(
            f":material/cloud_off: The daily course comes from S3 and cannot be shown: {fmt.literal(error.message)}"
        )
        return
    colors = charts.palette()
    left, right = st.columns(2, gap="medium")
    fraud, of = ("fraud_bps_count", "transactions") if fmt.several() else ("fraud_bps_value", "amount")
    for column, name, alt in (
        (left, fraud, f"Fraud in basis points of {of} by day, last 30 days over the 30 before"),
        (right, "alert_rate", "Alert rate by day, last 30 days over the 30 before"),
    ):
        with column:
            figure = wiring.drawn(
                ("kpis.trend", name, snapshot_id, now.date(), colors),
                partial(charts_kpis.daily, frame, name, today=now.date(), colors=colors),
            )
            charts.show(figure, key=f"kpis-trend-{name}", alt=alt)


def _how() -> None:
    with st.expander("How these are computed", icon=":material/function:"):
        st.table(
            pd.DataFrame(list(kpi_tiles.FORMULAS.values()), columns=["Figure", "Formula"]),
            hide_index=True,
            border="horizontal",
            alt="The formula of every figure on this page",
        )
        st.caption(kpi_tiles.BASIS)


@st.fragment(run_every="30s", key="kpis-body")
def _body() -> None:
    page.guard(Permission.VIEW_KPIS)
    now = datetime.now(UTC)
    with page.content():
        try:
            with st.skeleton(560):
                read = _summary(now)
        except ServiceError:
            page.header(TITLE)
            raise
        summary = read.value
        page.header(TITLE, caption=kpi_tiles.maturity_sentence(summary.matured_share), freshness=page.live(read, now))
        page.stale(read)
        if not summary.last_30_days.current.transactions and not summary.last_30_days.former.transactions:
            page.empty("No transactions in the last 60 days", "Figures appear as soon as the first ones are received.")
            _how()
            return
        clock = fmt.clock(summary.today.former_end)
        _period("Today", summary.today, compared=f"yesterday until {clock}")
        _period("Last 30 days", summary.last_30_days, compared="the 30 days before")
        _backlog(summary.backlog, now)
        _trends(now)
        _how()


_body()
