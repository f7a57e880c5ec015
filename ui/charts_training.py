"""Learning curves of a training job, read from what it prints. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd
import plotly.graph_objects as go

from ui import charts

HEIGHT = 230
_ROUND = re.compile(r"\[(\d+)\]\s+(.*)")
_VALUE = re.compile(r"(train|validation)-aucpr:(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")


def curves(lines: Iterable[str]) -> pd.DataFrame:
    """Columns round, train, validation (area under precision-recall, 0..1); NaN where a line lacks one.

    A round that is printed twice (a restarted job) counts once, as printed last.
    """
    rounds: dict[int, dict[str, float]] = {}
    for line in lines:
        found = _ROUND.search(line)
        values = {name: float(text) for name, text in _VALUE.findall(found.group(2))} if found else {}
        if found and values:
            rounds[int(found.group(1))] = values
    return pd.DataFrame(
        [{"round": n, "train": v.get("train"), "validation": v.get("validation")} for n, v in sorted(rounds.items())],
        columns=["round", "train", "validation"],
    ).astype({"train": float, "validation": float})


def learning(
    frame: pd.DataFrame, *, prevalence: float | None, colors: charts.Palette, height: int = HEIGHT
) -> go.Figure:
    """Both curves by boosting round, the best validation round marked, prevalence as the line of a blind guess."""
    if frame.empty:
        return charts.empty("Curves appear with the first boosting rounds", colors=colors, height=height)
    figure = charts.figure(colors=colors, height=height, x_title="Boosting round", y_title="Area under PR curve (0–1)")
    for name, color in (("train", colors.unknown), ("validation", colors.accent)):
        rows = frame[frame[name].notna()]
        if rows.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=rows["round"].tolist(), y=rows[name].tolist(), mode="lines", name=name, showlegend=False,
                line={"color": color, "width": 2}, hovertemplate=f"Round %{{x}}<br>{name} %{{y:.4f}}<extra></extra>",
            )
        )  # fmt: skip
    _best(figure, frame, colors)
    _line_names(figure, frame, colors)
    if prevalence is not None:
        figure.add_shape(
            type="line", x0=0, x1=1, xref="paper", y0=prevalence, y1=prevalence,
            line={"color": colors.muted, "width": 1, "dash": "dot"},
        )  # fmt: skip
        figure.add_annotation(
            text=f"Blind guess (prevalence) {prevalence:.4f}", x=0, xref="paper", y=prevalence, xanchor="left",
            yanchor="bottom", showarrow=False, font={"color": colors.muted, "size": 11},
        )  # fmt: skip
    figure.update_yaxes(rangemode="tozero", nticks=6)
    figure.update_layout(margin={"l": 8, "r": 76, "t": 16, "b": 8})
    return figure


def overlay(
    named: Sequence[tuple[str, pd.DataFrame]], *, colors: charts.Palette, height: int = HEIGHT + 60
) -> go.Figure:
    """The validation curves of several trainings, each named at its end; those without a curve are left out."""
    shown = [(name, frame[frame["validation"].notna()]) for name, frame in named]
    shown = [(name, frame) for name, frame in shown if not frame.empty]
    if not shown:
        return charts.empty("Neither left a learning curve", colors=colors, height=height)
    figure = charts.figure(colors=colors, height=height, x_title="Boosting round", y_title="Area under PR curve (0–1)")
    ends = [float(frame["validation"].iloc[-1]) for _, frame in shown]
    higher = ends.index(max(ends))
    looks = zip((colors.unknown, colors.accent), ("solid", "dot"), strict=True)
    for place, ((name, frame), (color, dash)) in enumerate(zip(shown, looks, strict=False)):
        figure.add_trace(
            go.Scatter(
                x=frame["round"].tolist(), y=frame["validation"].tolist(), mode="lines", name=name, showlegend=False,
                line={"color": color, "width": 2, "dash": dash},
                hovertemplate=f"{name}<br>Round %{{x}}<br>validation %{{y:.4f}}<extra></extra>",
            )
        )  # fmt: skip
        figure.add_annotation(
            text=name, x=float(frame["round"].iloc[-1]), y=ends[place], xanchor="left", showarrow=False, xshift=4,
            yanchor="bottom" if place == higher else "top", font={"color": colors.text, "size": 12},
        )  # fmt: skip
    figure.update_yaxes(rangemode="tozero", nticks=6)
    figure.update_layout(margin={"l": 8, "r": 64, "t": 16, "b": 8})
    return figure


def _best(figure: go.Figure, frame: pd.DataFrame, colors: charts.Palette) -> None:
    known = frame[frame["validation"].notna()]
    if known.empty:
        return
    place = int(known["validation"].to_numpy().argmax())
    number, best = int(known["round"].iloc[place]), float(known["validation"].iloc[place])
    figure.add_trace(
        go.Scatter(
            x=[number], y=[best], mode="markers+text", showlegend=False,
            marker={"color": colors.accent, "size": 8}, text=[f"best {best:.3f}"],
            textposition="top left", textfont={"color": colors.text, "size": 12}, hoverinfo="skip",
        )
    )  # fmt: skip


def _line_names(figure: go.Figure, frame: pd.DataFrame, colors: charts.Palette) -> None:
    """Names at the right end; the higher curve's above, the lower one's below, so that they never overlap."""
    ends = {}
    for name in ("train", "validation"):
        known = frame[name].dropna()
        if not known.empty:
            ends[name] = float(known.iloc[-1])
    for place, name in enumerate(sorted(ends, key=lambda key: -ends[key])):
        figure.add_annotation(
            text=name, x=1.005, xref="paper", y=ends[name], xanchor="left", showarrow=False,
            yanchor="bottom" if place == 0 and len(ends) > 1 else "top" if len(ends) > 1 else "middle",
            font={"color": colors.accent if name == "validation" else colors.muted, "size": 12},
        )  # fmt: skip
