"""What live scoring answered: one payment in full, or a batch as a table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import streamlit as st

from services.live_scoring import LiveScore, LiveScores
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
            score_parts.reason_chart(result.reasons, colors=colors),
            key="live-reasons",
            alt="Reasons for the score: " + "; ".join(r.text for r in result.reasons),
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
    """One line: where the time went."""
    t = scores.latency
    st.caption(
        f":material/timer: **{fmt.milliseconds(t.total_ms)}** in all: features {fmt.milliseconds(t.features_ms)}, "
        f"network {fmt.milliseconds(t.network_ms)}, model {fmt.milliseconds(t.model_ms)}"
    )


def batch(scores: LiveScores, *, skipped: int) -> None:
    """Riskiest first, with the counts that matter and the way to take the result along."""
    ordered = sorted(scores.results, key=lambda r: r.score, reverse=True)
    counts = {decision: sum(r.decision is decision for r in ordered) for decision in score_parts.DECISIONS}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{fmt.count(len(ordered))} scored**", width="content")
        for decision, found in counts.items():
            icon, color = score_parts.DECISIONS[decision]
            st.badge(f"{fmt.count(found)} {decision}", icon=icon, color=color)
        if skipped:
            st.badge(f"{fmt.count(skipped)} left out", icon=":material/rule:", color="gray")
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.download_button(
                "Download", _csv(ordered, scores.model_version), file_name="fraud-desk-scores.csv", mime="text/csv",
                icon=":material/download:", on_click="ignore", key="live-download",
            )  # fmt: skip
    column: Any = st.column_config
    st.dataframe(
        pa.table(
            {
                "row": [r.row + 2 for r in ordered],
                "id": [r.transaction_id for r in ordered],
                "score": [r.score for r in ordered],
                "decision": [fmt.word(str(r.decision)) for r in ordered],
                "reason": [r.reasons[0].text if r.reasons else fmt.MISSING for r in ordered],
            }
        ),
        hide_index=True,
        height="content" if len(ordered) <= 12 else 420,
        column_config={
            "row": column.NumberColumn("Line", width=56, format="%d", help="Line in the file."),
            "id": column.TextColumn("Transaction", width=180),
            "score": column.ProgressColumn("Score", min_value=0, max_value=1, format="%.3f", width=110),
            "decision": column.TextColumn("Decision", width=90),
            "reason": column.TextColumn("Top reason"),
        },
        alt="Scores of the file, riskiest first",
    )
    latency(scores)


def _csv(results: list[LiveScore], model_version: str) -> bytes:
    def reason(r: LiveScore, k: int) -> str:
        return r.reasons[k].text if len(r.reasons) > k else ""

    rows = (
        (r.row + 2, r.transaction_id, r.score, r.decision, reason(r, 0), reason(r, 1), reason(r, 2), model_version)
        for r in results
    )
    return export.to_csv(COLUMNS, rows)
