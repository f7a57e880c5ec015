"""Folds of a backtest as a picture: each fold's figure, their mean and their spread. Pure: records in, figure out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from ui import charts

HEIGHT = 260
TITLES = {
    "ap": "Average precision (0–1)",
    "auc": "AUC ROC (0–1)",
    "cp100": "Card precision@100 (0–1)",
    "value_detection_rate": "Fraud value found (% of what there was)",
}


def folds(
    records: Sequence[dict[str, Any]],
    metric: str,
    *,
    mean: float | None,
    spread: dict[str, float] | None,
    colors: charts.Palette,
) -> go.Figure:
    """A dot a fold at the middle of its test days; the mean a line, one standard deviation a band around it.

    `records` have fold, test_from, test_to, test_frauds, prevalence and `metric`, one of TITLES, null where a fold has
    nothing to measure. The axis shows the folds' differences, not zero; what chance has is said beside it.
    """
    known = [record for record in records if record[metric] is not None]
    if not known:
        return charts.empty("No fold had a fraud to find", colors=colors, height=HEIGHT)
    scale = 100.0 if metric == "value_detection_rate" else 1.0
    figure = charts.figure(colors=colors, height=HEIGHT, x_title="First day tested (UTC)", y_title=TITLES[metric])
    if mean is not None:
        _mean(figure, mean * scale, (spread or {}).get("sd", 0.0) * scale, colors)
    if metric == "ap":
        chance = sum(record["prevalence"] for record in known) / len(known)
        figure.add_annotation(
            text=f"chance has {chance:.4f}", xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="bottom",
            showarrow=False, font={"color": colors.muted, "size": 12},
        )  # fmt: skip
    few = [record["test_frauds"] < 30 for record in known]
    figure.add_trace(
        go.Scatter(
            x=[record["test_from"] for record in known],
            y=[record[metric] * scale for record in known],
            mode="lines+markers",
            line={"color": charts.faded(colors.accent, 0.45), "width": 1.5},
            marker={
                "color": colors.accent,
                "size": 9,
                "symbol": ["circle-open" if small else "circle" for small in few],
            },
            hovertext=[_words(record, metric, scale) for record in known],
            hoverinfo="text",
        )
    )
    figure.update_xaxes(type="category" if len(known) <= 12 else "date", tickformat="%-d %b %Y", nticks=8)
    values = [record[metric] * scale for record in known]
    room = max(max(values) - min(values), 0.02 * scale) * 0.6
    figure.update_yaxes(nticks=6, range=[max(min(values) - room, 0.0), min(max(values) + room, scale)])
    figure.update_layout(margin={"l": 8, "r": 8, "t": 24, "b": 8})
    return figure


def _mean(figure: go.Figure, mean: float, deviation: float, colors: charts.Palette) -> None:
    if deviation:
        figure.add_hrect(
            y0=mean - deviation, y1=mean + deviation, fillcolor=charts.faded(colors.accent, 0.10), line_width=0,
            layer="below",
        )  # fmt: skip
    figure.add_hline(
        y=mean,
        line={"color": colors.accent, "width": 1.5, "dash": "dash"},
        annotation={"text": f"mean {mean:.3g}", "font": {"color": colors.text, "size": 12}},
        annotation_position="top left",
    )


def _words(record: dict[str, Any], metric: str, scale: float) -> str:
    small = "<br>fewer than 30 frauds: mostly chance" if record["test_frauds"] < 30 else ""
    return (
        f"Fold {record['fold']}, {record['test_from']} to {record['test_to']}<br>{record[metric] * scale:.3f}"
        f"<br>{record['test_frauds']:,} frauds of {record['test_rows']:,} transactions{small}"
    )
