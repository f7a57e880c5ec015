"""A new experiment in five steps: name, data, method, endpoint, review; then it is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import streamlit as st

from services.access import Actor, Permission, allows
from services.cost_estimate import Estimate, estimate
from services.errors import InvalidData, ServiceError
from services.flow_steps import Flow
from services.frozen_sets import FrozenSet
from services.training import AUTOPILOT, Experiment, TrainingRequest
from services.training_survey import Survey
from services.worker_status import utc_now
from ui import (
    errors,
    retrain_address,
    retrain_draft,
    retrain_reads,
    retrain_state,
    retrain_steps,
    retrain_summary,
    session,
    wiring,
)
from ui import format as fmt
from ui.retrain_draft import DATA, ENDPOINT, FROZEN, METHOD, NAME, REVIEW, STEPS, Draft

BAR, PROBLEM = "retrain-step", "retrain-problem"


@dataclass(frozen=True, slots=True)
class Plan:
    """A draft with everything that is made of it: the request, what is wrong at which step, what it will take."""

    draft: Draft
    wanted: TrainingRequest
    wrong: dict[int, list[str]]
    takes: Estimate
    held: FrozenSet | None
    counted: Survey | ServiceError | None


def plan(draft: Draft, past: tuple[Experiment, ...], now: datetime, *, count: bool) -> Plan:
    """`count` asks the lake what the window holds, which takes a moment the first time."""
    held = retrain_reads.frozen_of(draft)
    names = [spec.name for spec in retrain_reads.features()]
    wanted = retrain_draft.request(draft, past, features=names, now=now, held=held)
    span = retrain_draft.window(draft, now=now, held=held)
    in_time = span.start < span.end <= span.cutoff
    counted = retrain_reads.survey(draft, span) if count and in_time and draft.source != FROZEN else None
    wrong = retrain_draft.problems(
        draft, wanted, past, now=now, held=held, counted=counted.problem if isinstance(counted, Survey) else None,
        features_version=wiring.services().training_data.plan.version,
    )  # fmt: skip
    return Plan(draft, wanted, wrong, estimate(wanted, past), held, counted)


def show(now: datetime, past: tuple[Experiment, ...], *, person: Actor) -> None:
    if asked := st.query_params.pop("frozen", None):  # a link to train on that set
        retrain_state.clear()
        retrain_state.save(Draft(source=FROZEN, frozen=asked, step=DATA))
    draft = retrain_state.absorb()
    made = plan(draft, past, now, count=draft.step in (DATA, REVIEW))
    _bar(made)
    if draft.step == REVIEW:
        with st.container(border=True, gap="small"):
            _summary(made, full=True)
            _navigation(made, past, person=person)
        return
    left, right = st.columns([7, 4], gap="medium")
    with left.container(border=True, gap="small"):
        _step(made, past, now)
        for sentence in made.wrong[draft.step]:
            st.error(fmt.literal(sentence), icon=":material/error:")
        _navigation(made, past, person=person)
    with right.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown("**So far**", width="content")
            st.button("Start over", key="retrain-clear", type="tertiary", on_click=retrain_state.clear)
        _summary(made, full=False)
        st.button(
            "Review", key="retrain-review", icon=":material/fact_check:", on_click=_go, args=(REVIEW,),
            shortcut="Alt+V", width="stretch", help="Everything not chosen yet keeps what it has.",
        )  # fmt: skip


def _bar(made: Plan) -> None:
    """The steps; done ones are ticked, those with a problem say so. A click goes there, nothing is lost."""

    def label(step: int) -> str:
        mark = ":material/error: " if made.wrong[step] else ":material/check: " if step < made.draft.step else ""
        return f"{mark}{step + 1} {STEPS[step]}"

    st.session_state[BAR] = made.draft.step
    st.segmented_control(
        "Step", range(len(STEPS)), key=BAR, format_func=label, required=True, label_visibility="collapsed",
        on_change=_chosen, width="stretch",
    )  # fmt: skip


def _chosen() -> None:
    _go(st.session_state[BAR])


def _go(step: int | None) -> None:
    draft = retrain_state.absorb()
    retrain_state.save(replace(draft, step=draft.step if step is None else step))


def _step(made: Plan, past: tuple[Experiment, ...], now: datetime) -> None:
    draft = made.draft
    if draft.step == NAME:
        retrain_steps.name(draft, past, now, made.held)
    elif draft.step == DATA:
        retrain_steps.data(draft, now, made.held, made.counted)
    elif draft.step == METHOD:
        retrain_steps.method(draft)
    else:
        retrain_steps.endpoint(draft, wiring.services().training.endpoint_name)


def _summary(made: Plan, *, full: bool) -> None:
    """Every choice in words; `full`, on the review, with what each step still lacks."""
    wanted, services = made.wanted, wiring.services()
    span = retrain_draft.window(made.draft, now=wanted.window_end, held=made.held)
    features = [spec.name for spec in retrain_reads.features()]
    desk = services.training.endpoint_name
    lines = {
        "Name": (NAME, wanted.name),
        "Data": (DATA, retrain_summary.data(wanted, span, made.held, _flow_name(wanted), made.draft.source)),
        "Labels": (DATA, f"As known on {span.cutoff:%d %b %Y, %H:%M} UTC"),
        "Rows": (DATA, retrain_summary.counts(made.counted, made.held)),
        "Target": (DATA, retrain_summary.TARGET),
        "Features": (DATA, retrain_summary.columns(wanted, made.held, features)),
        "Method": (METHOD, retrain_summary.method(wanted)),
        "Endpoint": (ENDPOINT, retrain_summary.endpoint(wanted, desk)),
        "Time": (REVIEW, retrain_summary.duration(made.takes)),
        "Cost": (
            REVIEW,
            retrain_summary.cost(made.takes, services.training.price, searches=wanted.method == AUTOPILOT),
        ),
    }
    if not full:
        del lines["Target"], lines["Labels"]
        if made.counted is None and made.held is None:
            del lines["Rows"]
    for title, (step, text) in lines.items():
        if not full:
            st.markdown(f":gray[:small[{title}]]  \n:small[{fmt.literal(text)}]")
            continue
        head, body = st.columns([1, 6], gap="small")
        head.caption(title)
        body.markdown(fmt.literal(text))
        for sentence in made.wrong[step] if title in STEPS else ():
            body.error(fmt.literal(sentence), icon=":material/error:")


def _flow_name(wanted: TrainingRequest) -> str | None:
    if wanted.flow is None:
        return None
    return next((held.name for held in retrain_reads.flows() if held.flow_id == wanted.flow[0]), None)


def _navigation(made: Plan, past: tuple[Experiment, ...], *, person: Actor) -> None:
    step, problem = made.draft.step, st.session_state.pop(PROBLEM, None)
    if problem is not None:
        errors.show(problem)
    with st.container(horizontal=True, vertical_alignment="center", key="retrain-navigation"):
        st.button(
            "Back", key="retrain-back", icon=":material/arrow_back:", disabled=step == NAME, on_click=_go,
            args=(step - 1,), shortcut="Alt+B",
        )  # fmt: skip
        st.space("stretch")
        if step == REVIEW:
            _start_button(made, past, person=person)
            return
        st.button(
            "Next", key="retrain-next", type="primary", icon=":material/arrow_forward:", on_click=_next,
            shortcut="Ctrl+Enter",
        )  # fmt: skip


def _next() -> None:
    """One step on, unless this one has a problem: its sentence is on the screen."""
    draft = retrain_state.absorb()
    made = plan(draft, retrain_reads.experiments().value, utc_now(), count=draft.step == DATA)
    _go(draft.step if made.wrong[draft.step] else draft.step + 1)


def _start_button(made: Plan, past: tuple[Experiment, ...], *, person: Actor) -> None:
    running = next((e for e in past if not e.finished), None)
    wrong = retrain_draft.first_wrong(made.wrong)
    blocked = None
    if not allows(person, Permission.TRAIN):
        blocked = "Your role may not start training."
    elif running is not None:
        blocked = f"{running.name} is under way; one experiment runs at a time."
    elif wrong is not None:
        blocked = f"Step {wrong + 1}, {STEPS[wrong]}, has a problem."
    if blocked:
        st.caption(fmt.literal(blocked), width="content")
    st.button(
        "Start training", key="retrain-start", type="primary", icon=":material/play_arrow:", shortcut="Ctrl+Enter",
        disabled=blocked is not None, on_click=_start,
    )  # fmt: skip


def _start() -> None:
    """Ask for the experiment; a refusal is a sentence above the button, and the draft keeps what it holds."""
    try:
        draft = retrain_state.absorb()
        made = plan(draft, retrain_reads.experiments().value, utc_now(), count=False)
        wanted = _with_columns(made.wanted)
        identifier = wiring.services().training.start(wanted, actor=session.actor())
    except ServiceError as error:
        st.session_state[PROBLEM] = InvalidData(error.message) if isinstance(error, InvalidData) else error
        return
    wiring.forget("training.experiments")
    retrain_state.clear()
    retrain_address.look_at(identifier)


def _with_columns(wanted: TrainingRequest) -> TrainingRequest:
    """Saves a choice of columns as a flow, so that scoring sends what the model learned. Raises as flows.save."""
    if not wanted.features or wanted.flow is not None or wanted.frozen is not None:
        return wanted
    name = f"Columns of {wanted.name}"[:80]
    flow = Flow(wanted.features, ())
    saved = wiring.services().flows.save(flow, name=name, note="Chosen on Retrain.", actor=session.actor())
    wiring.forget("flows")
    return replace(wanted, flow=(saved.flow_id, saved.version))
