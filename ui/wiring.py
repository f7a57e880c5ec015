"""The screens' only way to the services, and their only cache.

A cached read is kept with the moment it was made. While its dependency does not answer, the last good value is handed
out with its age and the problem, so that a screen can go on showing it and say so. One failure stands for all reads of
the same dependency for `BACK_OFF_SECONDS`: a page with five reads waits for one timeout, not for five.

What is cached here is shared by everybody. Put the role (or the person) into the key of anything that differs by it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import streamlit as st

from services.errors import ServiceError, Unavailable
from services.settings import Settings
from ui import format as fmt

if TYPE_CHECKING:
    from services.bootstrap import Services

T = TypeVar("T")

BACK_OFF_SECONDS = 4.0
MAX_ENTRIES = 512


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A value, when it was read, and why it could not be read again (None while all is well)."""

    value: T
    read_at: datetime
    problem: ServiceError | None = None
    problem_since: datetime | None = None

    def age_sentence(self, now: datetime, *, kept: str = "") -> str:
        """'MongoDB is not reachable since 14:05:11 UTC. Showing what was read 9 s earlier; <kept>.'"""
        if self.problem is None or self.problem_since is None:
            return ""
        name = self.problem.dependency if isinstance(self.problem, Unavailable) else "A service"
        earlier = fmt.duration((now - self.read_at).total_seconds())
        tail = f"; {kept}" if kept else ""
        since = fmt.clock(self.problem_since, now, seconds=True)
        return f"{name} is not reachable since {since}. Showing what was read {earlier} earlier{tail}."


@dataclass(slots=True)
class _Entry:
    read: Read[Any]
    fresh_until: float


@dataclass(frozen=True, slots=True)
class _Outage:
    error: Unavailable
    since: datetime
    retry_at: float


class Reads:
    """A bounded store of last good values. Thread-safe; one loader at a time for each key."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._monotonic = monotonic
        self._now = now
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._outages: dict[str, _Outage] = {}
        self._loading: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="refresh")

    def get(
        self, key: Hashable, loader: Callable[[], T], *, ttl: float, source: str, background: bool = False
    ) -> Read[T]:
        """The value of `key`, at most `ttl` seconds old while `source` answers.

        With `background`, a value up to five ttl old is returned at once and renewed behind the reader's back.
        Raises Unavailable only when nothing was ever read for this key.
        """
        now = self._monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if len(self._loading) > 2 * MAX_ENTRIES:  # keys that never could be read
                self._loading = {k: held for k, held in self._loading.items() if k in self._entries or held.locked()}
            lock = self._loading.setdefault(key, threading.Lock())
        if entry is not None and now < entry.fresh_until:
            return entry.read
        if background and entry is not None and now < entry.fresh_until + 4 * ttl:
            if not lock.locked():
                self._pool.submit(self._renew, key, loader, ttl, source, lock)
            return self._with_outage(entry.read, source)
        return self._renew(key, loader, ttl, source, lock)

    def forget(self, *prefixes: str) -> None:
        """Make reads whose key starts with one of `prefixes` (or all) load again; values stay as last good ones."""
        with self._lock:
            for key, entry in self._entries.items():
                name = key[0] if isinstance(key, tuple) and key else key
                if not prefixes or name in prefixes:
                    entry.fresh_until = 0.0

    def _renew(self, key: Hashable, loader: Callable[[], T], ttl: float, source: str, lock: threading.Lock) -> Read[T]:
        with lock:
            with self._lock:
                entry = self._entries.get(key)
                outage = self._outages.get(source)
            if entry is not None and self._monotonic() < entry.fresh_until:
                return entry.read
            if outage is not None and self._monotonic() < outage.retry_at:
                return self._fall_back(entry, outage)
            try:
                value = loader()
            except Unavailable as error:
                return self._fall_back(entry, self._note_outage(source, error))
            fresh: Read[T] = Read(value, self._now())
            with self._lock:
                self._outages.pop(source, None)
                self._entries[key] = _Entry(fresh, self._monotonic() + ttl)
                self._entries.move_to_end(key)
                while len(self._entries) > MAX_ENTRIES:
                    old, _ = self._entries.popitem(last=False)
                    self._loading.pop(old, None)
            return fresh

    def _note_outage(self, source: str, error: Unavailable) -> _Outage:
        with self._lock:
            before = self._outages.get(source)
            since = before.since if before else self._now()
            outage = _Outage(error, since, self._monotonic() + BACK_OFF_SECONDS)
            self._outages[source] = outage
            return outage

    def _with_outage(self, read: Read[T], source: str) -> Read[T]:
        with self._lock:
            outage = self._outages.get(source)
        return replace(read, problem=outage.error, problem_since=outage.since) if outage else read

    @staticmethod
    def _fall_back(entry: _Entry | None, outage: _Outage) -> Read[Any]:
        if entry is None:
            raise outage.error
        return replace(entry.read, problem=outage.error, problem_since=outage.since)


@st.cache_resource(show_spinner=False)
def _build() -> Services:
    from services.bootstrap import build  # vendor SDKs load here, so that screens and their tests start without them

    built = build(Settings.from_environment())
    fmt.speak_of(*built.currency)
    return built


def services() -> Services:
    """The services of this process. Tests replace this function; nothing else builds services."""
    return _build()


@st.cache_resource(show_spinner=False)
def reads() -> Reads:
    return Reads()


def last_good(
    key: Hashable, loader: Callable[[], T], *, ttl: float = 2.0, source: str = "MongoDB", background: bool = False
) -> Read[T]:
    """Read through the cache: see `Reads.get`. The loader runs without a session: no st.* inside it.

    Keys are tuples that start with the name of the read, ("queue.page", filters, sort, cursor). Values are shared:
    never change a frame that you got here.
    """
    return reads().get(key, loader, ttl=ttl, source=source, background=background)


class Drawings:
    """What was made of a read for drawing (figures, prepared frames), kept while the read it was made of is the same.

    Building a Plotly figure takes longer than everything else on a page together; a rerun seldom changes it.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit, self._made, self._lock = limit, OrderedDict[Hashable, Any](), threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return cast(T, self._made[key])
        made = make()
        with self._lock:
            self._made[key] = made
            while len(self._made) > self._limit:
                self._made.popitem(last=False)
        return made


@st.cache_resource(show_spinner=False)
def _drawings() -> Drawings:
    return Drawings()


def drawn(key: Hashable, make: Callable[[], T]) -> T:
    """`make()` once for each key. The key names what is drawn, the state of the data (a snapshot, version or read time)
    and the palette. Shared by everybody like the reads; never change what comes back.
    """
    return _drawings().get(key, make)


def forget(*prefixes: str) -> None:
    """After a write: the named reads load again at their next use."""
    reads().forget(*prefixes)
