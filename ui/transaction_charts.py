"""A customer's payments over time, and where a payment happened against home. No tiles, no outside requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from services.domain.states import Decision, LabelValue
from services.features.arithmetic import SCALARS, kilometres
from services.transactions import QueueRow
from ui import charts
from ui import format as fmt


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def history(rows: Sequence[QueueRow], *, highlighted: str, colors: charts.Palette) -> go.Figure:
    """Amount of each payment over time; this one ringed, alerts and confirmed fraud told apart by shape and colour."""
    if not rows:
        return charts.empty("No earlier payments of this customer", colors=colors, height=220)
    currency, exponent = rows[0].currency, rows[0].exponent
    same = [row for row in rows if row.currency == currency]
    chart = charts.figure(colors=colors, height=220, y_title=f"Amount ({currency})", legend=True)
    groups = (
        ("Approved", colors.neutral, "circle", lambda r: not _risky(r) and not _fraud(r)),
        ("Alerted", colors.review, "diamond", lambda r: _risky(r) and not _fraud(r)),
        ("Fraud", colors.fraud, "x", _fraud),
    )
    for name, color, symbol, belongs in groups:
        chosen = [row for row in same if belongs(row)]
        if chosen:
            chart.add_scatter(
                x=[r.event_time for r in chosen],
                y=[r.amount_minor / 10**r.exponent for r in chosen],
                mode="markers",
                name=name,
                marker={"color": color, "symbol": symbol, "size": 8},
                customdata=[_hover(r) for r in chosen],
                hovertemplate="%{customdata[1]} at %{customdata[0]}<br>%{customdata[2]}<extra></extra>",
            )
    this = next((row for row in same if row.transaction_id == highlighted), None)
    if this is not None:
        chart.add_scatter(
            x=[this.event_time], y=[this.amount_minor / 10**exponent], mode="markers+text", name="This payment",
            text=["this payment"], textposition="middle left", textfont={"color": colors.text, "size": 12},
            marker={"color": "rgba(0,0,0,0)", "size": 18, "line": {"color": colors.text, "width": 2}},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    chart.update_yaxes(rangemode="tozero", tickformat=",.0f")
    return chart


def _hover(row: QueueRow) -> list[str]:
    amount = fmt.money(row.amount_minor, row.currency, row.exponent)
    whom = row.merchant_name or next((value for _, value in row.own), row.customer_id)
    return [_escaped(whom), amount, fmt.utc(row.event_time)]


def _risky(row: QueueRow) -> bool:
    return row.decision in (Decision.REVIEW, Decision.DECLINE)


def _fraud(row: QueueRow) -> bool:
    return row.label is LabelValue.FRAUD


def place(home: Mapping[str, Any], merchant: Mapping[str, Any], *, name: str, colors: charts.Palette) -> go.Figure:
    """Home and merchant on plain coordinates with the great-circle distance between them in the title of the line."""
    a, b = (float(home["lon"]), float(home["lat"])), (float(merchant["lon"]), float(merchant["lat"]))
    distance = kilometres(SCALARS, *a, *b)
    chart = charts.figure(colors=colors, height=220, x_title="Longitude (°)", y_title="Latitude (°)")
    chart.add_scatter(
        x=[a[0], b[0]], y=[a[1], b[1]], mode="lines", line={"color": colors.muted, "dash": "dot", "width": 1.5},
        hoverinfo="skip",
    )  # fmt: skip
    for (x, y), label, color, symbol in ((a, "home", colors.accent, "square"), (b, name, colors.fraud, "circle")):
        chart.add_scatter(
            x=[x], y=[y], mode="markers+text", text=[_escaped(label)], textposition="top center", cliponaxis=False,
            marker={"color": color, "symbol": symbol, "size": 11}, textfont={"color": colors.text, "size": 12},
            hovertemplate=f"{_escaped(label)}<br>{y:.2f}°, {x:.2f}°<extra></extra>",
        )  # fmt: skip
    chart.add_annotation(
        x=(a[0] + b[0]) / 2, y=(a[1] + b[1]) / 2, text=f"{distance:,.0f} km", showarrow=False,
        bgcolor=colors.background, font={"color": colors.text, "size": 12}, borderpad=3,
    )  # fmt: skip
    for update, low, high in (
        (chart.update_xaxes, min(a[0], b[0]), max(a[0], b[0])),
        (chart.update_yaxes, min(a[1], b[1]), max(a[1], b[1])),
    ):
        margin = max((high - low) * 0.45, 0.5)
        update(range=[low - margin, high + margin], showgrid=True, ticksuffix="°", nticks=5)
    return chart


def has_place(point: Mapping[str, Any] | None) -> bool:
    return bool(point) and all(isinstance((point or {}).get(key), (int, float)) for key in ("lon", "lat"))
