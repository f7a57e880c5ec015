"""What live scoring answered: one payment in full, or a batch as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from services.domain.states import Decision
from services.live_scoring import Latency, LiveScore, LiveScores
from services.scoring import REASONS_SHOWN
from ui import charts, export, score_parts
from ui import format as fmt

COLUMNS = ("row", "transaction_id", "score", "decision", "reason_1", "reason_2", "reason_3", "model_version")


def nothing_yet() -> None:
    with st.container(border=True, horizontal_alignment="center"):
        st.space("large")
        st.markdown(":gray[:material/bolt:] **No score yet**", text_alignment="center")
        st.caption(
            "Score the payment on the left: the live model answers here with its reasons. Nothing is stored.",
            text_alignment="center",
        )
        st.space("large")


def one(scores: LiveScores, *, former: float | None) -> None:
    """`former` is the score before, so that a changed field shows what it did."""
    result = scores.results[0]
    limits = scores.thresholds
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"### {fmt.score(result.score)}", anchors=False, width="content")
            score_parts.decision_badge(result.decision)
            st.caption(f"model {fmt.literal(scores.model_version)}", width="content")
            if former is not None:
                st.caption(f"{fmt.signed(result.score - former, digits=3)} against the score before", width="content")
        score_parts.draw_scale(result.score, review=limits.review, decline=limits.decline, key="live-scale")
        colors = charts.palette()
        charts.show(
            score_parts.reason_chart(result.reasons[:REASONS_SHOWN], colors=colors, narrow=True),
            key="live-reasons",
            alt="Reasons for the score: " + "; ".join(r.text for r in result.reasons[:REASONS_SHOWN]),
        )
        latency(scores)
        if result.features:
            with st.expander(f"What the model saw ({len(result.features)} features)", icon=":material/data_object:"):
                names = sorted(result.features)
                st.dataframe(
                    {"Feature": names, "Value": [result.features[name] for name in names]},
                    hide_index=True,
                    height=240,
                    column_config={"Value": st.column_config.NumberColumn(format="%.4g")},
                    alt="Feature values as scored",
                )


def latency(scores: LiveScores) -> None:
    """Where the time went, as a sentence and to scale."""
    t = scores.latency
    st.caption(
        f":material/timer: **{fmt.milliseconds(t.total_ms)}** in all: features {fmt.milliseconds(t.features_ms)}, "
        f"network {fmt.milliseconds(t.network_ms)}, model {fmt.milliseconds(t.model_ms)}"
    )
    charts.show(
        latency_chart(t, colors=charts.palette()), key="live-latency",
        alt=f"Milliseconds: features {t.features_ms:.1f}, network {t.network_ms:.1f}, model {t.model_ms:.1f}",
    )  # fmt: skip


def latency_chart(t: Latency, *, colors: charts.Palette) -> go.Figure:
    """Three parts of one bar, each named in it where it has room."""
    chart = charts.figure(colors=colors, height=34)
    parts = (("features", t.features_ms, colors.accent), ("network", t.network_ms, colors.unknown),
             ("model", t.model_ms, colors.neutral))  # fmt: skip
    whole = sum(value for _, value, _ in parts) or 1.0
    for name, value, color in parts:
        chart.add_bar(
            x=[value / whole], y=[""], orientation="h", marker_color=color, width=0.9, name=name,
            text=name if value / whole > 0.12 else "", textposition="inside", insidetextanchor="middle",
            hovertemplate=f"{name} {value:.1f} ms<extra></extra>",
        )  # fmt: skip
    chart.update_layout(barmode="stack", margin={"l": 0, "r": 0, "t": 2, "b": 2}, showlegend=False)
    chart.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    chart.update_yaxes(visible=False, fixedrange=True)
    return chart


def batch(scores: LiveScores) -> None:
    """Riskiest first, with the counts that matter and the way to take the result along."""
    ordered = sorted(scores.results, key=lambda r: r.score, reverse=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{fmt.count(len(ordered))} scored**", width="content")
        decisions({d: sum(r.decision is d for r in ordered) for d in score_parts.DECISIONS})
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.download_button(
                "Download", _csv(ordered, scores.model_version), file_name="fraud-desk-scores.csv", mime="text/csv",
                icon=":material/download:", on_click="ignore", key="live-download",
            )  # fmt: skip
    texts = [r.reasons[0].text if r.reasons else "" for r in ordered]
    found = zip(ordered, texts, strict=True)
    rows = [(r.row + 1, r.transaction_id, r.score, str(r.decision), text) for r, text in found]
    riskiest(rows, alt="Scores, riskiest first")
    latency(scores)


def decisions(counts: Mapping[Decision, int]) -> None:
    """How many of each decision, as badges with word and sign."""
    for decision, found in counts.items():
        icon, color = score_parts.DECISIONS[decision]
        st.badge(f"{fmt.count(found)} {decision}", icon=icon, color=color)


def riskiest(rows: Sequence[tuple[int, str, float, str, str]], *, alt: str) -> None:
    """A table of (row, id, score, decision, strongest reason)."""
    column: Any = st.column_config
    st.dataframe(
        pa.table(
            {
                "row": pa.array([row[0] for row in rows], pa.int64()),
                "id": pa.array([row[1] for row in rows], pa.string()),
                "score": pa.array([row[2] for row in rows], pa.float64()),
                "decision": pa.array([fmt.word(row[3]) for row in rows], pa.string()),
                "reason": pa.array([row[4] or fmt.MISSING for row in rows], pa.string()),
            }
        ),
        hide_index=True,
        height="content" if len(rows) <= 10 else 390,
        column_config={
            "row": column.NumberColumn("Row", width=70, format="localized", help="Of the input, counted from 1."),
            "id": column.TextColumn("Transaction", width=180),
            "score": column.ProgressColumn("Score", min_value=0, max_value=1, format="%.3f", width=110),
            "decision": column.TextColumn("Decision", width=90),
            "reason": column.TextColumn("Strongest reason"),
        },
        alt=alt,
    )


def _csv(results: list[LiveScore], model_version: str) -> bytes:
    def reason(r: LiveScore, k: int) -> str:
        return r.reasons[k].text if len(r.reasons) > k else ""

    rows = (
        (r.row + 1, r.transaction_id, r.score, r.decision, reason(r, 0), reason(r, 1), reason(r, 2), model_version)
        for r in results
    )
    return export.to_csv(COLUMNS, rows)
