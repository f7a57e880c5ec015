"""Fraud over time by any dimension, from the lake in S3 only: rate lines, the table beneath, the figures as CSV."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from services.access import Permission
from services.errors import ServiceError
from services.rates import RatesQuery, RatesResult
from ui import charts, charts_rates, page, rates_bar, rates_frames, wiring
from ui import format as fmt
from ui.export import to_csv
from ui.rates_bar import Choice

TITLE = "Where does fraud happen, and does it rise?"
TTL_SECONDS = 15.0


def _dimensions() -> tuple[str, ...]:
    return wiring.last_good(
        ("rates.dimensions",), lambda: wiring.services().rates.dimensions(), ttl=300.0, source="S3", background=True
    ).value


def _values(dimension: str) -> tuple[str, ...]:
    """Values to filter by; none while S3 never answered, so that the bar still stands."""
    try:
        found = wiring.last_good(
            ("rates.values", dimension),
            lambda: wiring.services().rates.values(dimension),
            ttl=120.0,
            source="S3",
            background=True,
        ).value
    except ServiceError:
        return tuple(st.session_state.get(rates_bar.filter_key(dimension)) or ())
    return tuple(value for value in found if value is not None)


def _key(choice: Choice) -> tuple[Hashable, ...]:
    return ("rates.table", choice.range, choice.bucket, choice.dimension, tuple(sorted(choice.filters.items())))


def _read(choice: Choice) -> wiring.Read[RatesResult]:
    query = RatesQuery(
        start=choice.range.start,
        end=choice.range.end,
        bucket=choice.bucket,
        dimension=choice.dimension,
        filters=choice.filters,
    )
    return wiring.last_good(
        _key(choice), lambda: wiring.services().rates.table(query), ttl=TTL_SECONDS, source="S3", background=True
    )


def _freshness(read: wiring.Read[RatesResult], now: datetime) -> page.Freshness:
    chip = page.current_to(read.value.current_to, now, problem=read.problem)
    snapshot = f" Lake snapshot {read.value.snapshot_id}." if read.value.snapshot_id is not None else ""
    return page.Freshness(chip.state, chip.text, f"{chip.help}{'' if chip.help.endswith('.') else '.'}{snapshot}")


def _headline(frame: pd.DataFrame, choice: Choice) -> None:
    """The answer of the page in one line: both rates with their counts, alerts, how finished the labels are."""
    sums = rates_frames.totals(frame)
    value, count, alerts, matured = st.columns(4, gap="small")
    with value.container(gap=None):
        st.metric("Fraud by value", fmt.bps(sums.bps_value))
        st.caption(f"{fmt.money_short(sums.fraud_amount_minor)} of {fmt.money_short(sums.amount_minor)}")
    with count.container(gap=None):
        st.metric("Fraud by count", fmt.bps(sums.bps_count))
        st.caption(f"{fmt.count(sums.fraud)} of {fmt.count(sums.transactions)} transactions")
    with alerts.container(gap=None):
        st.metric("Alert rate", fmt.percent(sums.alert_rate, 2))
        st.caption(f"{fmt.count(sums.alerted)} alerts")
    with matured.container(gap=None):
        st.metric(
            "Labels matured",
            fmt.percent(sums.matured_share, 0),
            help="Transactions that are labelled or older than 90 days. Below 100 % the fraud rate will still rise.",
        )
        st.caption(_range_words(choice))


def _range_words(choice: Choice) -> str:
    start, end = choice.range.start, choice.range.end
    return f"{start.day} {start:%b} to {end.day} {end:%b %Y}, UTC days"


def _chart(frame: pd.DataFrame, choice: Choice, *, of: Hashable) -> None:
    colors = charts.palette()

    def make() -> go.Figure:
        folded, names = rates_frames.folded(frame, choice.measure)
        return charts_rates.rates(folded, names, measure=choice.measure, bucket=choice.bucket, colors=colors)

    figure = wiring.drawn(("rates.chart", of, choice.measure, colors), make)
    by = f" by {rates_bar.dimension_name(choice.dimension).lower()}" if choice.dimension else ""
    alt = f"Fraud in basis points by {choice.measure} a {choice.bucket}{by}, {_range_words(choice)}; numbers beneath"
    charts.show(figure, key="rates-chart", alt=alt)


def _table(frame: pd.DataFrame, choice: Choice, *, of: Hashable) -> None:
    config: dict[str, object] = {
        "fraud_bps_value": st.column_config.NumberColumn("By value (bps)", format="%.1f"),
        "fraud_bps_count": st.column_config.NumberColumn("By count (bps)", format="%.1f"),
        "fraud": st.column_config.NumberColumn("Frauds", format="localized"),
        "transactions": st.column_config.NumberColumn("Transactions", format="localized"),
        "fraud_amount": st.column_config.NumberColumn("Fraud (€)", format="%,.0f"),
        "amount": st.column_config.NumberColumn("Amount (€)", format="%,.0f"),
        "alert_rate": st.column_config.NumberColumn("Alerted", format="percent"),
        "matured_share": st.column_config.NumberColumn("Matured", format="percent"),
    }
    if choice.dimension:
        rows = wiring.drawn(
            ("rates.by_value", of, choice.measure), lambda: rates_frames.by_value(frame, choice.measure)
        )
        rows = rows.copy()
        rows["value"] = [rates_bar.shown(str(value)) for value in rows["value"]]
        config |= {
            "value": st.column_config.TextColumn(rates_bar.dimension_name(choice.dimension), pinned=True),
            "trend": st.column_config.LineChartColumn("Over the range", y_min=0, width="small"),
            "share_of_fraud": st.column_config.ProgressColumn(
                f"Share of fraud {choice.measure}", format="percent", min_value=0, max_value=1, color="blue"
            ),
        }
        order = ["value", choice.measure.column, "trend", "share_of_fraud"]
    else:
        rows = wiring.drawn(("rates.by_bucket", of), lambda: rates_frames.by_bucket(frame)).copy()
        starts = pd.to_datetime(rows["bucket"])
        rows["bucket"] = [charts_rates.bucket_name(start, choice.bucket) for start in starts]
        config["bucket"] = st.column_config.TextColumn(fmt.word(choice.bucket), pinned=True)
        order = ["bucket", choice.measure.column]
    other = next(m.column for m in rates_frames.Measure if m is not choice.measure)
    rows = rows.assign(fraud_amount=rows["fraud_amount_minor"] / 100, amount=rows["amount_minor"] / 100)
    order += [other, "fraud", "transactions", "fraud_amount", "amount", "alert_rate", "matured_share"]
    st.dataframe(
        rows[order],
        hide_index=True,
        column_config=config,  # type: ignore[arg-type]
        key="rates-table",
        alt="Fraud rates with their counts, as charted above",
    )


def _download(frame: pd.DataFrame, choice: Choice) -> None:
    name = f"fraud-rates-{choice.range.start}-{choice.range.end}-{choice.dimension or 'all'}-{choice.bucket}.csv"
    st.download_button(
        "CSV",
        data=lambda: to_csv(list(frame.columns), frame.itertuples(index=False)),
        file_name=name,
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        help="Every bucket and value, with counts, as charted before folding small groups",
    )


@st.fragment(run_every="15s", key="rates-body")
def _render() -> None:
    page.guard(Permission.VIEW_RATES)
    now = datetime.now(UTC)
    right = page.header(TITLE)
    with page.content():
        choice = rates_bar.bar(_dimensions(), _values, today=now.date())
        with st.skeleton(460):
            read = _read(choice)
        with right:
            page.chip(_freshness(read, now))
            _download(read.value.frame, choice)
        page.stale(read, kept="figures that were not looked at before cannot be shown")
        frame = rates_frames.named(read.value.frame)
        if read.value.current_to is None:
            page.empty("The lake is empty so far", "Rates appear when the first transactions have streamed to S3.")
            return
        _headline(frame, choice)
        of = (*_key(choice), read.value.snapshot_id)
        _chart(frame, choice, of=of)
        if not frame.empty:
            _table(frame, choice, of=of)


_render()
