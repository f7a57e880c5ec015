"""History through the engine one transaction at a time, for whoever goes on from the states at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.features import online
from services.features.inputs import Event, LabelEvent
from services.features.memory import State
from services.features.plan import Plan

# Formulas are worked out for so many transactions together.
_BATCH = 1_000


def replay(
    plan: Plan,
    events: Iterable[Event],
    labels: Iterable[LabelEvent],
    *,
    on_row: Callable[[Event, list[float]], None] | None = None,
    since_ms: int | None = None,
    states: dict[str, State] | None = None,
) -> dict[str, State]:
    """Run `events` (ascending at_ms) and `labels` (ascending labelled_ms) and return the states at the end.

    A label known at or before an event's time is applied before the event; labels left over after the last event are
    applied at the end, so that the returned states are what scoring goes on from. Events of one millisecond keep the
    order they are given in. `on_row` gets each event at or after `since_ms` (all, where None) with its vector, in
    their order and some time after it was observed; earlier events only build state. `states` are continued in
    place; ValueError when either input goes back in time.
    """
    states = {} if states is None else states
    waiting = iter(labels)
    label = next(waiting, None)
    at_ms, known_ms = -(2**63), -(2**63)
    readings: list[online.Reading] = []
    for event in events:
        if event.at_ms < at_ms:
            raise ValueError(f"events are not in time order at {event.transaction_id}")
        at_ms = event.at_ms
        while label is not None and label.labelled_ms <= at_ms:
            known_ms = _apply(plan, label, states, known_ms)
            label = next(waiting, None)
        if on_row is not None and (since_ms is None or at_ms >= since_ms):
            readings.append(online.read(plan, event, states))
            if len(readings) == _BATCH:
                _hand_over(plan, readings, on_row)
        plan.observe(event, states)
    if on_row is not None:
        _hand_over(plan, readings, on_row)
    while label is not None:
        known_ms = _apply(plan, label, states, known_ms)
        label = next(waiting, None)
    return states


def _hand_over(plan: Plan, readings: list[online.Reading], on_row: Callable[[Event, list[float]], None]) -> None:
    for reading, vector in zip(readings, online.vectors(plan, readings), strict=True):
        on_row(reading.event, vector)
    readings.clear()


def _apply(plan: Plan, label: LabelEvent, states: dict[str, State], known_ms: int) -> int:
    if label.labelled_ms < known_ms:
        raise ValueError(f"labels are not in the order they became known at {label.transaction_id}")
    plan.observe_label(label, states)
    return label.labelled_ms
