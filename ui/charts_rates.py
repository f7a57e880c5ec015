"""The fraud rate over time, one line a value. Pure: frame in, figure out.

Where labels have not matured the lines are lighter and the ground is hatched, because the rate will still rise. Points
that rest on few frauds are hollow. The former period is dashed. Frames are those of `ui.rates_frames.series`; times are
drawn as the wall clock of the frame's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui import format as fmt
from ui.rates_choice import bucket_words, value_words
from ui.rates_frames import ALL, MATURE_AT, OTHER, Measure

HEIGHT = 312
_WALL = "%Y-%m-%dT%H:%M"
_TICKS = {"hour": "%H:%M\n%-d %b", "day": "%-d %b\n%Y", "week": "%-d %b\n%Y", "month": "%b\n%Y"}


@dataclass(frozen=True, slots=True)
class Look:
    """What is measured, in which buckets and zone, with which colours; the point `chosen` (start, value) is ringed."""

    measure: Measure
    bucket: str
    zone: str
    colors: charts.Palette
    band: bool = True
    chosen: tuple[datetime, str] | None = None


def series_colors(names: tuple[str, ...], colors: charts.Palette) -> dict[str, str]:
    """A colour for each value by its place; "Other" is always grey."""
    hues = (colors.accent, colors.review, colors.genuine, colors.fraud, colors.neutral)
    return {name: colors.unknown if name == OTHER else hues[i % len(hues)] for i, name in enumerate(names)}


def title(measure: Measure, bucket: str, by: str = "") -> str:
    """'Fraud by value per week by merchant country, basis points'."""
    return f"Fraud by {measure} per {bucket}{f' by {by}' if by else ''}, basis points"


def rates(frame: pd.DataFrame, names: tuple[str, ...], former: pd.DataFrame | None, look: Look) -> go.Figure:
    """Lines of fraud in basis points. `former` is that of `ui.rates_frames.aligned`, drawn where it is given."""
    if frame.empty or not names or not frame["transactions"].sum():
        return charts.empty("No transactions in this range with these filters", colors=look.colors, height=HEIGHT)
    of = "amount" if look.measure is Measure.VALUE else "transactions"
    figure = charts.figure(colors=look.colors, height=HEIGHT, y_title=f"Fraud, bps of {of}")
    hues = series_colors(names, look.colors)
    top = _top(frame, former, look)
    _immature_ground(figure, frame, look, top=top)
    parts = {name: frame[frame["first"] == name] for name in names}
    if look.band:
        for name in names:
            _band(figure, parts[name], look, hues[name], alone=len(names) == 1)
    if former is not None:
        for name in names:
            _former(figure, former[former["first"] == name], look, name=name, color=hues[name])
    for name in names:
        _line(figure, parts[name], look, name=name, color=hues[name])
    if len(names) > 1:
        _direct_labels(figure, parts, look, hues=hues, top=top)
    _axes(figure, look, top=top, labels=len(names) > 1)
    return figure


def _axes(figure: go.Figure, look: Look, *, top: float, labels: bool) -> None:
    figure.update_yaxes(range=[0, top], nticks=6)
    figure.update_xaxes(
        type="date", tickformat=_TICKS[look.bucket], showspikes=True, spikethickness=1, spikecolor=look.colors.grid,
        spikedash="solid",
    )  # fmt: skip
    # An opaque ground, so that the PNG is readable wherever it is pasted.
    figure.update_layout(
        hovermode="closest", dragmode="zoom", paper_bgcolor=look.colors.background,
        margin={"l": 8, "r": 104 if labels else 16, "t": 30, "b": 8},
    )  # fmt: skip


def _top(frame: pd.DataFrame, former: pd.DataFrame | None, look: Look) -> float:
    """The top of the axis: above all rates; a band on few frauds may be cut, it would flatten everything else."""
    highest = float(frame[look.measure.column].max())
    if former is not None and not former.empty:
        highest = max(highest, float(former[look.measure.column].max()))
    if look.band:
        highest = max(highest, min(float(frame[look.measure.interval[1]].max()), 1.6 * highest))
    return max(highest, 1e-9) * 1.12 if highest == highest else 1.0


def hover(row: dict[Any, Any], name: str, look: Look, *, former: bool = False) -> str:
    """The row in words. Everything from data is inert."""
    rate, matured = row[look.measure.column], row["matured_share"]
    low, high = (row[column] for column in look.measure.interval)
    who = "" if name == ALL else f"<b>{inert(value_words(name))}</b><br>"
    when = bucket_words(row["bucket"], look.bucket, look.zone)
    interval = "" if pd.isna(low) or pd.isna(high) else f" ({low:,.1f} to {high:,.1f} with 95 % confidence)"
    note = "<br>Few frauds: moves much by chance" if row["small"] and row["transactions"] else ""
    return (
        f"{who}{'Former period: ' if former else ''}{when}<br>"
        f"{fmt.bps(None if pd.isna(rate) else rate)} by {look.measure}{interval}<br>"
        f"{row['fraud']:,} frauds of {row['transactions']:,} transactions<br>"
        f"{amounts(row)}"
        f"{fmt.percent(None if pd.isna(matured) else matured, 0)} of labels matured{note}"
    )


def amounts(row: dict[Any, Any]) -> str:
    """Nothing where payments of several currencies have no total."""
    if fmt.several():
        return ""
    return f"{fmt.money_short(int(row['fraud_amount_minor']))} of {fmt.money_short(int(row['amount_minor']))}<br>"


def inert(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _wall(moments: pd.Series) -> list[str]:
    return moments.dt.strftime(_WALL).tolist()


def _line(figure: go.Figure, rows: pd.DataFrame, look: Look, *, name: str, color: str) -> None:
    """Two traces: full up to the last matured bucket, lighter from there, both with the row as hover."""
    mature = (rows["matured_share"].fillna(1) >= MATURE_AT).to_numpy()
    first_immature = int(mature.argmin()) if not mature.all() else len(rows)
    texts = [hover(row, name, look) for row in rows.to_dict("records")]
    rings = [look.chosen == (bucket.to_pydatetime(), name) for bucket in rows["bucket"]]
    size = 7 if len(rows) <= 120 else 4
    parts = ((1.0, 0, first_immature), (0.5, max(first_immature - 1, 0), len(rows)))
    for opacity, start, stop in parts:
        if stop - start < 1 or (opacity < 1 and first_immature == len(rows)):
            continue
        part = slice(start, stop)
        small, chosen = rows["small"].iloc[part].tolist(), rings[part]
        figure.add_trace(
            go.Scatter(
                x=_wall(rows["bucket"].iloc[part]),
                y=rows[look.measure.column].iloc[part].round(3).tolist(),
                mode="lines+markers",
                name=inert(name),
                line={"color": charts.faded(color, opacity), "width": 2},
                marker={
                    "size": [size + 7 if ring else size for ring in chosen],
                    "opacity": 1,
                    "color": [look.colors.background if hollow else color for hollow in small],
                    "line": {
                        "color": [look.colors.text if ring else color for ring in chosen],
                        "width": [3 if ring else 1.5 for ring in chosen],
                    },
                },
                # Selecting a point must not dim the others: what is picked is ringed above.
                selected={"marker": {"opacity": 1}},
                unselected={"marker": {"opacity": 1}},
                hovertext=texts[part],
                hoverinfo="text",
                customdata=[[bucket.isoformat(), name] for bucket in rows["bucket"].iloc[part]],
                connectgaps=False,
                showlegend=False,
            )
        )


def _former(figure: go.Figure, rows: pd.DataFrame, look: Look, *, name: str, color: str) -> None:
    if rows.empty:
        return
    figure.add_trace(
        go.Scatter(
            x=_wall(rows["at"]),
            y=rows[look.measure.column].round(3).tolist(),
            mode="lines",
            name=f"{inert(name)}, former period",
            line={"color": charts.faded(color, 0.75), "width": 1.5, "dash": "5px,4px"},
            hovertext=[hover(row, name, look, former=True) for row in rows.to_dict("records")],
            hoverinfo="text",
            showlegend=False,
        )
    )


def _band(figure: go.Figure, rows: pd.DataFrame, look: Look, color: str, *, alone: bool) -> None:
    """Among other lines only where numbers are not small: five wide bands over each other would say nothing.

    A point without an interval interrupts the band; it is never drawn across.
    """
    low, high = look.measure.interval
    known = rows[low].notna() & rows[high].notna() & (alone | ~rows["small"].astype(bool))
    for _, run in rows[known].groupby((~known).cumsum()[known]):
        x, upper, lower = _wall(run["bucket"]), run[high].round(3).tolist(), run[low].round(3).tolist()
        figure.add_trace(
            go.Scatter(
                x=x + x[::-1], y=upper + lower[::-1], mode="lines", line={"width": 0}, fill="toself",
                fillcolor=charts.faded(color, 0.16 if alone else 0.1), name="95 % interval", hoverinfo="skip",
                showlegend=False,
            )
        )  # fmt: skip


def immature_from(frame: pd.DataFrame) -> tuple[pd.Timestamp, float] | None:
    """The first bucket whose labels have not matured over all values, and the share that has from there on."""
    sums = frame.groupby("bucket")[["matured", "transactions"]].sum()
    sums = sums[sums["transactions"] > 0]
    late = sums[sums["matured"] / sums["transactions"] < MATURE_AT]
    if late.empty:
        return None
    after = sums[sums.index >= late.index[0]].sum()
    return late.index[0], float(after["matured"] / after["transactions"])


def _immature_ground(figure: go.Figure, frame: pd.DataFrame, look: Look, *, top: float) -> None:
    """Hatched from the first bucket that is not matured to the end, with the share that is and what it means."""
    found = immature_from(frame)
    if found is None:
        return
    start, share = found
    x0, x1 = (moment.strftime(_WALL) for moment in (start, frame["bucket"].max()))
    figure.add_trace(
        go.Scatter(
            x=[x0, x0, x1, x1], y=[0, top, top, 0], mode="lines", line={"width": 0}, fill="toself",
            fillcolor="rgba(0,0,0,0)", hoverinfo="skip", showlegend=False, name="Labels still arriving",
            fillpattern={"shape": "/", "size": 9, "solidity": 0.12, "fgcolor": charts.faded(look.colors.unknown, 0.55),
                         "bgcolor": charts.faded(look.colors.unknown, 0.06), "fillmode": "replace"},
        )
    )  # fmt: skip
    near_end = start > frame["bucket"].min() + (frame["bucket"].max() - frame["bucket"].min()) * 0.6
    figure.add_annotation(
        x=x1 if near_end else x0, y=1, yref="paper", xanchor="right" if near_end else "left", yanchor="top",
        showarrow=False, bgcolor=look.colors.background, borderpad=2,
        text=f"{fmt.percent(share, 0)} of labels matured: will rise", font={"color": look.colors.muted, "size": 12},
    )  # fmt: skip


def _direct_labels(
    figure: go.Figure, parts: dict[str, pd.DataFrame], look: Look, *, hues: dict[str, str], top: float
) -> None:
    """Names at the right end of the lines, moved apart so that they never overlap (7 % of the height each)."""
    ends = []
    for name, rows in parts.items():
        known = rows[rows[look.measure.column].notna()]
        if not known.empty:
            ends.append((float(known[look.measure.column].iloc[-1]), name))
    heights: list[float] = []
    for rate, _ in sorted(ends):
        heights.append(max(rate / top, heights[-1] + 0.07 if heights else 0.0))
    overflow = max(heights[-1] - 1.0, 0.0) if heights else 0.0
    for height, (_, name) in zip(heights, sorted(ends), strict=True):
        words = value_words(name)
        figure.add_annotation(
            x=1.005, xref="paper", xanchor="left", y=max(height - overflow, 0.0), yref="paper", yanchor="middle",
            showarrow=False, text=inert(words if len(words) <= 14 else f"{words[:13]}…"),
            font={"color": hues[name], "size": 12},
        )  # fmt: skip
