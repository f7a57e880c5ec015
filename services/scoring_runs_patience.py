"""Doing a step of a long work again while a dependency does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from services.errors import Unavailable

T = TypeVar("T")

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
# A dependency that is away for longer ends the work; it can be taken up again.
PATIENCE_SECONDS = 1800.0


def patiently(action: Callable[[], T], backoff: Sequence[float], wait: Callable[[Unavailable, float], None]) -> T:
    """Do it until it is done. `wait` says what is waited for and lets that many seconds pass, or raises to stop.
    Raises the dependency's Unavailable after PATIENCE_SECONDS."""
    waited, failures = 0.0, 0
    while True:
        try:
            return action()
        except Unavailable as error:
            pause = backoff[min(failures, len(backoff) - 1)]
            if waited + pause > PATIENCE_SECONDS:
                raise
            waited, failures = waited + pause, failures + 1
            wait(error, pause)
