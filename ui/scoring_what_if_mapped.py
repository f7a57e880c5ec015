"""What if, for data of one's own: whatever the mapping names may be changed, each by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from datetime import datetime
from functools import partial
from typing import Any

import streamlit as st

from services.domain.mapping import Mapping, PlainFeature
from services.errors import ServiceError
from ui import scoring_form, scoring_mapped, wiring
from ui import scoring_what_if_parts as parts

_BASE = "what-if-own-base"
NEW, NONE = "Never seen before", "Not known"
# A name that nobody's data have.
_UNSEEN = "never_seen_before"
_COLUMNS, _AT_ONCE = 4, 11


def ask(mapping: Mapping) -> tuple[dict[str, Any], dict[str, Any]]:
    """The controls; the payment of the form as of the moment it was chosen or changed there, and changed."""
    values, record = _base(mapping)
    chosen = _controls(mapping, values, record)
    return record, changed(mapping, values, record, chosen, now=scoring_form.now())


def changed(
    mapping: Mapping, values: AnyMapping[str, Any], record: AnyMapping[str, Any], chosen: AnyMapping[str, Any], *,
    now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """The record of the form's `values` with what was chosen: `time` of day (UTC), and by the names of the values
    what they are now; SAME, NEW and NONE as said there."""
    made = dict(values)
    for name, value in chosen.items():
        if name in made and value != parts.SAME:
            made[name] = {NEW: _UNSEEN, NONE: None}.get(value, value) if isinstance(value, str) else value
    moment = datetime.fromisoformat(record["event_time"])
    return scoring_mapped.record_of(
        mapping, made, now=parts.at(moment, chosen["time"], now), identifier=record["transaction_id"],
        base=scoring_form.base(),
    )  # fmt: skip


def _base(mapping: Mapping) -> tuple[dict[str, Any], dict[str, Any]]:
    """The form's values and its record."""
    start = scoring_form.base()
    scoring_mapped.fill(mapping, start)
    values = scoring_mapped.values(mapping)
    held: tuple[Any, dict[str, Any]] | None = st.session_state.get(_BASE)
    if held is None or held[0] != values:
        record = scoring_mapped.record_of(
            mapping, values, now=scoring_form.now(), identifier=scoring_form.new_id(), base=start
        )
        st.session_state[_BASE] = held = (values, record)
        _reset(mapping, values, record)
    return held


def _reset(mapping: Mapping, values: AnyMapping[str, Any], record: AnyMapping[str, Any]) -> None:
    """All controls as the payment is."""
    start = parts.of_payment(record) | {f"entity.{kind}": parts.SAME for kind in mapping.entities}
    for feature in mapping.features:
        value = values.get(f"feature.{feature.name}")
        start[f"feature.{feature.name}"] = value if feature.kind == "number" else value or NONE
    for name, value in start.items():
        st.session_state[parts.KEY + name] = value


def _controls(mapping: Mapping, values: AnyMapping[str, Any], record: AnyMapping[str, Any]) -> dict[str, Any]:
    with st.container(border=True):
        drawn = list(_each(mapping, values, record))
        _grid([*drawn[:_AT_ONCE], partial(parts.reset_button, partial(_reset, mapping, values, record))])
        if more := drawn[_AT_ONCE:]:
            with st.expander(f"{len(more)} more columns", icon=":material/tune:"):
                _grid(more)
    names = ["amount", "time", *(f"entity.{kind}" for kind in mapping.entities)]
    names += [f"feature.{feature.name}" for feature in mapping.features]
    return {name: st.session_state[parts.KEY + name] for name in names}


def _grid(drawn: list[Any]) -> None:
    for start in range(0, len(drawn), _COLUMNS):
        row = drawn[start : start + _COLUMNS]
        for column, draw in zip(st.columns(_COLUMNS, vertical_alignment="bottom"), row, strict=False):
            with column:
                draw()


def _each(mapping: Mapping, values: AnyMapping[str, Any], record: AnyMapping[str, Any]) -> Iterator[Any]:
    """The controls, not drawn yet."""
    yield partial(parts.amount, record)
    yield parts.clock
    for place, kind in enumerate(mapping.entities):
        others = () if not place else (NONE, *_known(kind))  # somebody pays
        yield partial(_entity, kind, values.get(f"entity.{kind}"), others)
    for feature in mapping.features:
        yield partial(_feature, feature, values.get(f"feature.{feature.name}"))


def _known(kind: str) -> tuple[str, ...]:
    """Some that the desk has met; none while it cannot be asked."""
    try:
        live = wiring.services().live_scoring
        found: tuple[str, ...] = wiring.last_good(("live.known", kind), lambda: live.known(kind), ttl=60.0).value
    except ServiceError:
        return ()
    return found


def _entity(kind: str, value: str | None, others: tuple[str, ...]) -> None:
    st.selectbox(
        kind.replace("_", " ").capitalize(), tuple(dict.fromkeys((parts.SAME, NEW, *others))),
        key=f"{parts.KEY}entity.{kind}", accept_new_options=True, help=f"It is {value or 'not known'}.",
    )  # fmt: skip


def _feature(feature: PlainFeature, value: Any) -> None:
    key = f"{parts.KEY}feature.{feature.name}"
    label = f"{feature.title} ({feature.unit})" if feature.unit else feature.title
    if feature.kind == "number" and value:
        least, most = min(value * 10.0, 0.0), max(value * 10.0, 0.0)
        st.slider(label, least, most, step=(most - least) / 1000, format="%.4g", key=key)
    elif feature.kind == "number":
        st.number_input(label, key=key, value=None, placeholder=NONE)
    elif feature.kind == "flag":
        st.selectbox(label, ("yes", "no", NONE), key=key)
    else:
        found = _known(feature.name) if feature.kind == "category" else ()
        options = tuple(dict.fromkeys((st.session_state[key], NONE, value or NONE, *found)))
        st.selectbox(label, options, key=key, accept_new_options=True)
