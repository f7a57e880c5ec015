"""Freezing a training set, and the list of those that are frozen."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from services.flows import FlowVersion
from services.frozen_sets import FrozenSet
from services.training_data_import import Imported
from ui import errors, navigation, page, session, wiring
from ui import format as fmt
from ui.training_data_draft import Draft


def frozen() -> wiring.Read[tuple[FrozenSet, ...]]:
    job = wiring.services().training_data.job()  # one that ended may have frozen another set
    return wiring.last_good(
        ("training_data.frozen", job and job.finished_at),
        lambda: wiring.services().training_data.frozen(50),
        ttl=2.0,
        background=True,
    )


def form(draft: Draft, imported: Imported, *, blocked: str | None) -> None:
    """Freeze what was imported with the flow as it was saved last; a flow that was edited has to be saved first."""
    plain = not draft.flow.steps and draft.flow.columns == imported.features and draft.base is None
    unsaved = None if plain or not draft.changed else "Save the flow first: a frozen set names a version."
    held: FlowVersion | None = None if plain else draft.base
    with st.expander("Freeze a training set", icon=":material/ac_unit:"):
        said = f"{fmt.literal(held.name)}, version {held.version}" if held else "the columns as they are"
        st.caption(
            f"{imported.usable:,} rows with {said}. Rows, labels and flow are fixed; the lake keeps the snapshot."
        )
        name = st.text_input("Name", key="td-freeze-name", max_chars=80)
        why = blocked or unsaved
        if st.button("Freeze", key="td-freeze", width="stretch", disabled=why is not None, help=why):
            with errors.shown():
                wiring.services().training_data.start_freeze(
                    imported.selection, name=name, held=held, actor=session.actor()
                )
                wiring.forget("training_data.frozen")
                st.rerun()
        if unsaved:
            st.caption(f":orange[{unsaved}]")


def listed(sets: tuple[FrozenSet, ...], now: datetime) -> None:
    st.markdown("**Frozen training sets**")
    if not sets:
        page.empty("Nothing is frozen yet", "A frozen set fixes rows, labels and flow, so that models can be compared.")
        return
    newest = sets[0]
    st.page_link(
        navigation.file_of("retrain"), label=f"Train on {newest.name}", icon=":material/model_training:",
        query_params={"view": "new", "frozen": newest.frozen_id},
    )  # fmt: skip
    st.dataframe(
        [_row(item, now) for item in sets],
        hide_index=True,
        key="td-frozen",
        placeholder=fmt.MISSING,
        column_config={
            "Training set": st.column_config.TextColumn(pinned=True, width="medium"),
            "Rows": st.column_config.NumberColumn(format="localized"),
            "Frauds": st.column_config.NumberColumn(format="localized"),
        },
        alt="Frozen training sets, newest first, with window, label cut-off, flow, rows, frauds and checksum",
    )


def _row(item: FrozenSet, now: datetime) -> dict[str, object]:
    return {
        "Training set": item.name,
        "Window": f"{item.window_start:%d %b} to {item.window_end:%d %b %Y}",
        "Labels until": f"{item.label_cutoff:%d %b %Y %H:%M} UTC",
        "Flow": f"{item.flow_id}, version {item.flow_version}" if item.flow_id else "none",
        "Rows": item.usable,
        "Frauds": item.frauds,
        "Columns": len(item.features),
        "Snapshot": str(item.snapshot_id),
        "SHA-256": item.sha256,
        "Frozen": fmt.relative(item.frozen_at, now),
        "By": item.frozen_by,
    }
