"""The fraud rate over time, one line a value. Pure: frame in, figure out.

Buckets whose labels have not matured are dashed on a grey ground, because their rate will still rise; points that rest
on few frauds are hollow. Frames are those of `ui.rates_frames.folded`.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ui import charts
from ui import format as fmt
from ui.rates_frames import ALL, MATURE_AT, OTHER, SMALL_FRAUDS, Measure, wilson

HEIGHT = 330


def series_colors(names: list[str], colors: charts.Palette) -> dict[str, str]:
    """A colour for each value by its place; "Other" is always grey."""
    hues = (colors.accent, colors.review, colors.genuine, colors.fraud, colors.neutral)
    return {name: colors.unknown if name == OTHER else hues[i % len(hues)] for i, name in enumerate(names)}


def bucket_name(start: pd.Timestamp, bucket: str) -> str:
    """'14 Oct 2026', 'Week of 12 Oct 2026', 'October 2026'."""
    if bucket == "month":
        return f"{start:%B %Y}"
    day = f"{start.day} {start:%b %Y}"
    return f"Week of {day}" if bucket == "week" else day


def rates(frame: pd.DataFrame, names: list[str], *, measure: Measure, bucket: str, colors: charts.Palette) -> go.Figure:
    """Lines of fraud in basis points of `measure`. Columns as `ui.rates_frames.folded`; `names` is the order."""
    if frame.empty or not names or not frame["transactions"].sum():
        return charts.empty("No transactions in this range with these filters", colors=colors, height=HEIGHT)
    of = "amount" if measure is Measure.VALUE else "transactions"
    figure = charts.figure(colors=colors, height=HEIGHT, y_title=f"Fraud (bps of {of})")
    data = frame.assign(bucket=pd.to_datetime(frame["bucket"])).sort_values("bucket")
    hues = series_colors(names, colors)
    if len(names) == 1 and measure is Measure.COUNT:
        _interval(figure, data, hues[names[0]])
    for name in names:
        _line(
            figure, data[data["value"] == name], name=name, measure=measure, bucket=bucket, color=hues[name], of=colors
        )
    _immature_ground(figure, data, colors=colors)
    if len(names) > 1:
        _direct_labels(figure, data, names, measure=measure, hues=hues)
    figure.update_yaxes(rangemode="tozero", nticks=6)
    figure.update_xaxes(
        type="date",
        tickformat="%-d %b\n%Y",
        showspikes=True,
        spikethickness=1,
        spikecolor=colors.grid,
        spikedash="solid",
    )
    figure.update_layout(hovermode="closest", margin={"l": 8, "r": 96 if len(names) > 1 else 12, "t": 24, "b": 8})
    return figure


def _hover(rows: pd.DataFrame, name: str, measure: Measure, bucket: str) -> list[str]:
    who = "" if name == ALL else f"<b>{_inert(name)}</b><br>"
    of = "value" if measure is Measure.VALUE else "transactions"
    texts = []
    for row in rows.to_dict("records"):
        rate, matured = row[measure.column], row["matured_share"]
        note = "<br>Few frauds: moves much by chance" if 0 < row["fraud"] < SMALL_FRAUDS else ""
        texts.append(
            f"{who}{bucket_name(row['bucket'], bucket)}<br>"
            f"{fmt.bps(None if pd.isna(rate) else rate)} of {of}<br>"
            f"{row['fraud']:,} frauds of {row['transactions']:,} transactions<br>"
            f"{fmt.money_short(int(row['fraud_amount_minor']))} of {fmt.money_short(int(row['amount_minor']))}<br>"
            f"{fmt.percent(None if pd.isna(matured) else matured, 0)} of labels matured{note}"
        )
    return texts


def _inert(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(
    figure: go.Figure, rows: pd.DataFrame, *, name: str, measure: Measure, bucket: str, color: str, of: charts.Palette
) -> None:
    """Two traces: solid up to the last matured bucket, dashed from there, both with the row as hover."""
    mature = (rows["matured_share"].fillna(0) >= MATURE_AT).to_numpy()
    first_immature = int(mature.argmin()) if not mature.all() else len(rows)
    small = (rows["fraud"] < SMALL_FRAUDS).to_numpy()
    texts = _hover(rows, name, measure, bucket)
    parts = (("solid", 0, first_immature), ("4px,3px", max(first_immature - 1, 0), len(rows)))
    for dash, start, stop in parts:
        if stop - start < 1 or (dash != "solid" and first_immature == len(rows)):
            continue
        part = slice(start, stop)
        figure.add_trace(
            go.Scatter(
                x=rows["bucket"].iloc[part].dt.strftime("%Y-%m-%d").tolist(),
                y=rows[measure.column].iloc[part].round(3).tolist(),
                mode="lines+markers",
                name=_inert(name),
                line={"color": color, "width": 2, "dash": dash},
                marker={
                    "size": 6,
                    "color": [of.background if hollow else color for hollow in small[part]],
                    "line": {"color": color, "width": 1.5},
                },
                hovertext=texts[part],
                hoverinfo="text",
                customdata=[name] * (stop - start),
                connectgaps=False,
                showlegend=False,
            )
        )


def _interval(figure: go.Figure, data: pd.DataFrame, color: str) -> None:
    low, high = wilson(data["fraud"], data["transactions"])
    x = data["bucket"].dt.strftime("%Y-%m-%d").tolist()
    shared = {"x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_trace(go.Scatter(y=high.round(3).tolist(), **shared))
    figure.add_trace(
        go.Scatter(
            y=low.round(3).tolist(), fill="tonexty", fillcolor=charts.faded(color, 0.14), name="95 % interval", **shared
        )
    )


def _immature_ground(figure: go.Figure, data: pd.DataFrame, *, colors: charts.Palette) -> None:
    """Grey from the first bucket that is not matured over all values to the end, with the words for it."""
    matured = data.assign(matured=data["matured_share"].fillna(0) * data["transactions"]).groupby("bucket")
    share = matured["matured"].sum() / matured["transactions"].sum()
    late = share[share < MATURE_AT]
    if late.empty:
        return
    start = late.index[0]
    end = share.index[-1] + pd.Timedelta(hours=12)
    figure.add_shape(
        type="rect", x0=start.isoformat(), x1=end.isoformat(), y0=0, y1=1,
        yref="paper", line={"width": 0}, fillcolor=charts.faded(colors.unknown, 0.09), layer="below",
    )  # fmt: skip
    figure.add_annotation(
        x=start.isoformat(), y=1, yref="paper", xanchor="left", yanchor="bottom", showarrow=False, xshift=2,
        text="Labels still arriving: will rise", font={"color": colors.muted, "size": 12},
    )  # fmt: skip


def _direct_labels(
    figure: go.Figure, data: pd.DataFrame, names: list[str], *, measure: Measure, hues: dict[str, str]
) -> None:
    """Names at the right end of the lines, moved apart so that they never overlap (7 % of the height each)."""
    ends = []
    for name in names:
        rows = data[(data["value"] == name) & data[measure.column].notna()]
        if not rows.empty:
            ends.append((float(rows[measure.column].iloc[-1]), name))
    top = max(float(data[measure.column].max()), 1e-9) * 1.05
    heights: list[float] = []
    for rate, _ in sorted(ends):
        floor = heights[-1] + 0.07 if heights else 0.0
        heights.append(max(rate / top, floor))
    overflow = max(heights[-1] - 1.0, 0.0) if heights else 0.0
    for height, (_, name) in zip(heights, sorted(ends), strict=True):
        figure.add_annotation(
            x=1.005, xref="paper", xanchor="left", y=max(height - overflow, 0.0), yref="paper", yanchor="middle",
            showarrow=False,
            text=_inert(fmt.word(name) if len(name) <= 14 else f"{fmt.word(name)[:13]}…"),
            font={"color": hues[name], "size": 12},
        )  # fmt: skip
    figure.update_yaxes(range=[0, top])
