"""Two dimensions at once: one cell a pair over the whole range, the rate written in it. Pure: frame in, figure out.

Colour follows the rate; a cell on few frauds carries an asterisk and is paler, so that chance does not shine brightest.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui import format as fmt
from ui.charts_rates import Look, amounts, inert
from ui.rates_choice import value_words
from ui.rates_frames import Folded

ROW_HEIGHT = 38
MIN_HEIGHT = 250


def heat(cells: pd.DataFrame, first: Folded, second: Folded, look: Look, *, titles: tuple[str, str]) -> go.Figure:
    """`cells` as `ui.rates_frames.cells`, rows `first`, columns `second`; `titles` name both dimensions."""
    if cells.empty or not cells["transactions"].sum():
        return charts.empty("No transactions in this range with these filters", colors=look.colors, height=MIN_HEIGHT)
    height = max(MIN_HEIGHT, 92 + ROW_HEIGHT * len(first.names))
    figure = charts.figure(colors=look.colors, height=height, x_title=f"{titles[1]} (rows: {titles[0].lower()})")
    rows = {(row["first"], row["second"]): row for row in cells.to_dict("records")}
    grid = [[rows.get((a, b)) for b in second.names] for a in first.names]
    sure = [float(row[look.measure.column]) for row in rows.values() if not row["small"]]
    limit = 0.4 * max(sure, default=float("inf"))
    names = [[_short(b) for b in second.names], [_short(a) for a in first.names]]
    figure.add_trace(
        go.Heatmap(
            x=names[0], y=names[1], z=[[_shade(row, look, limit) for row in line] for line in grid], xgap=3, ygap=3,
            colorscale=[[0, charts.faded(look.colors.fraud, 0.04)], [1, charts.faded(look.colors.fraud, 0.72)]],
            showscale=False, hoverinfo="skip", zmin=0,
        )
    )  # fmt: skip
    _targets(figure, grid, first, second, names, look)
    figure.update_xaxes(side="top", type="category", tickangle=0, ticks="", showline=False)
    figure.update_yaxes(autorange="reversed", type="category", ticks="", gridcolor="rgba(0,0,0,0)")
    margin = {"l": 8, "r": 8, "t": 76, "b": 8}
    figure.update_layout(paper_bgcolor=look.colors.background, dragmode=False, margin=margin)
    return figure


def _short(value: str) -> str:
    words = value_words(value)
    return inert(words if len(words) <= 16 else f"{words[:15]}…")


def _shade(row: dict[Any, Any] | None, look: Look, limit: float) -> float | None:
    """The rate; on few frauds the lower end of the interval by count, in proportion, and never above `limit`."""
    if row is None or pd.isna(row[look.measure.column]):
        return None
    rate = float(row[look.measure.column])
    if not row["small"]:
        return rate
    by_count = float(row["fraud_bps_count"])
    return min(limit, rate * float(row["bps_count_low"]) / by_count) if by_count else 0.0


def _targets(
    figure: go.Figure,
    grid: list[list[dict[Any, Any] | None]],
    first: Folded,
    second: Folded,
    names: list[list[str]],
    look: Look,
) -> None:
    """The numbers, and over each an unseen mark as large as the cell: what is hovered and clicked."""
    found = [(i, j, row) for i, line in enumerate(grid) for j, row in enumerate(line) if row is not None]
    figure.add_trace(
        go.Scatter(
            x=[names[0][j] for _, j, _ in found],
            y=[names[1][i] for i, _, _ in found],
            mode="markers+text",
            text=[_face(row, look) for _, _, row in found],
            textfont={"color": look.colors.text, "size": 13},
            marker={"size": 34, "symbol": "square", "color": "rgba(0,0,0,0)", "line": {"width": 0}},
            selected={"marker": {"opacity": 1}, "textfont": {"color": look.colors.text}},
            unselected={"marker": {"opacity": 1}, "textfont": {"color": look.colors.text}},
            hovertext=[_hover(row, first.names[i], second.names[j], look) for i, j, row in found],
            hoverinfo="text",
            customdata=[["range", first.names[i], second.names[j]] for i, j, _ in found],
            showlegend=False,
        )
    )


def _face(row: dict[Any, Any], look: Look) -> str:
    rate = row[look.measure.column]
    if pd.isna(rate):
        return fmt.MISSING
    return f"{rate:,.1f}{'*' if row['small'] else ''}"


def _hover(row: dict[Any, Any], first: str, second: str, look: Look) -> str:
    rate = row[look.measure.column]
    note = "<br>Few frauds: moves much by chance" if row["small"] else ""
    return (
        f"<b>{inert(value_words(first))}, {inert(value_words(second))}</b><br>"
        f"{fmt.bps(None if pd.isna(rate) else rate)} by {look.measure}<br>"
        f"{row['fraud']:,} frauds of {row['transactions']:,} transactions, by count "
        f"{row['bps_count_low']:,.1f} to {row['bps_count_high']:,.1f} bps with 95 % confidence<br>"
        f"{amounts(row)}"
        f"{fmt.percent(float(row['matured_share']), 0)} of labels matured{note}"
    )
