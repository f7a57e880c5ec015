"""Where drafts live: one a person, in this process, so that neither another screen nor loading anew loses anything.

Widgets hold what is on the screen now; `absorb` takes it into the draft, `seed` gives a widget that comes (back) onto
the screen what the draft has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from ui import retrain_settings, session
from ui.retrain_draft import Draft

KEPT = 200
SETTING = "retrain_set_"
# Widget -> field of the draft.
FIELDS = {
    f"retrain_{name}": name
    for name in (
        "name", "source", "preset", "days", "cutoff", "flow", "frozen", "left_out", "method", "mode", "candidates",
        "minutes", "endpoint", "auto_deploy", "elsewhere",
    )
}  # fmt: skip
_AS: dict[str, Callable[[Any], Any]] = {
    "left_out": tuple,
    "days": lambda held: tuple(day for day in (held if isinstance(held, list | tuple) else (held,)) if day is not None),
    "candidates": int,
    "minutes": int,
}


@st.cache_resource(show_spinner=False)
def _drafts() -> OrderedDict[str, Draft]:
    return OrderedDict()


def load() -> Draft:
    return _drafts().get(session.actor().subject, Draft())


def save(draft: Draft) -> None:
    drafts, person = _drafts(), session.actor().subject
    drafts[person] = draft
    drafts.move_to_end(person)
    while len(drafts) > KEPT:
        drafts.popitem(last=False)


def clear() -> None:
    """A new draft; widgets on the screen would otherwise bring the former one back."""
    save(Draft())
    for key in [key for key in st.session_state if isinstance(key, str) and (key in FIELDS or key.startswith(SETTING))]:
        del st.session_state[key]


def absorb() -> Draft:
    """The draft with everything that is on the screen now."""
    draft, held = load(), st.session_state
    given: dict[str, Any] = {
        name: _AS.get(name, lambda value: value)(held[key])
        for key, name in FIELDS.items()
        if key in held and held[key] is not None
    }
    set_now = {key: held[SETTING + key] for key in retrain_settings.USUAL if SETTING + key in held}
    draft = replace(draft, **given, settings=retrain_settings.changed({**draft.settings, **set_now}))
    save(draft)
    return draft


def seed(name: str, value: Any) -> str:
    """The key of the field's widget, which shows `value` when it was not on the screen before."""
    key = f"retrain_{name}"
    st.session_state.setdefault(key, value)
    return key


def seed_setting(name: str, value: Any) -> str:
    key = SETTING + name
    st.session_state.setdefault(key, value)
    return key
