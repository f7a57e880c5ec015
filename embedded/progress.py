"""The first start, step by step, in a file that the page reads while nothing else is there to ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from embedded.state_folder import write_json

StepState = Literal["waiting", "running", "done", "failed"]
_QUIET_SECONDS = 0.25  # a step that only moves its bar is written at most this often


@dataclass(slots=True)
class Step:
    """`fraction` is 0..1 or None where the length is not known; `seconds` is how long it took, or has taken."""

    key: str
    title: str
    state: StepState = "waiting"
    detail: str = ""
    fraction: float | None = None
    seconds: float | None = None


class Progress:
    """Writer of progress.json (its shape is in docs/contracts.md). One writer at a time: the supervisor."""

    def __init__(
        self,
        path: Path,
        steps: Sequence[tuple[str, str]],
        *,
        first: bool = True,
        own_data: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`first` says that this start has to seed; later ones take seconds. `own_data`: nothing is simulated."""
        self._path, self._first, self._own_data, self._clock = path, first, own_data, clock
        self._steps = {key: Step(key, title) for key, title in steps}
        self._began: dict[str, float] = {}
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._ready, self._written = False, -1e9
        self._failed: str | None = None
        self._write()

    def announce(self, key: str, title: str, *, before: str | None = None) -> None:
        """Add a step that nobody knew of at the start, in front of `before` where that exists."""
        if key in self._steps:
            self._steps[key].title = title
            return
        order = list(self._steps.items())
        at = next((i for i, (known, _) in enumerate(order) if known == before), len(order))
        self._steps = dict([*order[:at], (key, Step(key, title)), *order[at:]])

    def title(self, key: str) -> str | None:
        step = self._steps.get(key)
        return step.title if step else None

    def running(self, key: str, *, detail: str = "", fraction: float | None = None) -> None:
        step = self._steps[key]
        changed = step.state != "running"
        if changed:
            self._began[key] = self._clock()
        step.state, step.detail = "running", detail
        step.fraction = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        step.seconds = round(self._clock() - self._began[key], 1)
        if changed or self._clock() - self._written >= _QUIET_SECONDS:
            self._write()

    def done(self, key: str, *, detail: str | None = None) -> None:
        step = self._steps[key]
        step.seconds = round(self._clock() - self._began.get(key, self._clock()), 1)
        step.state, step.fraction = "done", None
        if detail is not None:
            step.detail = detail
        self._write()

    def beat(self) -> None:
        """Show that there still is a writer, and how long the running steps have taken, when nothing else moves."""
        for key, step in self._steps.items():
            if step.state == "running":
                step.seconds = round(self._clock() - self._began[key], 1)
        self._write()

    def fail(self, sentence: str) -> None:
        """Stop here: the steps that were running failed, for the reason that `sentence` gives."""
        for step in self._steps.values():
            if step.state == "running":
                step.state = "failed"
        self._failed = sentence
        self._write()

    def finish(self) -> None:
        self._ready = True
        self._write()

    def _write(self) -> None:
        self._written = self._clock()
        write_json(
            self._path,
            {
                "ready": self._ready,
                "failed": self._failed,
                "first": self._first,
                "own_data": self._own_data,
                "started_at": self._started_at,
                "steps": [asdict(step) for step in self._steps.values()],
            },
        )
