"""The scores of a file onto the desk's transactions, for those who may: asked once more, watched, counted."""

from __future__ import annotations

import streamlit as st

from services.access import Actor, Permission
from services.domain.states import RunState
from services.scoring_runs_state import ScoringRun
from services.scoring_runs_write_back import Written
from ui import errors, page, scoring_form, wiring
from ui import format as fmt

_PROBLEM, _OF = "write-back-problem", "write-back-of"


def offer(run: ScoringRun, actor: Actor) -> None:
    """The button with its question; nothing for those who may not, and while it is under way."""
    back = wiring.services().file_write_back
    if not run.scored or not back.allowed(actor):
        return
    held = back.get(run.run_id, actor=actor)
    if held is not None and held.state is RunState.RUNNING and not held.interrupted(scoring_form.now()):
        return
    cut = held is not None and held.state is not RunState.DONE
    with st.popover("Go on writing back" if cut else "Write back", icon=":material/input:"):
        st.markdown(f"Write these {fmt.count(run.scored)} scores onto the transactions they are of?")
        st.caption(
            "Only transactions that the desk has, with the same amount, time and customer, and has scored. What "
            "somebody decided stays. A new decision to review or decline opens an alert; none is closed. Twice changes "
            "nothing. The audit names you."
        )
        st.button(
            "Write back", type="primary", icon=":material/check:", key="live-run-write-back", on_click=_start,
            args=(run.run_id, actor),
        )  # fmt: skip


def _start(run_id: str, actor: Actor) -> None:
    st.session_state[_PROBLEM] = errors.attempt(lambda: wiring.services().file_write_back.start(run_id, actor=actor))


def progress(run: ScoringRun, actor: Actor) -> None:
    """How far it is, or what became of it; nothing where nobody began."""
    if (problem := st.session_state.pop(_PROBLEM, None)) is not None:
        errors.show(problem)
    back = wiring.services().file_write_back
    held = back.get(run.run_id, actor=actor)
    if held is None:
        return
    if held.state is RunState.RUNNING and not held.interrupted(scoring_form.now()):
        st.session_state[_OF] = run.run_id
        _watch()
    else:
        _told(held, interrupted=held.state is RunState.RUNNING)


@st.fragment(run_every="1s", key="live-write-back-watch")
def _watch() -> None:
    """What is under way, once a second, until it ends."""
    actor = page.guard(Permission.SCORE_LIVE)
    back = wiring.services().file_write_back
    with errors.shown():
        held = back.get(st.session_state[_OF], actor=actor)
        if held is None or held.state is not RunState.RUNNING or held.interrupted(scoring_form.now()):
            wiring.forget("queue", "live")
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.progress(held.fraction, text=f"Written back: {fmt.count(held.rows)} of {fmt.count(held.total)} scores")
            if back.allowed(actor):
                st.button(
                    "Stop", icon=":material/cancel:", key="live-write-back-stop", on_click=_stop,
                    args=(held.run_id, actor), help="What is written stays; it can go on later.",
                )  # fmt: skip
        if held.trouble:
            st.warning(fmt.literal(held.trouble), icon=":material/cloud_off:")


def _stop(run_id: str, actor: Actor) -> None:
    st.session_state[_PROBLEM] = errors.attempt(lambda: wiring.services().file_write_back.stop(run_id, actor=actor))


def _told(held: Written, *, interrupted: bool) -> None:
    whole = held.state is RunState.DONE
    box = st.success if whole else st.warning
    icon = ":material/check_circle:" if whole else ":material/power_off:"
    box(sentence(held, interrupted=interrupted), icon=icon)


def sentence(held: Written, *, interrupted: bool) -> str:
    """What became of the scores, every one counted once."""
    counts = (
        (held.known, "as new already"), (held.absent, "not found"), (held.decided, "decided already"),
        (held.other, "with another amount, time or customer"), (held.unscored, "without a score of the desk"),
    )  # fmt: skip
    left = "; ".join(f"{fmt.count(count)} {what}" for count, what in counts if count)
    said = f"{fmt.count(held.written)} scores written back" + (f", left as they were: {left}" if left else "") + "."
    if held.alerts:
        said += f" {fmt.count(held.alerts)} {'alert was' if held.alerts == 1 else 'alerts were'} opened."
    if held.state is RunState.DONE:
        return said
    why = "Its process is gone." if interrupted else held.trouble or "It was stopped."
    return f"{fmt.literal(why)} {said} {fmt.count(max(held.total - held.rows, 0))} are left to do."
