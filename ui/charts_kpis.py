"""The daily course behind the KPI tiles: the last 30 days over the 30 before. Pure: frame in, figure out."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui import format as fmt

HEIGHT = 210
DAYS = 30
TITLES = {"fraud_bps_value": "Fraud (bps of amount)", "fraud_bps_count": "Fraud (bps of transactions)",
          "alert_rate": "Alerts (% of transactions)"}  # fmt: skip


def daily(frame: pd.DataFrame, column: str, *, today: date, colors: charts.Palette) -> go.Figure:
    """One line for the last 30 days (today included), a dotted grey one for the 30 before, day above day.

    Columns of `frame`: bucket (day), transactions, fraud, and `column`, one of `TITLES`; alert_rate is a share.
    """
    data = frame.assign(bucket=pd.to_datetime(frame["bucket"]).dt.date) if not frame.empty else frame
    if data.empty or not data["transactions"].sum():
        return charts.empty("No transactions in the last 60 days", colors=colors, height=HEIGHT)
    first = today - timedelta(days=DAYS - 1)
    current = data[data["bucket"] >= first].sort_values("bucket")
    former = data[(data["bucket"] < first) & (data["bucket"] >= first - timedelta(days=DAYS))].sort_values("bucket")
    figure = charts.figure(colors=colors, height=HEIGHT)
    shifted = [day + timedelta(days=DAYS) for day in former["bucket"]]
    _add(figure, former, shifted, column, color=colors.unknown, width=1.5, dash="dot")
    _add(figure, current, list(current["bucket"]), column, color=colors.accent, width=2, dash="solid")
    figure.update_yaxes(rangemode="tozero", nticks=5)
    figure.update_xaxes(type="date", tickformat="%-d %b", nticks=7, range=[first.isoformat(), today.isoformat()])
    figure.update_layout(margin={"l": 8, "r": 12, "t": 30, "b": 4})
    figure.add_annotation(
        text=TITLES[column], xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="bottom", yshift=8,
        showarrow=False, font={"color": colors.text, "size": 13},
    )  # fmt: skip
    signs = (("━", colors.accent, "last 30 days"), ("┅", colors.unknown, "30 before"))
    figure.add_annotation(
        text="   ".join(f"<span style='color:{hue}'>{sign}</span> {words}" for sign, hue, words in signs),
        xref="paper", yref="paper", x=1, y=1, xanchor="right", yanchor="bottom", yshift=8, showarrow=False,
        font={"color": colors.muted, "size": 12},
    )  # fmt: skip
    return figure


def _add(
    figure: go.Figure, rows: pd.DataFrame, days: list[date], column: str, *, color: str, width: float, dash: str
) -> None:
    if rows.empty:
        return
    scale = 100 if column == "alert_rate" else 1
    texts = []
    for row in rows.to_dict("records"):
        known = None if pd.isna(row[column]) else float(row[column])
        shown = fmt.percent(known, 2) if column == "alert_rate" else fmt.bps(known)
        counts = f"{row['fraud']:,} frauds" if column != "alert_rate" else f"{row['alerted']:,} alerts"
        day = f"{row['bucket'].day} {row['bucket']:%b %Y}"
        texts.append(f"{day}<br>{shown}<br>{counts} of {row['transactions']:,} transactions")
    figure.add_trace(
        go.Scatter(
            x=[day.isoformat() for day in days],
            y=(rows[column] * scale).round(4).tolist(),
            mode="lines",
            line={"color": color, "width": width, "dash": dash},
            hovertext=texts,
            hoverinfo="text",
            showlegend=False,
        )
    )
