"""A score as a person reads it: the number against its thresholds, and the reasons as signed words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from services.domain.states import Decision
from services.transactions import Reason, Score, Transaction
from ui import charts
from ui import format as fmt

DECISIONS: dict[Decision, tuple[str, Any]] = {
    Decision.APPROVE: (":material/check_circle:", "green"),
    Decision.REVIEW: (":material/visibility:", "orange"),
    Decision.DECLINE: (":material/block:", "red"),
}


# The part of the scale that a threshold's name takes, where the scale is narrow.
_LABEL = 0.25


def decision_badge(decision: Decision) -> None:
    icon, color = DECISIONS[decision]
    st.badge(fmt.word(str(decision)), icon=icon, color=color)


def scale(value: float, *, review: float, decline: float, colors: charts.Palette) -> go.Figure:
    """The score on its own 0 to 1 line, with both thresholds marked on it."""
    color = colors.fraud if value >= decline else colors.review if value >= review else colors.genuine
    chart = charts.figure(colors=colors, height=46)
    chart.add_bar(
        x=[1.0], y=[""], orientation="h", marker_color=colors.grid, hoverinfo="skip", width=0.5, marker_line_width=0
    )
    chart.add_bar(
        x=[value], y=[""], orientation="h", marker_color=color, width=0.5, marker_line_width=0,
        hovertemplate=f"Score {value:.3f}<extra></extra>",
    )  # fmt: skip
    for limit in (review, decline):
        chart.add_vline(x=limit, line_color=colors.text, line_width=1.5)
    for at, anchor, text in scale_labels(review, decline):
        chart.add_annotation(
            x=at, y=1.0, yref="paper", xanchor=anchor, yanchor="bottom", showarrow=False, text=text,
            font={"size": 11, "color": colors.muted},
        )  # fmt: skip
    chart.update_layout(barmode="overlay", margin={"l": 0, "r": 0, "t": 20, "b": 2})
    chart.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    chart.update_yaxes(visible=False, fixedrange=True)
    return chart


def scale_labels(review: float, decline: float) -> list[tuple[float, str, str]]:
    """(place, the text's side that is at it, text): outwards of each threshold, inwards where the scale ends too soon.
    Where they would meet they are one text."""
    left, right = review < _LABEL, decline > 1 - _LABEL
    texts = f"review {review:.2f}", f"decline {decline:.2f}"
    if left != right and decline - review < _LABEL:
        joint = " · ".join(texts)
        return [(review, "left", joint)] if left else [(decline, "right", joint)]
    return [(review, "left" if left else "right", texts[0]), (decline, "right" if right else "left", texts[1])]


def draw_scale(score_value: float, *, review: float, decline: float, key: str) -> None:
    chart = scale(score_value, review=review, decline=decline, colors=charts.palette())
    st.plotly_chart(
        chart, key=key, width="stretch", theme=None, config={"displayModeBar": False, "staticPlot": False},
        alt=f"Score {score_value:.3f} on a line from 0 to 1; review from {review:.2f}, decline from {decline:.2f}",
    )  # fmt: skip


def reason_lines(reasons: Sequence[Reason], *, limit: int = 4) -> None:
    """Strongest first; an arrow and a sign say which way each one moved the score."""
    if not reasons:
        st.caption("Reasons are kept for scores at or above the review threshold.")
        return
    st.markdown("  \n".join(_line(reason) for reason in reasons[:limit]))


def _line(reason: Reason) -> str:
    arrow = ":red[:material/arrow_upward:]" if reason.contribution >= 0 else ":green[:material/arrow_downward:]"
    return f"{arrow} {fmt.literal(reason.text)} :gray[{fmt.signed(reason.contribution, digits=2)}]"


def reason_chart(reasons: Sequence[Reason], *, colors: charts.Palette, narrow: bool = False) -> go.Figure:
    """Signed contributions in log-odds, strongest on top, each bar with its sentence, in two lines where it is
    narrow."""
    if not reasons:
        return charts.empty("No reasons were kept for this score", colors=colors, height=120)
    ordered = sorted(reasons, key=lambda r: abs(r.contribution))
    each = 44 if narrow else 34
    title = "Log-odds" if narrow else "Contribution to the score (log-odds)"
    chart = charts.figure(colors=colors, height=44 + each * len(ordered), x_title=title)
    chart.add_bar(
        x=[r.contribution for r in ordered],
        y=[_lines(r.text) if narrow else _short(r.text) for r in ordered],
        orientation="h",
        marker_color=[colors.fraud if r.contribution >= 0 else colors.genuine for r in ordered],
        text=[fmt.signed(r.contribution, digits=2) for r in ordered],
        textposition="outside",
        cliponaxis=False,
        customdata=[[_number(r.value), _number(r.normal), _short(r.text, 120)] for r in ordered],
        hovertemplate="%{customdata[2]}<br>Value %{customdata[0]}, usual %{customdata[1]}<extra></extra>",
    )
    widest = max(abs(r.contribution) for r in ordered) or 1.0
    lowest = min(r.contribution for r in ordered)
    low = lowest - widest * (0.7 if narrow else 0.4) if lowest < 0 else 0
    chart.update_xaxes(
        range=[low, widest * (1.7 if narrow else 1.35)], zeroline=True, zerolinecolor=colors.muted, showgrid=False
    )
    chart.update_yaxes(showgrid=False)
    chart.update_yaxes(tickfont={"color": colors.text, "size": 13})
    return chart


def _lines(text: str) -> str:
    """At most two lines."""
    parts = textwrap.wrap(text, 34, max_lines=2, placeholder=" …")
    return "<br>".join(_short(part) for part in parts)


def _short(text: str, limit: int = 52) -> str:
    """Plotly reads some HTML in labels: angle brackets become look-alikes of themselves."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe if len(text) <= limit else safe[: limit - 1] + "…"


def _number(value: float | None) -> str:
    return fmt.MISSING if value is None else f"{value:,.4g}"


def summary(score: Score, *, key: str) -> None:
    """Number, decision and scale of a stored score."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"#### {fmt.score(score.value)}", anchors=False, width="content")
        decision_badge(score.decision)
        st.caption(
            f"model {fmt.literal(score.model_version)}",
            help=f"Scored {fmt.utc(score.scored_at)} in {fmt.milliseconds(score.latency_ms)}",
            width="content",
        )
    draw_scale(score.value, review=score.review_threshold, decline=score.decline_threshold, key=key)


def not_scored(transaction: Transaction) -> None:
    """Why there is no score; an absent score is never drawn as a low one."""
    failure = transaction.scoring_failure
    if failure is None:
        st.info("Not scored yet; new transactions are scored within seconds.", icon=":material/hourglass_top:")
        return
    st.info(
        f"Not scored: the model did not answer ({failure.attempts} attempts, last {fmt.utc(failure.failed_at)}). "
        "It is tried again by itself.",
        icon=":material/hourglass_top:",
    )
