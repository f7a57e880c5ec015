"""The processes' own output: bounded on disk, and its last word for the person who wonders why one ended."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

MAX_BYTES = 8_000_000


def rotate(log: Path, *, max_bytes: int = MAX_BYTES) -> bool:
    """Keep a log and one former part below `max_bytes` each; True when it was cut.

    The writers hold the file open in append mode, so it is copied aside and emptied in place. Lines written between
    the two are lost; that is the price of the log outliving the supervisor.
    """
    try:
        if log.stat().st_size <= max_bytes:
            return False
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


def last_words(log: Path, *, since: int = 0) -> str:
    """The last line that says something, at most 300 characters; `since` is the byte where the process began.

    Structured lines (mongod's, rclone's and our own) give their message, and of those an error wins over the
    routine lines of a shutdown that follow it.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = min(since, size) if since <= size else 0  # it was rotated since
            file.seek(max(start, size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    words, routine = "", ""
    for line in reversed([line.strip() for line in lines if line.strip()]):
        message, severe = _message(line)
        if severe:
            words = message
            break
        routine = routine or message
    return (words or routine)[:300]


def _message(line: str) -> tuple[str, bool]:
    """The message of one line and whether it explains an end: every plain line does, of structured ones the errors."""
    if not line.startswith("{"):
        return line, True
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return line, True
    message = str(entry.get("msg") or entry.get("message") or line)
    attributes = entry.get("attr")
    if isinstance(attributes, dict) and attributes.get("error"):
        message = f"{message}: {attributes['error']}"
    return message, str(entry.get("s") or entry.get("level") or "").lower() in ("e", "f", "error", "critical", "fatal")
