"""How the loop is doing, hop by hop, and what to tell everybody when something is down.

Each hop is looked at on its own: a dependency that does not answer makes its own hop "down", never the whole screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.deployment import EndpointState
from services.errors import ServiceError, Unavailable
from services.training import Experiment, ExperimentState
from services.worker_status import StatusStore, WorkerState, WorkerStatus, utc_now

SCORING_LAG_SECONDS = 15.0
STREAM_LAG_SECONDS = 60.0
LAKE_LAG_SECONDS = 90.0


class HopState(StrEnum):
    OK = "ok"
    LAGGING = "lagging"
    DOWN = "down"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of the loop. `counts` are totals by name; `lag_seconds` None where it is unknown or has no meaning."""

    key: str
    name: str
    state: HopState
    sentence: str
    lag_seconds: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    last_error: str | None = None
    last_error_at: datetime | None = None


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


class StoreProbe(Protocol):
    def figures(self) -> StoreFigures: ...


class LakeProbe(Protocol):
    def current_to(self) -> datetime | None: ...

    def rows(self) -> int: ...


class TrainingProbe(Protocol):
    def experiments(self, limit: int = 50) -> tuple[Experiment, ...]: ...


class EndpointProbe(Protocol):
    def current(self) -> EndpointState: ...


# Worker -> (what stopped, what that means for people).
_MEANING = {
    "scorer": ("Scoring", "new transactions arrive but wait unscored; open alerts can still be decided"),
    "stream": ("The stream to S3", "fraud rates and training see nothing newer; nothing is lost"),
    "curator": ("The lake's curator", "fraud rates and training see nothing newer; nothing is lost"),
    "lifecycle": ("The training and deployment worker", "requests are kept and wait; scoring goes on"),
}


