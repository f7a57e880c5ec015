"""Distributions of columns before and after a step, and what a quick model gained from each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from services.profile import numbers
from ui import charts

BINS = 40
TEXTS = 12
HEIGHT = 220


def distribution(column: pa.ChunkedArray, *, title: str, colors: charts.Palette, after: bool = False) -> go.Figure:
    """Rows by value: BINS equal bins between the 0.5 % and 99.5 % quantiles, or the most frequent texts."""
    color = colors.accent if after else colors.unknown
    if pa.types.is_string(column.type):
        return _texts(column, title=title, color=color, colors=colors)
    values = numbers(column)
    there = values[np.isfinite(values)]
    if not len(there):
        return charts.empty("Missing in every row", colors=colors, height=HEIGHT)
    low, high = (float(v) for v in np.quantile(there, (0.005, 0.995)))
    shown = there[(there >= low) & (there <= high)]
    counts, edges = np.histogram(shown, bins=min(BINS, max(len(np.unique(shown)), 1)))
    figure = charts.figure(colors=colors, height=HEIGHT, x_title=title, y_title="Rows")
    figure.add_trace(
        go.Bar(
            x=((edges[:-1] + edges[1:]) / 2).tolist(), y=counts.tolist(), width=np.diff(edges).tolist(),
            marker={"color": color}, hovertemplate="%{x:.4g}: %{y:,} rows<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(bargap=0.02)
    return figure


def _texts(column: pa.ChunkedArray, *, title: str, color: str, colors: charts.Palette) -> go.Figure:
    counted = Counter(value for value in column.to_pylist() if value is not None).most_common(TEXTS)
    if not counted:
        return charts.empty("Missing in every row", colors=colors, height=HEIGHT)
    figure = charts.figure(colors=colors, height=HEIGHT, x_title=title, y_title="Rows")
    figure.add_trace(
        go.Bar(
            x=[str(value)[:24] for value, _ in counted], y=[count for _, count in counted], marker={"color": color},
            hovertemplate="%{x}: %{y:,} rows<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(type="category")
    return figure


def gains(parts: Sequence[tuple[str, float]], *, colors: charts.Palette) -> go.Figure:
    """Shares of the total gain, the greatest on top."""
    if not parts:
        return charts.empty("The model found nothing to split on", colors=colors, height=HEIGHT)
    figure = charts.figure(colors=colors, height=60 + 26 * len(parts), x_title="Share of the total gain (%)")
    names, shares = [name for name, _ in parts][::-1], [100 * share for _, share in parts][::-1]
    figure.add_trace(
        go.Bar(
            x=shares, y=names, orientation="h", marker={"color": colors.accent}, texttemplate="%{x:.1f}",
            textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
    )  # fmt: skip
    return figure


def by_label(column: pa.ChunkedArray, labels: NDArray[np.int8], *, title: str, colors: charts.Palette) -> go.Figure:
    """Shares of frauds and of genuine transactions by value, so that one sees whether the column tells them apart."""
    values = numbers(column)
    there = np.isfinite(values)
    if not there.any():
        return charts.empty("Missing in every row", colors=colors, height=HEIGHT)
    low, high = (float(v) for v in np.quantile(values[there], (0.005, 0.995)))
    edges = np.linspace(low, high if high > low else low + 1, BINS // 2 + 1)
    figure = charts.figure(colors=colors, height=HEIGHT, x_title=title, y_title="Share of its kind (%)", legend=True)
    for name, kind, color in (("genuine", 0, colors.genuine), ("fraud", 1, colors.fraud)):
        chosen = np.clip(values[there & (labels == kind)], edges[0], edges[-1])
        counts, _ = np.histogram(chosen, bins=edges)
        figure.add_trace(
            go.Scatter(
                x=((edges[:-1] + edges[1:]) / 2).tolist(), y=(100 * counts / max(len(chosen), 1)).tolist(), name=name,
                mode="lines", line={"color": color, "shape": "hvh", "dash": "solid" if kind else "dot"},
                hovertemplate=f"{name} at %{{x:.4g}}: %{{y:.1f}} %<extra></extra>",
            )
        )  # fmt: skip
    return figure
