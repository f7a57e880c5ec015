"""Progress of the set-up: one JSON line a step on stdout, read by whoever started it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from embedded.simulator.history import DAYS

STEPS: tuple[tuple[str, str], ...] = (
    ("prepare", "Prepare the database and the functions"),
    ("history", f"Write {DAYS} days of history"),
    ("lake", "Carry the history to the lake"),
    ("train", "Train the first model"),
    ("deploy", "Deploy the first model"),
    ("score", "Score and decide the last 60 days"),
    ("hand_over", "Hand over to live scoring"),
)
# Readers redraw a page for every line; more often than this helps nobody.
_EVERY_SECONDS = 0.25


class Progress:
    def __init__(self, out: TextIO | None = None, *, steps: Sequence[tuple[str, str]] = STEPS) -> None:
        self._out = sys.stdout if out is None else out
        self._titles = dict(steps)
        self._last: dict[str, float] = {}
        self._say({"steps": [{"key": key, "title": title} for key, title in steps]})

    def step(self, key: str, detail: str = "", *, fraction: float | None = None) -> None:
        """The step is under way. The first line of a step is always written, later ones at most four times a second."""
        now = time.monotonic()
        if now - self._last.get(key, -1.0) < _EVERY_SECONDS:
            return
        self._last[key] = now
        shown = None if fraction is None else round(min(max(fraction, 0.0), 1.0), 3)
        self._say({"step": key, "title": self._titles[key], "fraction": shown, "detail": detail})

    def done(self, key: str, detail: str = "") -> None:
        self._say({"step": key, "done": True, "detail": detail})

    def _say(self, entry: dict[str, object]) -> None:
        print(json.dumps(entry), file=self._out, flush=True)
