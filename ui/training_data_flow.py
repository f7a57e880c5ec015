"""The left side of Training data: columns, steps with undo, saving and loading versions, the JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import streamlit as st

from services.errors import InvalidData
from services.flow_steps import Flow, as_json, read_flow, words
from services.flows import FlowVersion, export
from services.training_data_import import Imported
from ui import errors, session, training_data_step, wiring
from ui import format as fmt
from ui.training_data_draft import Draft

DRAFT = "td-draft"


def draft(imported: Imported) -> Draft:
    """This person's flow; at first the features as they are."""
    if DRAFT not in st.session_state:
        st.session_state[DRAFT] = Draft(Flow(imported.features))
    held: Draft = st.session_state[DRAFT]
    return held


def _set(made: Draft) -> None:
    st.session_state[DRAFT] = made


def show(now_is: Draft, imported: Imported, columns: Mapping[str, str], broken: InvalidData | None) -> None:
    """Columns, the list of steps, and the form of the next one."""
    _columns(now_is, imported)
    _head(now_is)
    at = broken.problems[0].row if broken is not None and broken.problems else None
    for place, step in enumerate(now_is.flow.steps):
        _step(now_is, place, words(step), broken.problems[0].message if broken and at == place else None)
    if broken is not None and at is None:
        st.error(fmt.literal(broken.message), icon=":material/rule:")
    with st.container(border=True, gap="small"):
        made = training_data_step.form(columns)
        if made is not None:
            _set(now_is.add(made))
            st.rerun()


def _columns(now_is: Draft, imported: Imported) -> None:
    offered = [*imported.features, *imported.raw]
    taken = [name for name in now_is.flow.columns if name in offered]
    key = f"td-columns-{hash(now_is.flow.columns)}"

    def changed() -> None:
        chosen = set(st.session_state[key])
        if chosen:
            _set(now_is.columns(tuple(name for name in offered if name in chosen)))

    with st.expander(f"{len(taken)} of {len(offered)} columns", icon=":material/view_column:"):
        st.multiselect(
            "Columns the flow begins with", offered, default=taken, key=key, on_change=changed,
            help="Features of the desk first, then what else a transaction carries.",
        )  # fmt: skip
    lost = [name for name in now_is.flow.columns if name not in offered]
    if lost:
        st.warning(f"These rows have no {', '.join(map(fmt.literal, lost[:3]))}; choose the columns anew.")


def _head(now_is: Draft) -> None:
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with row:
        name = fmt.literal(now_is.base.name) if now_is.base else "New flow"
        version = f" · version {now_is.base.version}" if now_is.base else ""
        edited = " · edited" if now_is.changed and now_is.base else ""
        st.markdown(f"**{name}**{version}{edited}", width="stretch")
        st.button(
            "Undo", icon=":material/undo:", key="td-undo", disabled=not now_is.past,
            on_click=_set, args=(now_is.undo(),), type="tertiary",
        )  # fmt: skip
        st.button(
            "Redo", icon=":material/redo:", key="td-redo", disabled=not now_is.future,
            on_click=_set, args=(now_is.redo(),), type="tertiary",
        )  # fmt: skip
    if not now_is.flow.steps:
        st.caption("No step yet: the model is given the columns as they are.")


def _step(now_is: Draft, place: int, text: str, problem: str | None) -> None:
    row = st.container(horizontal=True, vertical_alignment="center", gap=None)
    with row:
        mark = ":red[:material/error:] " if problem else ""
        st.markdown(f"{mark}{place + 1}. {fmt.literal(text)}", width="stretch")
        moves = {
            "Earlier": now_is.move(place, -1),
            "Later": now_is.move(place, 1),
            "Remove": now_is.remove(place),
        }
        offered = [said for said, made in moves.items() if made != now_is]
        chosen = st.menu_button("Change", offered, key=f"td-change-{place}", type="tertiary", help=f"Step {place + 1}")
        if chosen is not None:
            _set(moves[chosen])
            st.rerun()
    if problem:
        st.caption(f":red[{fmt.literal(problem)}] What is shown is the flow up to here.")


