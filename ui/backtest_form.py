"""What to backtest: the desk's own transactions or a file with its mapping, and which days."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import streamlit as st

from services.backtest_protocol import Request
from services.backtest_runs import FileSource
from services.errors import InvalidData, ServiceError
from ui import session, wiring

PROBLEM = "backtest-problem"
OWN, FILE = "own", "file"
_SOURCES = {OWN: "The desk's own transactions", FILE: "A file"}
SHIPPED = Path(__file__).resolve().parent.parent / "mappings"
OTHER = "Another mapping (TOML)"
_DELAY_DAYS = 7


def usual_days(today: date) -> tuple[date, date]:
    """The last four weeks whose labels are known."""
    last = today - timedelta(days=_DELAY_DAYS + 1)
    return last - timedelta(days=27), last


def show(*, running: bool) -> None:
    with st.container(border=True, gap="small"):
        source = st.segmented_control(
            "Transactions", list(_SOURCES), format_func=_SOURCES.__getitem__, default=OWN, required=True,
            key="backtest_source", disabled=running, label_visibility="collapsed",
        )  # fmt: skip
        if source == FILE:
            _file(running=running)
        _numbers(running=running)


def _file(*, running: bool) -> None:
    left, right = st.columns(2, gap="small")
    left.file_uploader(
        "CSV, Parquet or JSON lines", type=["csv", "parquet", "jsonl", "ndjson"], key="backtest_file", disabled=running
    )
    names = [path.name for path in sorted(SHIPPED.glob("*.toml"))]
    chosen = right.selectbox(
        "What its columns mean", [*names, OTHER], key="backtest_mapping", disabled=running,
        format_func=lambda name: name if name == OTHER else name.removesuffix(".toml").replace("_", " "),
    )  # fmt: skip
    if chosen == OTHER:
        right.file_uploader("Mapping", type=["toml"], key="backtest_toml", disabled=running)


def _numbers(*, running: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.date_input(
            "Days tested (UTC, both included)", usual_days(datetime.now(UTC).date()), key="backtest_days",
            format="YYYY-MM-DD", width=240, disabled=running,
        )  # fmt: skip
        for name, label, usual, about in (
            ("train", "Train, days", 28, "Days that each fold's model learns from."),
            ("delay", "Delay, days", _DELAY_DAYS, "Days between training and test, until labels are known."),
            ("test", "Test, days", 7, "Days of one fold."),
            ("label", "Labels after, days", _DELAY_DAYS, "Days until a label is known to the features: 1 shows what "
             "quick decisions are worth."),
        ):  # fmt: skip
            st.number_input(
                label, 1, 730, usual, step=1, key=f"backtest_{name}", width=130, disabled=running, help=about
            )
        st.button(
            "Run", type="primary", icon=":material/play_arrow:", key="backtest-run", disabled=running, on_click=_start
        )


def _start() -> None:
    held: dict[str, Any] = {str(key): value for key, value in st.session_state.items()}
    try:
        request = _request(held)
        source = _source(held) if held.get("backtest_source") == FILE else None
        try:
            wiring.services().backtests.start(request, source, actor=session.actor())
        except ServiceError:
            if source is not None:
                source.done()
            raise
    except ServiceError as error:
        st.session_state[PROBLEM] = error


def _request(held: dict[str, Any]) -> Request:
    chosen = held.get("backtest_days") or ()
    days = [day for day in (chosen if isinstance(chosen, (tuple, list)) else (chosen,)) if isinstance(day, date)]
    if not days:
        raise InvalidData("Choose the first and the last day to test; nothing was started.")
    return Request(
        min(days),
        max(days),
        train_days=int(held["backtest_train"]),
        delay_days=int(held["backtest_delay"]),
        test_days=int(held["backtest_test"]),
        label_days=float(held["backtest_label"]),
    )


def _source(held: dict[str, Any]) -> FileSource:
    """The uploaded file and its mapping, in a folder of their own that goes when the run has ended."""
    data, toml = held.get("backtest_file"), held.get("backtest_toml")
    if data is None:
        raise InvalidData("Choose a file first; nothing was started.")
    shipped = held.get("backtest_mapping")
    if shipped != OTHER:
        meaning = (SHIPPED / str(shipped)).read_bytes()
    elif toml is not None:
        meaning = bytes(toml.getbuffer())
    else:
        raise InvalidData("Choose the mapping that says what the file's columns mean; nothing was started.")
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-backtest-"))
    file, mapping = folder / f"data{Path(data.name).suffix.lower()}", folder / "mapping.toml"
    file.write_bytes(data.getbuffer())
    mapping.write_bytes(meaning)
    return FileSource(file, mapping, data.name, lambda: shutil.rmtree(folder, ignore_errors=True))
