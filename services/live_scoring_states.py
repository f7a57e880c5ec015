"""Entities' states for a file: rows of the same customers and merchants come again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from services.live_scoring import EntityStore

# A row may see its entities as they were this many seconds ago.
FRESH_SECONDS = 30.0
# Kept beyond one load; a state is 2 kB on average, 36 kB at most.
MOST = 15_000


class RecentStates:
    """Satisfies `services.live_scoring.EntityStore` over another one. For several threads.

    States are kept as text. As objects they are a hundred each, and the collector, which a process of screens runs
    after every drawing of a page, would look through all of them with everybody else waiting.
    """

    def __init__(self, store: EntityStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock, self._lock = store, clock, threading.Lock()
        # By key: when it was loaded, and the state (null: there is none).
        self._held: dict[str, tuple[float, bytes]] = {}

    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        since = self._clock() - FRESH_SECONDS
        with self._lock:
            held = {key: one[1] for key in keys if (one := self._held.get(key)) is not None and one[0] > since}
        found = {key: orjson.loads(text) for key, text in held.items()}
        if missing := [key for key in keys if key not in held]:
            at, loaded = self._clock(), self._store.load(missing)
            with self._lock:
                self._keep({key: (at, orjson.dumps(loaded.get(key))) for key in missing}, since)
            found |= loaded
        return {key: state for key, state in found.items() if state is not None}

    def known(self, kind: str, limit: int) -> tuple[str, ...]:
        return self._store.known(kind, limit)

    def _keep(self, fresh: dict[str, tuple[float, bytes]], since: float) -> None:
        if len(self._held) + len(fresh) > MOST:
            self._held = {key: one for key, one in self._held.items() if one[0] > since}
            if len(self._held) + len(fresh) > MOST:
                self._held = {}
        self._held |= fresh
