"""A look at something slow, made in the background: whoever asks gets what was seen last, at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from services.errors import ServiceError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Watch(Generic[T]):
    """`look` runs at most every `every_seconds`, and only while somebody asks; one at a time."""

    def __init__(
        self,
        look: Callable[[], T],
        *,
        every_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._look, self._every, self._monotonic = look, every_seconds, monotonic
        self._spawn = spawn or _in_thread
        self._lock = threading.Lock()
        self._seen: T | None = None
        self._due = float("-inf")
        self._looking = False

    def seen(self) -> T | None:
        """What was seen last, None before the first look. Begins the next look when it is time, and does not wait."""
        with self._lock:
            begin = not self._looking and self._monotonic() >= self._due
            self._looking = self._looking or begin
        if begin:
            self._spawn(self._refresh)
        return self._seen

    def _refresh(self) -> None:
        try:
            self._seen = self._look()
        except ServiceError as error:  # what cannot be looked at is told where it is shown, on its own screen
            log.info("health.watch_missed: %s", error.message)
        finally:
            with self._lock:
                self._looking, self._due = False, self._monotonic() + self._every


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="health-watch", daemon=True).start()
