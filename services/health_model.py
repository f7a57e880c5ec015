"""What is told of the loop: hops, warnings, and what a worker's own report amounts to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.connectors import Pause
from services.health_flow import NOTHING_KNOWN, Flow
from services.worker_status import WorkerState, WorkerStatus


class HopState(StrEnum):
    OK = "ok"
    LAGGING = "lagging"
    PAUSED = "paused"
    DOWN = "down"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of the loop. `counts` are totals by name.

    `lag_seconds` and `lag_events` are None where unknown or without meaning, `per_second` (events a second over the
    last five minutes) until it can be told.
    """

    key: str
    name: str
    state: HopState
    sentence: str
    lag_seconds: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    last_error: str | None = None
    last_error_at: datetime | None = None
    lag_events: int | None = None
    per_second: float | None = None
    flow: Flow = NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class Warning:
    """Something is down: `sentence` says all of it to people (what, since when, what still works)."""

    key: str
    sentence: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """`newest_received_at` None when there are no transactions; `unscored` arrived over 10 s ago and have no score."""

    transactions: int
    newest_received_at: datetime | None
    unscored: int


# Worker -> (what stopped, what that means for people).
MEANING = {
    "scorer": ("Scoring", "new transactions arrive but wait unscored; open alerts can still be decided"),
    "stream": ("The stream to S3", "fraud rates and training see nothing newer; nothing is lost"),
    "sink": ("The way from Kafka to S3", "fraud rates and training see nothing newer; Kafka keeps the records"),
    "curator": ("The lake's curator", "fraud rates and training see nothing newer; nothing is lost"),
    "lifecycle": ("The training and deployment worker", "requests are kept and wait; scoring goes on"),
}


def is_paused(status: WorkerStatus) -> bool:
    """Somebody stopped it on purpose: it waits, and says so itself."""
    return status.state is WorkerState.WAITING and (status.last_error or "").startswith("Paused")


def worker_warning(status: WorkerStatus, now: datetime, pause: Pause | None = None) -> Warning | None:
    """None while it works. `pause`: who paused it and why, where that is known."""
    subject, meaning = MEANING.get(status.name, (status.name, "the rest of the desk works"))
    if status.is_down(now):
        since = status.heartbeat_at
        text = f"{subject} stopped at {since:%H:%M:%S} UTC: {meaning}."
        if status.state is WorkerState.FAILED and status.last_error:
            text = f"{text} {status.last_error}"
        return Warning(status.name, text, since)
    if is_paused(status):
        return Warning(status.name, f"{subject} {paused_by(status, pause)}: {meaning}.", status.state_since)
    if status.state is WorkerState.WAITING:
        why = (status.last_error or "something it needs does not answer").rstrip(".")
        text = f"{subject} waits since {status.state_since:%H:%M:%S} UTC ({why}): {meaning}."
        return Warning(status.name, text, status.state_since)
    return None


def lag_of(status: WorkerStatus, now: datetime) -> float | None:
    """Its own word, and the time since it stopped moving: a worker that stands still falls behind meanwhile."""
    if status.lag_seconds is None:
        return None
    stood = status.heartbeat_at if status.is_down(now) else now
    if status.state is WorkerState.WAITING:
        stood = status.state_since
    return status.lag_seconds + max((now - stood).total_seconds(), 0.0)


def paused_by(status: WorkerStatus, pause: Pause | None) -> str:
    """'is paused since 14:02:11 UTC by Ada Novak (maintenance)'."""
    since = f"is paused since {status.state_since:%H:%M:%S} UTC"
    if pause is None:
        return since
    return f"{since} by {pause.by}" + (f" ({pause.reason.rstrip('.')})" if pause.reason else "")


def ago(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds >= 172_800:
        return f"{seconds / 86_400:,.0f} days ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 3600 else f"{seconds / 3600:.1f} h ago"
