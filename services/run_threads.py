"""Threads of this process that work on runs: one a run, waited for, ended together when the desk stops."""

from __future__ import annotations

import threading
from collections.abc import Callable

_JOIN_SECONDS = 10.0


class RunThreads:
    """`kind` begins the threads' names. The work looks at `closing` between its parts and ends when it is set."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._threads: dict[str, threading.Thread] = {}
        self.closing = threading.Event()

    def start(self, run_id: str, work: Callable[[], None]) -> None:
        """Do `work` in a thread of its own. It must let no exception out: nobody waits for it."""

        def whole() -> None:
            try:
                work()
            finally:
                self._threads.pop(run_id, None)

        thread = threading.Thread(target=whole, name=f"{self._kind}-{run_id[:8]}", daemon=True)
        self._threads[run_id] = thread
        thread.start()

    def wait(self, run_id: str, seconds: float) -> None:
        """Until this process works on the run no more, at most this long."""
        if (thread := self._threads.get(run_id)) is not None:
            thread.join(seconds)

    def close(self) -> None:
        """End all work within a part, each waited for at most 10 s; it can go on in another process."""
        self.closing.set()
        for thread in list(self._threads.values()):
            thread.join(_JOIN_SECONDS)
