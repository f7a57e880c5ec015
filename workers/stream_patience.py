"""Trying again while only a dependency is at fault, ever more patiently, and saying so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from services.errors import Conflict, Unavailable
from services.worker_status import Reporter, WorkerState

log = logging.getLogger(__name__)

_MAX_BACKOFF_SECONDS = 15.0


def keep_trying(attempt: Callable[[], None], reporter: Reporter, stop: threading.Event, kept: str) -> None:
    """Call `attempt` until it returns with `stop` set; everything but Unavailable and Conflict is raised.

    `kept` is the sentence that says what happened to the work meanwhile.
    """
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            attempt()
        except (Unavailable, Conflict) as error:
            failures = 1 if time.monotonic() - began > 60 else failures + 1
            pause = min(_MAX_BACKOFF_SECONDS, 0.5 * 2 ** min(failures, 6))
            log.warning("stream.waiting %.1f s: %s", pause, error.message)
            _wait(stop, reporter, pause, f"{error.message} {kept}")


def _wait(stop: threading.Event, reporter: Reporter, seconds: float, reason: str) -> None:
    until = time.monotonic() + seconds
    reporter.beat(WorkerState.WAITING, error=reason)
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        stop.wait(min(left, 1.0))
        reporter.beat(WorkerState.WAITING)
