"""A circuit breaker: who has failed several times in a row is left alone for a moment, and callers are told at once.

Without it every caller waits out the full timeout of a dependency that is down. After the pause one caller tries, and
only its success lets the others through again. Source: Nygard, "Release It!", stability patterns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.errors import Unavailable

FAILURES = 5
# Short, because transactions wait unscored meanwhile: a container that was killed is back within a few seconds, and one
# question every two seconds does not hold up a model that recovers.
PAUSE_SECONDS = 2.0


class Breaker:
    """Safe between threads. `sentence` is what callers are told while it is open; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        sentence: str,
        *,
        dependency: str,
        failures: int = FAILURES,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sentence, self._dependency = sentence, dependency
        self._limit, self._pause, self._clock = failures, pause_seconds, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._open_until = 0.0

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Around one call: counts Unavailable; every other outcome, a refusal of the rows too, is an answer.

        Raises Unavailable without calling while the breaker is open.
        """
        self._enter()
        try:
            yield
        except Unavailable:
            self._count()
            raise
        except BaseException:
            self._answered()
            raise
        self._answered()

    def _enter(self) -> None:
        with self._lock:
            if self._failed < self._limit:
                return
            now = self._clock()
            if now < self._open_until:
                raise Unavailable(self._sentence, dependency=self._dependency)
            # This caller tries; the others go on being told until it has succeeded or the pause is over again.
            self._open_until = now + self._pause

    def _count(self) -> None:
        with self._lock:
            self._failed += 1
            if self._failed >= self._limit:
                self._open_until = self._clock() + self._pause

    def _answered(self) -> None:
        with self._lock:
            self._failed = 0
