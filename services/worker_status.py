"""What each long-running process says of itself, for Loop health and the warning strip.

A status is advice, not truth: it is written at most every `BEAT_SECONDS`, is lost when MongoDB is down, and never
decides anything. The committed place of a worker is in `positions`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from services.errors import Unavailable

BEAT_SECONDS = 2.0
DOWN_AFTER_SECONDS = 10.0
# Rates are told over this long; a count is kept for it this often.
RATE_WINDOW_SECONDS = 300.0
_SAMPLE_SECONDS = 15.0


class WorkerState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # alive, but something it needs does not answer; last_error says what
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker's counts at one moment."""

    at: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One row of `workers`. Lag is in seconds (None: not known); counts are totals since the worker's first start.

    `recent`: the counts of the last minutes of this run, oldest first, for rates.
    """

    name: str
    state: WorkerState
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    state_since: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    lag_seconds: float | None = None
    position: Mapping[str, Any] = field(default_factory=dict)
    last_error: str | None = None
    last_error_at: datetime | None = None
    recent: tuple[Sample, ...] = ()

    def is_down(self, now: datetime) -> bool:
        """No heartbeat for DOWN_AFTER_SECONDS, or it said itself that it stopped or failed."""
        silent = now - self.heartbeat_at > timedelta(seconds=DOWN_AFTER_SECONDS)
        return silent or self.state in (WorkerState.FAILED, WorkerState.STOPPED)


class StatusStore(Protocol):
    def put(self, status: WorkerStatus) -> None: ...

    def get(self, name: str) -> WorkerStatus | None: ...

    def all(self) -> tuple[WorkerStatus, ...]: ...


def utc_now() -> datetime:
    """The wall clock, aware, at MongoDB's resolution of one millisecond."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Reporter:
    """A worker's own heartbeat. Counts continue from the last run of the same worker.

    `beat` is cheap to call in a tight loop: it writes when `BEAT_SECONDS` have passed or the state or error changed,
    and swallows `Unavailable` because a worker must not stop working when it cannot report.
    """

    def __init__(self, name: str, store: StatusStore, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._name, self._store, self._clock = name, store, clock
        self._started_at = clock()
        self._counts: dict[str, int] | None = None
        self._recent: tuple[Sample, ...] = ()
        self._pending: dict[str, int] = {}
        self._written: WorkerStatus | None = None
        self._error: tuple[str, datetime] | None = None
        self._lag: float | None = None
        self._position: Mapping[str, Any] = {}
        self._state: tuple[WorkerState, datetime] | None = None

    def beat(
        self,
        state: WorkerState = WorkerState.RUNNING,
        *,
        counts: Mapping[str, int] | None = None,
        lag_seconds: float | None = None,
        position: Mapping[str, Any] | None = None,
        error: str | None = None,
        force: bool = False,
    ) -> None:
        """Report. `counts` are increments since the last call; `error` is one sentence and stays until the next one."""
        now = self._clock()
        for key, value in (counts or {}).items():
            self._pending[key] = self._pending.get(key, 0) + value
        if error is not None:
            self._error = (error, now)
        if lag_seconds is not None:
            self._lag = lag_seconds
        if position is not None:
            self._position = position
        if self._state is None or self._state[0] != state:
            self._state = (state, now)
        last = self._written
        fresh = last is not None and now - last.heartbeat_at < timedelta(seconds=BEAT_SECONDS)
        changed = last is None or last.state != state or (self._error is not None and last.last_error != self._error[0])
        if fresh and not changed and not force:
            return
        try:
            self._write(*self._state, now)
        except Unavailable:
            return

    def _write(self, state: WorkerState, since: datetime, now: datetime) -> None:
        if self._counts is None:
            former = self._store.get(self._name)
            self._counts = dict(former.counts) if former else {}
        totals = {key: self._counts.get(key, 0) + self._pending.get(key, 0) for key in {*self._counts, *self._pending}}
        recent = _kept(self._recent, Sample(now, totals))
        status = WorkerStatus(
            name=self._name,
            state=state,
            pid=os.getpid(),
            started_at=self._started_at,
            heartbeat_at=now,
            state_since=since,
            counts=totals,
            lag_seconds=self._lag,
            position=self._position,
            last_error=self._error[0] if self._error else None,
            last_error_at=self._error[1] if self._error else None,
            recent=recent,
        )
        self._store.put(status)
        self._counts, self._pending, self._written, self._recent = totals, {}, status, recent


def _kept(recent: tuple[Sample, ...], newest: Sample) -> tuple[Sample, ...]:
    """The samples of the rate's window and the one before it, with the newest when it is time for one."""
    since = newest.at - timedelta(seconds=RATE_WINDOW_SECONDS + _SAMPLE_SECONDS)
    kept = tuple(sample for sample in recent if sample.at >= since)
    due = not kept or (newest.at - kept[-1].at).total_seconds() >= _SAMPLE_SECONDS
    return (*kept, newest) if due else kept
