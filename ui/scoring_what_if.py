"""What if: a payment as it is beside the same payment changed, both scored at one moment. Never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import streamlit as st

from services.access import Actor, Permission
from services.live_scoring import LiveScore, LiveScores
from services.scoring import REASONS_SHOWN
from ui import charts, errors, page, score_parts, scoring_result, scoring_what_if_demo, scoring_what_if_mapped, wiring
from ui import format as fmt
from ui.scoring_what_if_parts import SAME

_HELD = "what-if-scores"
_CHANGES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One reason on both sides. Contributions in log-odds; 0.0 where the feature moves nothing there."""

    feature: str
    before: str
    after: str
    before_log_odds: float
    after_log_odds: float

    @property
    def moved(self) -> float:
        return self.after_log_odds - self.before_log_odds


def changes(before: LiveScore, after: LiveScore) -> list[Change]:
    """Every feature whose contribution differs, the one that changed most first; of equals by its name."""
    left, right = ({r.feature: r for r in side.reasons} for side in (before, after))
    found = []
    for feature in {*left, *right}:
        a, b = left.get(feature), right.get(feature)
        texts = (a.text if a else "", b.text if b else "")
        change = Change(feature, *texts, a.contribution if a else 0.0, b.contribution if b else 0.0)
        if change.moved:
            found.append(change)
    return sorted(found, key=lambda c: (-abs(c.moved), c.feature))


@st.fragment(key="what-if")
def draw() -> None:
    """The controls, and both scores. One question to the model for each change; none when nothing changed."""
    actor = page.guard(Permission.SCORE_LIVE)
    mapping = wiring.services().live_scoring.mapping
    record, other = scoring_what_if_demo.ask() if mapping is None else scoring_what_if_mapped.ask(mapping)
    with errors.shown():
        scores = _scores(record, other, actor)
        before, after = scores.results
        moved = changes(before, after)
        left, right = st.columns(2, gap="medium")
        with left:
            _side(SAME, scores, before, former=None, key="before")
        with right:
            _side("Changed", scores, after, former=before.score, key="after")
        _table(moved)
        scoring_result.latency(scores)


def _scores(record: dict[str, Any], other: dict[str, Any], actor: Actor) -> LiveScores:
    asked = orjson.dumps([record, other])
    held: tuple[bytes, LiveScores] | None = st.session_state.get(_HELD)
    if held is None or held[0] != asked:
        other = {**other, "transaction_id": f"{record['transaction_id']}-if"}
        held = (asked, wiring.services().live_scoring.score([record, other], actor=actor))
        st.session_state[_HELD] = held
    return held[1]


def _side(title: str, scores: LiveScores, result: LiveScore, *, former: float | None, key: str) -> None:
    limits = scores.thresholds
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(title, width="content")
            st.markdown(f"### {fmt.score(result.score)}", anchors=False, width="content")
            score_parts.decision_badge(result.decision)
            if former is not None and result.score != former:
                st.caption(f"{fmt.signed(result.score - former, digits=3)} against as it is", width="content")
        score_parts.draw_scale(result.score, review=limits.review, decline=limits.decline, key=f"what-if-scale-{key}")
        shown = result.reasons[:REASONS_SHOWN]
        chart = score_parts.reason_chart(shown, colors=charts.palette(), narrow=True)
        charts.show(
            chart, key=f"what-if-reasons-{key}",
            alt=f"Reasons, {title.lower()}: " + "; ".join(r.text for r in shown),
        )  # fmt: skip


def _table(moved: list[Change]) -> None:
    """Which reasons changed most, strongest first."""
    if not moved:
        st.caption("Nothing is changed yet: move a slider or choose something else above.")
        return
    column: Any = st.column_config
    top = moved[:_CHANGES_SHOWN]
    st.markdown("**What changed most**")
    st.dataframe(
        pa.table(
            {
                "moved": [c.moved for c in top],
                "before": [c.before or fmt.MISSING for c in top],
                "after": [c.after or fmt.MISSING for c in top],
                "from": [c.before_log_odds for c in top],
                "to": [c.after_log_odds for c in top],
            }
        ),
        hide_index=True,
        height="content",
        column_config={
            "moved": column.NumberColumn("Change", width=80, format="%+.2f", help="Of the contribution, in log-odds."),
            "before": column.TextColumn(SAME),
            "after": column.TextColumn("Changed"),
            "from": column.NumberColumn("From", width=70, format="%+.2f", help="Contribution in log-odds."),
            "to": column.NumberColumn("To", width=70, format="%+.2f", help="Contribution in log-odds."),
        },
        alt="Reasons whose contribution changed most",
    )
