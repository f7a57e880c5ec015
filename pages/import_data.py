"""Bring your own data: hand in a file, say what its columns mean, look at it as the desk would keep it, import it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from services.access import Permission
from services.domain.mapping import Mapping, file_text
from services.errors import ServiceError
from services.importing_preview import Preview
from ui import errors, import_mapping, import_preview, import_run, page, session, wiring
from ui import format as fmt

TITLE = "Bring your own data"
_KINDS = ["csv", "tsv", "txt", "parquet", "jsonl", "ndjson", "gz"]


def _file() -> Path | None:
    handed = st.file_uploader(
        "Transactions: CSV, Parquet or JSON lines",
        type=_KINDS,
        key="import-file",
        help="Larger files, on the machine itself: python -m services import FILE --mapping MAP.toml",
    )
    if handed is None:
        return None
    return wiring.services().imports.keep(handed.name, handed.getvalue())


def _start(path: Path, mapping: Mapping) -> None:
    st.session_state["import-problem"] = errors.attempt(
        lambda: wiring.services().imports.start(path, mapping, actor=session.actor())
    )


@st.cache_data(show_spinner=False, max_entries=4)
def _preview(path: Path, text: str, _mapping: Mapping) -> Preview:
    return wiring.services().imports.preview(path, _mapping)


def _mapped(path: Path) -> None:
    imports = wiring.services().imports
    chosen, text = import_mapping.choose(path, desk_file=imports.mapping_file)
    mapping = import_mapping.parsed(text) if text else None
    if mapping is None:
        return
    found = _preview(path, text, mapping)
    if mapping.tokenise and not imports.has_key:
        st.warning(
            "It replaces card numbers by keyed hashes: set FRAUD_DESK_TOKEN_KEY, then import.", icon=":material/key:"
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Import", type="primary", icon=":material/database_upload:", key="import-start",
            disabled=not found.records or bool(mapping.tokenise and not imports.has_key),
            on_click=_start, args=(path, mapping),
            help="Good rows are kept, bad ones listed. Importing a file again changes nothing.",
        )  # fmt: skip
        st.download_button(
            "Mapping", text, file_name=f"{path.stem}.toml", mime="application/toml", icon=":material/download:",
            on_click="ignore", key="import-toml", help="The mapping file, for FRAUD_DESK_MAPPING and for the command",
        )  # fmt: skip
        _standing(text, imports.mapping_file, chosen)
    import_preview.show(found)


def _standing(text: str, desk_file: Path | None, chosen: str) -> None:
    """Whether the desk itself works by this mapping, and what to set where it does not."""
    if chosen == import_mapping.DESK or (desk_file is not None and import_mapping.same(text, file_text(desk_file))):
        st.caption(":material/check: This desk works by this mapping.")
        return
    works = "the demo's columns" if desk_file is None else f"`{fmt.literal(desk_file.name)}`"
    st.caption(
        f"This desk works by {works}. For features, the front door and fraud rates of this data: save the mapping, set "
        "`FRAUD_DESK_MAPPING` to its full path for every process of the desk, and start them again."
    )


def _render() -> None:
    page.guard(Permission.IMPORT)
    page.header(TITLE, caption="Your transactions, in your columns: what they mean is one file, the mapping.")
    import_run.show()
    with page.content():
        path = _file()
        if path is None:
            page.state(
                "Nothing handed in yet",
                "Needed are a time, an amount and who paid; an id, a label and everything else are welcome.",
                icon="upload_file",
            )
            return
        try:
            _mapped(path)
        except ServiceError as error:
            errors.show(error)


_render()