def keep(now_is: Draft, imported: Imported, now: datetime, *, may: bool, whole: bool) -> None:
    """Save, load, duplicate, export and import. `whole`: every step can be run."""
    with st.expander("Save", icon=":material/save:"):
        base = now_is.base
        name = st.text_input(
            "Name", value=base.name if base else "", key=f"td-name-{base.flow_id if base else 'new'}", max_chars=80
        )
        note = st.text_input("Note", key="td-note", max_chars=300, placeholder="What changed, and why")
        label = f"Save as version {base.version + 1}" if base else "Save as a new flow"
        blocked = None if may else "Your role may not save flows."
        blocked = blocked or (None if whole else "A step cannot be run; mend or remove it first.")
        blocked = blocked or (None if now_is.changed else "There is nothing new to save.")
        if st.button(label, key="td-save", width="stretch", disabled=blocked is not None, help=blocked):
            _save(now_is, name, note, new=False)
        if base and st.button("Save as a new flow", key="td-save-new", width="stretch", disabled=not (may and whole)):
            _save(now_is, name, note, new=True)
    with st.expander("Load", icon=":material/folder_open:"), errors.shown():
        _load(now_is, now, may=may)
    with st.expander("JSON file", icon=":material/data_object:"), errors.shown():
        _file(now_is, imported)


def _save(now_is: Draft, name: str, note: str, *, new: bool) -> None:
    base = None if new else now_is.base
    with errors.shown():
        held = wiring.services().flows.save(
            now_is.flow, name=name, note=note, actor=session.actor(),
            flow_id=base.flow_id if base else None, after=base.version if base else 0,
        )  # fmt: skip
        wiring.forget("flows.list")
        _set(Draft(held.flow, held, now_is.past, now_is.future))
        st.toast(f"Saved as version {held.version} of {held.name}.")
        st.rerun()


def _load(now_is: Draft, now: datetime, *, may: bool) -> None:
    flows = wiring.last_good(("flows.list",), lambda: wiring.services().flows.list(), ttl=3.0).value
    if not flows:
        st.caption("No flow was saved yet.")
        return
    newest = st.selectbox("Flow", flows, format_func=lambda f: f.name, key="td-load-flow")
    versions = wiring.services().flows.versions(newest.flow_id)
    held: FlowVersion = st.selectbox("Version", versions, format_func=lambda f: _said(f, now), key="td-load-version")
    if held.note:
        st.caption(fmt.literal(held.note))
    left, right = st.columns(2, gap="small")
    if left.button(
        "Load", key="td-load", width="stretch", help="Replaces the steps at the left; undo brings them back."
    ):
        _set(Draft(held.flow, held, (*now_is.past, now_is.flow)))
        st.rerun()
    if right.button("Duplicate", key="td-duplicate", width="stretch", disabled=not may):
        made = wiring.services().flows.duplicate(held.flow_id, held.version, actor=session.actor())
        wiring.forget("flows.list")
        _set(Draft(made.flow, made, (*now_is.past, now_is.flow)))
        st.rerun()


def _said(held: FlowVersion, now: datetime) -> str:
    return f"{held.version} · {held.saved_by}, {fmt.relative(held.saved_at, now)}"


def _file(now_is: Draft, imported: Imported) -> None:
    text = export(now_is.base) if now_is.base and not now_is.changed else json.dumps(as_json(now_is.flow), indent=1)
    st.download_button("Export", text, "flow.json", "application/json", key="td-export", width="stretch")
    given = st.file_uploader("Import", type="json", key="td-upload", max_upload_size=1)
    if given is not None and st.button("Use this file", key="td-use-file", width="stretch"):
        _set(now_is.to(read_flow(given.getvalue().decode("utf-8", errors="replace"))))
        st.rerun()
