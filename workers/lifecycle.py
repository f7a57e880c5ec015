"""Carries experiments and deployments through their states: `python -m workers.lifecycle`.

Screens only write requests; this process acts on them, one step at a time, once a second. All it knows is in MongoDB
and SageMaker, so it can be killed at any point and started again. While something it needs does not answer, requests
stay where they are, say what they wait for, and are tried again with growing pauses.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

from services.errors import ServiceError, Unavailable
from services.revisions import StaleRevision
from services.settings import Settings
from services.worker_status import Reporter, WorkerState
from workers import entry
from workers.lifecycle_wiring import Parts, wire

log = logging.getLogger(__name__)

NAME = "lifecycle"
POLL_SECONDS = 1.0
# A step that changed something is followed by the next at once, up to this many.
STEPS_A_TURN = 8
MAX_BACKOFF_SECONDS = 15.0
# A turn is bounded by the timeouts of its calls; one that takes longer than this is worth a warning.
SLOW_TURN_SECONDS = 60.0
R = TypeVar("R")


class Steps(Protocol[R]):
    def step(self, record: R, /) -> R: ...

    def wait(self, record: R, note: str, /) -> R: ...

    def fail(self, record: R, reason: str, /) -> R: ...


@dataclass
class Line(Generic[R]):
    """One kind of request with its own back-off, so that a silent SageMaker does not hold up what needs only S3."""

    kind: str
    active: Callable[[], tuple[R, ...]]
    ended: Callable[[R], bool]
    steps: Steps[R]
    pause_seconds: float = 0.0
    not_before: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def turn(self, now: float) -> str | None:
        """Take every request under way as far as it goes now; the sentence of what is missing, or None."""
        if now < self.not_before:
            return None
        for record in self.active():
            try:
                self._advance(record)
            except StaleRevision:
                continue  # a person changed it in between: the next turn reads it again
            except Unavailable as error:
                self.pause_seconds = min(max(1.0, self.pause_seconds * 2), MAX_BACKOFF_SECONDS)
                self.not_before = now + self.pause_seconds
                log.warning("lifecycle.%s_waiting %s; next try in %.0f s", self.kind, error.message, self.pause_seconds)
                self._note(record, f"{error.message} Trying again; nothing is lost.")
                return error.message
        self.pause_seconds = 0.0
        return None

    def _advance(self, record: R) -> None:
        for _ in range(STEPS_A_TURN):
            after = self._step(record)
            if after is record or self.ended(after):
                return
            record = after

    def _step(self, record: R) -> R:
        try:
            after = self.steps.step(record)
        except ServiceError:
            raise
        except Exception as error:
            # A bug must end this one request with its name on it, not stop every other for good.
            log.exception("lifecycle.%s_failed", self.kind)
            after = self.steps.fail(record, f"The desk failed on it ({type(error).__name__}); see the lifecycle's log")
        state, former = getattr(after, "state", None), getattr(record, "state", None)
        if state != former:
            log.info("lifecycle.%s %s -> %s", self.kind, former, state)
            self.counts[f"{self.kind}_{state}"] = self.counts.get(f"{self.kind}_{state}", 0) + 1
        return after

    def _note(self, record: R, note: str) -> None:
        try:
            self.steps.wait(record, note)
        except ServiceError:
            pass  # the note is for people; what matters is already stored

    def take_counts(self) -> dict[str, int]:
        taken, self.counts = self.counts, {}
        return taken


class Pulse:
    """Beats in the background, because one turn may wait longer for its dependencies than a heartbeat may stay away."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._lock = reporter, threading.Lock()
        self._state = WorkerState.STARTING
        self._error: str | None = None
        self._counts: dict[str, int] = {}
        self._turned_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def turned(self, error: str | None, counts: dict[str, int]) -> None:
        """A turn of the loop is over."""
        with self._lock:
            self._state = WorkerState.WAITING if error else WorkerState.RUNNING
            self._error, self._turned_at = error, time.monotonic()
            for key, value in counts.items():
                self._counts[key] = self._counts.get(key, 0) + value

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._reporter.beat(WorkerState.STOPPED, force=True)

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            with self._lock:
                state, error, counts, self._counts = self._state, self._error, self._counts, {}
                slow = time.monotonic() - self._turned_at > SLOW_TURN_SECONDS
            if slow:
                state, error = WorkerState.WAITING, f"One turn takes more than {SLOW_TURN_SECONDS:.0f} s."
            self._reporter.beat(state, counts=counts, error=error)


def run(lines: list[Line[Any]], pulse: Pulse, stop: threading.Event) -> None:
    """Turn every line until `stop` is set. MongoDB being away is waited out as everything else."""
    failures = 0
    while not stop.is_set():
        error: str | None = None
        counts: dict[str, int] = {}
        try:
            for line in lines:
                error = line.turn(time.monotonic()) or error
                counts |= line.take_counts()
            failures = 0
        except Unavailable as gone:
            failures += 1
            error = gone.message
        pulse.turned(error, counts)
        stop.wait(POLL_SECONDS if not failures else min(2.0**failures, MAX_BACKOFF_SECONDS))


def work(parts: Parts) -> int:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("pyiceberg").setLevel(logging.WARNING)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    pulse = Pulse(parts.reporter)
    pulse.start()
    try:
        run(
            [
                Line("experiment", parts.experiments.active, lambda e: e.finished, parts.experiment_steps),
                Line("deployment", parts.deployments.active, lambda d: d.ended, parts.deployment_steps),
            ],
            pulse,
            stop,
        )
    finally:
        pulse.stop()
        parts.close()
    return 0


def main() -> int:
    return work(wire(Settings.from_environment()))


if __name__ == "__main__":
    entry.run(main)
