"""Entities' states for a file: rows of the same customers and merchants come again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from services.live_scoring import EntityStore

# A row may see its entities as they were this many seconds ago.
FRESH_SECONDS = 10.0
# Kept beyond one load: some 110 MB where a state is 2 kB as stored, as in the demo.
MOST = 10_000


class RecentStates:
    """Satisfies `services.live_scoring.EntityStore` over another one. For several threads; nobody changes a state."""

    def __init__(self, store: EntityStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock, self._lock = store, clock, threading.Lock()
        # By key: when it was loaded, and the state (None: there is none).
        self._held: dict[str, tuple[float, Any]] = {}

    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        since = self._clock() - FRESH_SECONDS
        with self._lock:
            held = {key: one for key in keys if (one := self._held.get(key)) is not None and one[0] > since}
        if missing := [key for key in keys if key not in held]:
            at = self._clock()
            loaded = self._store.load(missing)
            fresh = {key: (at, loaded.get(key)) for key in missing}
            held |= fresh
            with self._lock:
                self._keep(fresh, since)
        return {key: state for key, (_, state) in held.items() if state is not None}

    def known(self, kind: str, limit: int) -> tuple[str, ...]:
        return self._store.known(kind, limit)

    def _keep(self, fresh: dict[str, tuple[float, Any]], since: float) -> None:
        if len(self._held) + len(fresh) > MOST:
            self._held = {key: one for key, one in self._held.items() if one[0] > since}
            if len(self._held) + len(fresh) > MOST:
                self._held = {}
        self._held |= fresh
