"""What people see while the desk sets itself up for the first time, before there is any service to ask.

Reads progress.json (its shape is in docs/contracts.md) and nothing else.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from ui import format as fmt

# The file is rewritten every two seconds while a start is under way; an older one has lost its writer.
SILENT_SECONDS = 20.0
_ICONS = {
    "done": ":green[:material/check_circle:]",
    "running": ":blue[:material/arrow_circle_right:]",
    "waiting": ":gray[:material/circle:]",
    "failed": ":red[:material/error:]",
}
_WORDS = {"done": "done", "running": "in progress", "waiting": "to come", "failed": "failed"}


def read(path: Path) -> dict[str, Any]:
    """The progress, or an empty start where the file is not there yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) else {"ready": False, "failed": None, "started_at": None, "steps": []}


def is_ready(path: Path) -> bool:
    """Whether people can use the desk. One small file read: cheap enough for every rerun."""
    return read(path)["ready"] is True


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `2 min 05 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def silence(path: Path, now: float) -> float:
    """Seconds since the file was last written; 0 while it does not exist."""
    try:
        return max(now - path.stat().st_mtime, 0.0)
    except OSError:
        return 0.0


def render(progress_path: Path) -> None:
    """The whole page; it looks again every second and gives way to the desk when the start is complete."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        _steps(progress_path)


@st.fragment(run_every="1s")
def _steps(path: Path) -> None:
    found = read(path)
    if found["ready"]:
        st.rerun(scope="app")
    first, failure = found.get("first", True), found["failed"]
    st.title("Setting up Fraud Desk" if first else "Starting Fraud Desk", anchor=False)
    if failure is None and silence(path, time.time()) > SILENT_SECONDS:
        failure = "The set-up has stopped without saying why."
    if failure is not None:
        _failure(failure, path)
    elif first and found.get("own_data"):
        st.markdown(
            "The desk is made ready for data of your own: nothing is simulated. Once it is there, an administrator "
            "imports your transactions and trains the first model. This takes seconds."
        )
    elif first:
        st.markdown(
            "The first start builds a working desk on this machine: months of simulated card payments, a model trained "
            "on them and put in service, and live traffic. It takes a minute or two; later starts take seconds."
        )
    else:
        st.markdown("Everything you had is kept; its services are being started.")
    with st.container(border=True):
        for step in found["steps"]:
            _step(step)
        if not found["steps"]:
            st.markdown(f"{_ICONS['running']} Starting")
    started = found["started_at"]
    if started and failure is None:
        elapsed = (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()
        st.caption(f"{duration(max(elapsed, 0))} so far. This page continues by itself.")


def _step(step: dict[str, Any]) -> None:
    """One line, and under the line of the step that runs how far it is."""
    state = step["state"]
    title = fmt.literal(step["title"])
    shown = {"running": f"**{title}**", "waiting": f":gray[{title}]", "failed": f"**{title}**"}.get(state, title)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"{_ICONS[state]} {shown}", width="content")
        took = step["seconds"] if state in ("done", "running") else None
        st.caption(duration(took) if took is not None else _WORDS[state], width="content")
    if state == "running" and (step["fraction"] is not None or step["detail"]):
        text = fmt.literal(step["detail"]) if step["detail"] else None
        if step["fraction"] is not None:
            st.progress(float(step["fraction"]), text=text)
        else:
            st.caption(text or "")


def _failure(sentence: str, path: Path) -> None:
    """What happened, what was kept, what to do."""
    logs = path.parent / "logs"
    where = "" if "log: " in sentence or not logs.is_dir() else f" The logs are in {logs}."
    st.error(
        f"**Fraud Desk could not be set up.** {fmt.literal(sentence)}{fmt.literal(where)}\n\n"
        "What is done so far is kept. Put the cause right, then start it again: it continues where it stopped.",
        icon=":material/error:",
    )