class Health:
    def __init__(
        self,
        *,
        statuses: StatusStore,
        store: StoreProbe,
        lake: LakeProbe,
        training: TrainingProbe,
        endpoint: EndpointProbe,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._statuses, self._store, self._lake = statuses, store, lake
        self._training, self._endpoint, self._clock = training, endpoint, clock
        self._store_lost_at: datetime | None = None

    def warnings(self) -> tuple[Warning, ...]:
        """What is down now; empty when all is well. One cheap read; never raises Unavailable."""
        now = self._clock()
        try:
            statuses = self._statuses.all()
        except Unavailable:
            since = self._store_lost_at = self._store_lost_at or now
            text = (
                f"MongoDB is not reachable since {since:%H:%M:%S} UTC: "
                "screens show what was read last and decisions cannot be saved."
            )
            return (Warning("mongodb", text, since),)
        self._store_lost_at = None
        return tuple(warning for status in statuses if (warning := _warning(status, now)) and status.name in _MEANING)

    def hops(self) -> tuple[Hop, ...]:
        """Intake, scoring, stream, lake, training, endpoint, in the order of the loop.

        MongoDB, S3 and SageMaker are asked side by side, and MongoDB not again once it did not answer: when something
        is down this takes as long as one timeout.
        """
        with ThreadPoolExecutor(2, thread_name_prefix="health") as pool:
            endpoint = pool.submit(_guarded, "endpoint", "Endpoint", self._endpoint_hop)
            lake = pool.submit(lambda: (self._lake.current_to(), self._lake.rows()))
            try:
                statuses = {status.name: status for status in self._statuses.all()}
            except Unavailable:
                statuses = None
            return (
                _guarded("intake", "Intake", lambda: self._intake(statuses)),
                _guarded("scoring", "Scoring", lambda: self._scoring(statuses)),
                self._worker("stream", "Stream to S3", statuses, STREAM_LAG_SECONDS),
                _guarded("lake", "Lake", lambda: self._lake_hop(statuses, *lake.result())),
                _guarded("training", "Training", lambda: self._training_hop(statuses)),
                endpoint.result(),
            )

    def _intake(self, statuses: Mapping[str, WorkerStatus] | None) -> Hop:
        if statuses is None:
            return Hop("intake", "Intake", HopState.DOWN, "MongoDB is not reachable: nothing can come in.")
        figures = self._store.figures()
        newest = figures.newest_received_at
        counts = {"transactions": figures.transactions}
        if newest is None:
            return Hop("intake", "Intake", HopState.IDLE, "No transaction has arrived yet.", counts=counts)
        age = max((self._clock() - newest).total_seconds(), 0.0)
        return Hop("intake", "Intake", HopState.OK, f"Last transaction {_ago(age)}.", None, counts)

    def _scoring(self, statuses: Mapping[str, WorkerStatus] | None) -> Hop:
        hop = self._worker("scorer", "Scoring", statuses, SCORING_LAG_SECONDS, key="scoring")
        if statuses is None:
            return hop
        unscored = self._store.figures().unscored
        counts = dict(hop.counts) | {"unscored": unscored}
        if hop.state is HopState.OK and unscored:
            text = f"{unscored:,} transactions wait to be scored."
            return replace(hop, state=HopState.LAGGING, sentence=text, counts=counts)
        return replace(hop, counts=counts)

    def _lake_hop(self, statuses: Mapping[str, WorkerStatus] | None, current_to: datetime | None, rows: int) -> Hop:
        hop = self._worker("curator", "Lake", statuses, LAKE_LAG_SECONDS, key="lake")
        counts = dict(hop.counts) | {"rows": rows}
        sentence = hop.sentence
        if hop.state is HopState.OK and current_to:
            sentence = f"Current to {current_to:%H:%M:%S} UTC."
        return replace(hop, sentence=sentence, counts=counts)

    def _training_hop(self, statuses: Mapping[str, WorkerStatus] | None) -> Hop:
        hop = self._worker("lifecycle", "Training", statuses, float("inf"), key="training")
        if statuses is None:
            return hop
        experiments = self._training.experiments(limit=20)
        counts = {"experiments": len(experiments)}
        failed = next((e for e in experiments if e.state is ExperimentState.FAILED), None)
        error, at = hop.last_error, hop.last_error_at
        if failed is not None and failed.failure:
            error, at = failed.failure, failed.finished_at
        if hop.state is HopState.DOWN:
            return Hop(hop.key, hop.name, hop.state, hop.sentence, None, counts, error, at)
        if not experiments:
            return Hop(hop.key, hop.name, HopState.IDLE, "Nothing has been trained yet.", None, counts, error, at)
        latest = experiments[0]
        if latest.finished:
            text = f"Last experiment: {latest.name}, {latest.state}."
            return Hop(hop.key, hop.name, HopState.IDLE, text, None, counts, error, at)
        return Hop(hop.key, hop.name, HopState.OK, f"{latest.name} is {latest.state}.", None, counts, error, at)

    def _endpoint_hop(self) -> Hop:
        endpoint = self._endpoint.current()
        if not endpoint.reachable:
            text = "SageMaker does not answer; scoring may still work."
            return Hop("endpoint", "Endpoint", HopState.DOWN, text, last_error=endpoint.failure)
        serving = f"{endpoint.model_version} is serving" if endpoint.model_version else "No model is deployed"
        if endpoint.status == "InService":
            return Hop("endpoint", "Endpoint", HopState.OK, f"{serving}.", last_error=endpoint.failure)
        state = HopState.DOWN if endpoint.status in ("Failed", "OutOfService") else HopState.IDLE
        pending = f"; {endpoint.pending_version} is being deployed" if endpoint.pending_version else ""
        text = f"{serving} ({endpoint.status}){pending}."
        return Hop("endpoint", "Endpoint", state, text, last_error=endpoint.failure)

    def _worker(
        self,
        name: str,
        title: str,
        statuses: Mapping[str, WorkerStatus] | None,
        lag_limit_seconds: float,
        *,
        key: str | None = None,
    ) -> Hop:
        key = key or name
        if statuses is None:
            return Hop(key, title, HopState.DOWN, "Unknown: MongoDB, where workers report, is not reachable.")
        status = statuses.get(name)
        if status is None:
            return Hop(key, title, HopState.DOWN, "Has never run here.")
        now = self._clock()
        counts, error, at = status.counts, status.last_error, status.last_error_at
        if (warning := _warning(status, now)) is not None:
            return Hop(key, title, HopState.DOWN, warning.sentence, status.lag_seconds, counts, error, at)
        lag = status.lag_seconds
        if lag is not None and lag > lag_limit_seconds:
            return Hop(key, title, HopState.LAGGING, f"Running, {lag:,.0f} s behind.", lag, counts, error, at)
        text = "Starting." if status.state is WorkerState.STARTING else "Running."
        return Hop(key, title, HopState.OK, text, lag, counts, error, at)


def _warning(status: WorkerStatus, now: datetime) -> Warning | None:
    subject, meaning = _MEANING.get(status.name, (status.name, "the rest of the desk works"))
    if status.is_down(now):
        since = status.heartbeat_at
        text = f"{subject} stopped at {since:%H:%M:%S} UTC: {meaning}."
        if status.state is WorkerState.FAILED and status.last_error:
            text = f"{text} {status.last_error}"
        return Warning(status.name, text, since)
    if status.state is WorkerState.WAITING:
        why = (status.last_error or "something it needs does not answer").rstrip(".")
        text = f"{subject} waits since {status.state_since:%H:%M:%S} UTC ({why}): {meaning}."
        return Warning(status.name, text, status.state_since)
    return None


def _guarded(key: str, name: str, look: Callable[[], Hop]) -> Hop:
    try:
        return look()
    except ServiceError as error:
        return Hop(key, name, HopState.DOWN, error.message, last_error=error.message, last_error_at=utc_now())


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 3600 else f"{seconds / 3600:.1f} h ago"
