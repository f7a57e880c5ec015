"""Log groups and streams as files: one file a stream, one line an event, `<ms since the epoch> <text>`.

Offsets in bytes are positions in a stream, so reading the end of a large file touches only its end. Names are
percent-encoded into file names: no name, whatever it holds, leaves the folder.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

_CHUNK = 64 * 1024
_LONGEST_EVENT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """`at_ms`: milliseconds since the epoch, when the line was received."""

    at_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events between two positions of a stream; `start` and `end` are offsets in bytes."""

    events: tuple[Event, ...]
    start: int
    end: int


def parse_line(line: bytes) -> Event:
    stamp, _, text = line.rstrip(b"\n").partition(b" ")
    return Event(int(stamp) if stamp.isdigit() else 0, text.decode("utf-8", "replace"))


class LogWriter:
    """Appends to one stream, and to a new one when it is full; keeps the newest `keep` streams it wrote."""

    def __init__(self, folder: Path, name: Callable[[int], str], *, max_bytes: int, keep: int) -> None:
        self._folder = folder
        self._name = name
        self._max_bytes = max_bytes
        self._keep = keep
        self._count = itertools.count()
        self._written: list[Path] = []
        self.stream = ""
        self._open()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.stream = self._name(next(self._count))
        path = self._folder / f"{quote(self.stream, safe='')}.log"
        self._file = path.open("ab", buffering=0)
        self._written.append(path)
        while len(self._written) > self._keep:
            self._written.pop(0).unlink(missing_ok=True)

    def write(self, text: str) -> None:
        """One event; line breaks inside are kept out of the file as spaces."""
        if self._file.closed:
            return
        if self._file.tell() > self._max_bytes:
            self._file.close()
            self._open()
        data = text.replace("\n", " ").encode("utf-8", "replace")[:_LONGEST_EVENT]
        self._file.write(b"%d %s\n" % (time.time_ns() // 1_000_000, data))

    def close(self) -> None:
        self._file.close()


class LogFiles:
    """All groups below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _group(self, group: str) -> Path:
        return self._folder / f"{quote(group, safe='')}.group"

    def writer(
        self, group: str, name: Callable[[int], str], *, max_bytes: int = 64 * 2**20, keep: int = 4
    ) -> LogWriter:
        """`name` gives the stream's name for its number (0, then 1 when the first is full, ...)."""
        return LogWriter(self._group(group), name, max_bytes=max_bytes, keep=keep)

    def prune(self, group: str, keep: int) -> None:
        """Remove all but the newest streams of a group, by the time of their last event."""
        files = sorted(self._group(group).glob("*.log"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - keep)]:
            path.unlink(missing_ok=True)

    def streams(self, group: str) -> tuple[str, ...] | None:
        """Names in order; None when there is no such group."""
        folder = self._group(group)
        if not folder.is_dir():
            return None
        return tuple(sorted(unquote(path.name.removesuffix(".log")) for path in folder.glob("*.log")))

    def path(self, group: str, stream: str) -> Path | None:
        """None when there is no such stream."""
        path = self._group(group) / f"{quote(stream, safe='')}.log"
        return path if path.is_file() else None


def complete_size(path: Path) -> int:
    """Bytes up to the end of the last complete line."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while size > 0:
            start = max(0, size - _CHUNK)
            file.seek(start)
            last = file.read(size - start).rfind(b"\n")
            if last >= 0:
                return start + last + 1
            size = start
    return 0


def seek_time(path: Path, at_ms: int, size: int) -> int:
    """Offset of the first event at or after `at_ms` (lines are in time order), by bisection; `size` when none is."""
    low, high = 0, size
    with path.open("rb") as file:
        while low < high:
            middle = (low + high) // 2
            file.seek(middle)
            if middle:
                file.seek(middle - 1)
                file.readline()
            line_start = file.tell()
            if line_start >= high:
                # No line starts in [middle, high): look at the one that starts in [low, middle).
                file.seek(low)
                line = file.readline()
                if parse_line(line).at_ms >= at_ms:
                    return low
                low += len(line)
                continue
            line = file.readline()
            if parse_line(line).at_ms >= at_ms:
                high = line_start
            else:
                low = line_start + len(line)
    return low


def read_forward(path: Path, start: int, end: int, *, limit: int, max_bytes: int) -> Page:
    """At most `limit` events from `start` on, before `end`."""
    events: list[Event] = []
    at = start
    with path.open("rb") as file:
        file.seek(start)
        while at < end and len(events) < limit and at - start < max_bytes:
            line = file.readline()
            if not line.endswith(b"\n"):
                break
            events.append(parse_line(line))
            at += len(line)
    return Page(tuple(events), start, at)


def read_backward(path: Path, start: int, end: int, *, limit: int, max_bytes: int) -> Page:
    """The last events (at most `limit`) that end at `end`, none before `start`; in time order."""
    data = b""
    at = end
    with path.open("rb") as file:
        while at > start and data.count(b"\n") <= limit and len(data) < max_bytes:
            step = min(_CHUNK, at - start)
            at -= step
            file.seek(at)
            data = file.read(step) + data
    if at > start:
        at_line = data.find(b"\n") + 1
        data, at = data[at_line:], at + at_line
    lines = data.splitlines(keepends=True)
    kept = lines[-limit:]
    first = end - sum(map(len, kept))
    return Page(tuple(parse_line(line) for line in kept), first, end)
