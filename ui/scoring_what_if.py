"""What if: a payment as it is beside the same payment changed, both scored at one moment. Never stored."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import orjson
import pyarrow as pa
import streamlit as st

from services.access import Actor, Permission
from services.domain.states import Channel, EntryMode
from services.live_scoring import LiveScore, LiveScores
from services.scoring import REASONS_SHOWN
from ui import charts, errors, page, score_parts, scoring_form, scoring_result, wiring
from ui import format as fmt

_HELD, _BASE = "what-if-scores", "what-if-base"
_KEY = "what-if-"
SAME = "As it is"
NEW_DEVICE, NO_DEVICE, NEW_MERCHANT = "Never seen before", "No device", "Never met before"
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


def changed(record: Mapping[str, Any], chosen: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The record with what was chosen: amount (major units), time (of day, UTC: its latest moment that is not in the
    future), category, country, channel, entry_mode, device, merchant."""
    made = copy.deepcopy(dict(record))
    made["amount_minor"] = round(chosen["amount"] * 10 ** record["exponent"])
    made["event_time"] = _at(datetime.fromisoformat(record["event_time"]), chosen["time"], now).isoformat()
    made["channel"], made["entry_mode"] = chosen["channel"], chosen["entry_mode"]
    merchant = made["merchant"]
    if chosen["category"] != merchant["category"]:
        merchant |= {"category": chosen["category"], "mcc": scoring_form.CATEGORIES.get(chosen["category"], "5999")}
    merchant["country"] = chosen["country"]
    if chosen["merchant"] == NEW_MERCHANT:
        merchant["id"] = "mer_never_met"
    if chosen["device"] == NEW_DEVICE:
        made["device"] = {"id": "dev_never_seen"}
    elif chosen["device"] == NO_DEVICE:
        made.pop("device", None)
    return made


def _at(moment: datetime, clock: time, now: datetime) -> datetime:
    if (moment.hour, moment.minute) == (clock.hour, clock.minute):
        return moment
    found = moment.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return found if found <= now else found - timedelta(days=1)


@st.fragment(key="what-if")
def draw() -> None:
    """The controls, and both scores. One question to the model for each change; none when nothing changed."""
    actor = page.guard(Permission.SCORE_LIVE)
    record = _base()
    chosen = _controls(record)
    other = changed(record, chosen, now=scoring_form.now())
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


def _base() -> dict[str, Any]:
    """The payment of the form, as of the moment it was chosen or changed there."""
    fields = scoring_form.fields()
    base = scoring_form.base()
    held: tuple[Any, dict[str, Any]] | None = st.session_state.get(_BASE)
    seen = (fields, base.transaction_id if base else None)
    if held is None or held[0] != seen:
        record = scoring_form.record_of(fields, base, now=scoring_form.now(), identifier=scoring_form.new_id())
        st.session_state[_BASE] = held = (seen, record)
        reset(record)
    return held[1]


def reset(record: Mapping[str, Any]) -> None:
    """All controls as the payment is."""
    moment = datetime.fromisoformat(record["event_time"])
    values = {
        "amount": record["amount_minor"] / 10 ** record["exponent"], "time": time(moment.hour, moment.minute),
        "category": record["merchant"]["category"], "country": record["merchant"]["country"],
        "channel": record["channel"], "entry_mode": record["entry_mode"], "device": SAME, "merchant": SAME,
    }  # fmt: skip
    for name, value in values.items():
        st.session_state[_KEY + name] = value


def _controls(record: dict[str, Any]) -> dict[str, Any]:
    categories, countries = scoring_form.known()
    merchant = record["merchant"]
    with st.container(border=True):
        top = st.columns(4)
        bottom = st.columns([22, 22, 20, 20, 16], vertical_alignment="bottom")
        with top[0]:
            amount = record["amount_minor"] / 10 ** record["exponent"]
            most = float(max(1_000, round(amount * 10, -2)))
            st.slider(f"Amount ({record['currency']})", 0.0, most, step=most / 1000, format="%.2f", key=f"{_KEY}amount")
        with top[1]:
            st.slider("Time of day (UTC)", time(0, 0), time(23, 59), step=timedelta(minutes=1), key=f"{_KEY}time")
        with top[2]:
            _choice("Category", "category", (merchant["category"], *categories))
        with top[3]:
            _choice("Merchant country", "country", (merchant["country"], *countries))
        with bottom[0]:
            _choice("Channel", "channel", tuple(str(c) for c in Channel))
        with bottom[1]:
            _choice("Entry", "entry_mode", tuple(str(e) for e in EntryMode))
        with bottom[2]:
            _choice("Device", "device", (SAME, NEW_DEVICE, NO_DEVICE))
        with bottom[3]:
            _choice("Merchant", "merchant", (SAME, NEW_MERCHANT))
        with bottom[4]:
            st.button(
                "Reset", icon=":material/restart_alt:", key=f"{_KEY}reset", on_click=reset, args=(record,),
                shortcut="Alt+Z", help="All as it is", width="stretch",
            )  # fmt: skip
    names = ("amount", "time", "category", "country", "channel", "entry_mode", "device", "merchant")
    return {name: st.session_state[_KEY + name] for name in names}


def _choice(label: str, name: str, options: tuple[str, ...]) -> None:
    st.selectbox(
        label, tuple(dict.fromkeys(options)), key=_KEY + name,
        format_func=lambda v: v if v.isupper() or " " in v else fmt.word(v),
    )  # fmt: skip


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
        chart = score_parts.reason_chart(shown, colors=charts.palette())
        chart.update_xaxes(title_text="Log-odds")  # there is half of the width
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
