"""How the loop is doing, hop by hop, and what to tell everybody when something is down.

Each hop is looked at on its own: a dependency that does not answer makes its own hop "down", never the whole screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from services.connectors import Connector, Pause
from services.deployment import EndpointState
from services.errors import Unavailable
from services.health_flow import Flow, LakeFigures, Tally, per_second
from services.health_model import (
    MEANING,
    Hop,
    HopState,
    StoreFigures,
    Warning,
    ago,
    is_paused,
    lag_of,
    paused_by,
    worker_warning,
)
from services.health_outside import (
    UNUSABLE,
    connectors_problem,
    endpoint_problem,
    guarded,
    hop_of_connectors,
    in_raw,
    worse,
)
from services.health_watch import Watch
from services.reconciliation_run import StreamPlace
from services.training import Experiment, ExperimentState
from services.worker_status import StatusStore, WorkerState, WorkerStatus, utc_now

SCORING_LAG_SECONDS = 15.0
STREAM_LAG_SECONDS = 60.0
LAKE_LAG_SECONDS = 90.0
_RATES = {
    "scorer": ("scored",),
    "stream": ("transactions", "labels"),
    "sink": ("transactions", "labels"),
    "curator": ("folded", "quarantined"),
}
Statuses = Mapping[str, WorkerStatus]


class StoreProbe(Protocol):
    def figures(self) -> StoreFigures: ...


class LakeProbe(Protocol):
    def figures(self) -> LakeFigures: ...


class TrainingProbe(Protocol):
    def experiments(self, limit: int = 50) -> tuple[Experiment, ...]: ...


class EndpointProbe(Protocol):
    def current(self) -> EndpointState: ...


class ConnectorsProbe(Protocol):
    @property
    def configured(self) -> bool: ...

    def list(self) -> tuple[Connector, ...]: ...


class PauseProbe(Protocol):
    def pauses(self) -> Mapping[str, Pause]: ...


class PlaceProbe(Protocol):
    def stream_place(self) -> StreamPlace | None: ...


class Health:
    def __init__(
        self,
        *,
        statuses: StatusStore,
        store: StoreProbe,
        lake: LakeProbe,
        training: TrainingProbe,
        endpoint: EndpointProbe,
        connectors: ConnectorsProbe | None = None,
        pauses: PauseProbe | None = None,
        place: PlaceProbe | None = None,
        clock: Callable[[], datetime] = utc_now,
        watch: Callable[[Callable[[], tuple[Warning, ...]]], Watch[tuple[Warning, ...]]] = Watch,
    ) -> None:
        """`watch` is given what to look at in the background for `warnings`."""
        self._statuses, self._store, self._lake = statuses, store, lake
        self._training, self._endpoint, self._clock = training, endpoint, clock
        self._connectors, self._pauses, self._place = connectors, pauses, place
        self._outside = watch(self._look_outside)
        self._store_lost_at: datetime | None = None
        self._since: dict[str, datetime] = {}
        self._arrivals = Tally()

    def warnings(self) -> tuple[Warning, ...]:
        """What is down now; empty when all is well. One cheap read; never raises Unavailable.

        What stands outside (the endpoint, managed connectors) is as it was seen in the last seconds.
        """
        now = self._clock()
        try:
            statuses = self._statuses.all()
            pause = self._who_paused(statuses)
        except Unavailable:
            since = self._store_lost_at = self._store_lost_at or now
            text = (
                f"MongoDB is not reachable since {since:%H:%M:%S} UTC: "
                "screens show what was read last and decisions cannot be saved."
            )
            return (Warning("mongodb", text, since),)
        self._store_lost_at = None
        known = [status for status in statuses if status.name in MEANING]
        found = [w for s in known if (w := worker_warning(s, now, pause)) is not None]
        told = {warning.key for warning in found} | {"connectors" for status in known if status.name == "stream"}
        # A scorer that cannot score has said so, and why.
        skipped = told | ({"endpoint"} if "scorer" in told else set())
        return (*found, *(warning for warning in self._outside.seen() or () if warning.key not in skipped))

    def hops(self) -> tuple[Hop, ...]:
        """Intake, scoring, stream, lake, training, endpoint, in the order of the loop.

        MongoDB, S3 and SageMaker are asked side by side, and MongoDB not again once it did not answer: when something
        is down this takes as long as one timeout.
        """
        with ThreadPoolExecutor(2, thread_name_prefix="health") as pool:
            endpoint = pool.submit(guarded, "endpoint", "Endpoint", self._endpoint_hop)
            lake = pool.submit(self._lake.figures)
            try:
                every = self._statuses.all()
                statuses: Statuses | None = {status.name: status for status in every}
                pause = self._who_paused(every)
                place = self._place.stream_place() if self._place else None
            except Unavailable:
                statuses, pause, place = None, None, None
            return (
                guarded("intake", "Intake", lambda: self._intake(statuses)),
                guarded("scoring", "Scoring", lambda: self._scoring(statuses)),
                guarded("stream", "Stream to S3", lambda: self._stream(statuses, pause, place)),
                guarded("lake", "Lake", lambda: self._lake_hop(statuses, place, lake.result())),
                guarded("training", "Training", lambda: self._training_hop(statuses)),
                endpoint.result(),
            )

    def _who_paused(self, statuses: tuple[WorkerStatus, ...]) -> Pause | None:
        """Who paused the stream, from this desk if the newest word is ours. Asked only while it is paused."""
        if self._pauses is None or not any(is_paused(status) for status in statuses):
            return None
        pauses = dict(self._pauses.pauses())
        told = pauses.pop("stream", None)
        ours = max(pauses.values(), key=lambda pause: pause.at, default=None)
        if ours is not None and (told is None or ours.at > told.at - timedelta(minutes=1)):
            return ours
        return told

    def _intake(self, statuses: Statuses | None) -> Hop:
        if statuses is None:
            return Hop("intake", "Intake", HopState.DOWN, "MongoDB is not reachable: nothing can come in.")
        figures, now = self._store.figures(), self._clock()
        newest, total = figures.newest_received_at, figures.transactions
        hop = Hop("intake", "Intake", HopState.IDLE, "No transaction has arrived yet.", counts={"transactions": total})
        hop = replace(hop, flow=Flow(handed=total), per_second=self._arrivals.per_second(total, now))
        if newest is None:
            return hop
        age = max((now - newest).total_seconds(), 0.0)
        return replace(hop, state=HopState.OK, sentence=f"Last transaction {ago(age)}.")

    def _scoring(self, statuses: Statuses | None) -> Hop:
        hop = self._worker("scorer", "Scoring", statuses, SCORING_LAG_SECONDS, key="scoring")
        if statuses is None:
            return hop
        unscored = self._store.figures().unscored
        scored, failed = hop.counts.get("scored"), hop.counts.get("failed", 0)
        flow = Flow(None if scored is None else scored + failed, scored, waiting=unscored)
        hop = replace(hop, counts=dict(hop.counts) | {"unscored": unscored}, flow=flow, lag_events=unscored)
        if hop.state is HopState.OK and unscored:
            return replace(hop, state=HopState.LAGGING, sentence=f"{unscored:,} transactions wait to be scored.")
        return hop

    def _stream(self, statuses: Statuses | None, pause: Pause | None, place: StreamPlace | None) -> Hop:
        if statuses is not None and "stream" not in statuses and self._connectors and self._connectors.configured:
            return hop_of_connectors(self._connectors.list())
        hop = self._worker("stream", "Stream to S3", statuses, STREAM_LAG_SECONDS, pause=pause)
        if statuses is not None and "sink" in statuses:  # by way of Kafka: two processes are one hop
            hop = worse(hop, self._worker("sink", "Stream to S3", statuses, STREAM_LAG_SECONDS, key="stream"))
        if place is None:
            return hop
        if place.copying and hop.state in (HopState.OK, HopState.LAGGING):
            hop = replace(hop, state=HopState.LAGGING, sentence="Copying every document; changes follow.")
        return replace(hop, flow=Flow(handed=in_raw(place)))

    def _lake_hop(self, statuses: Statuses | None, place: StreamPlace | None, lake: LakeFigures) -> Hop:
        """How far behind the raw zone the tables are is counted here, not taken from the curator's word."""
        hop = self._worker("curator", "Lake", statuses, LAKE_LAG_SECONDS, key="lake")
        stored, done = in_raw(place), lake.folded + lake.quarantined
        waiting = None if stored is None else max(stored - sum(lake.offsets.values()), 0)
        flow = Flow(None if waiting is None else done + waiting, lake.folded, lake.quarantined, waiting)
        hop = replace(hop, counts=dict(hop.counts) | {"rows": lake.rows}, flow=flow, lag_events=waiting)
        if hop.state not in (HopState.OK, HopState.LAGGING) or lake.current_to is None:
            return hop
        behind = (self._clock() - lake.current_to).total_seconds() if waiting else 0.0
        hop = replace(hop, lag_seconds=behind if waiting is not None else hop.lag_seconds)
        sentence = f"Current to {lake.current_to:%H:%M:%S} UTC."
        if waiting and behind > LAKE_LAG_SECONDS:
            return replace(hop, state=HopState.LAGGING, sentence=f"{sentence} {waiting:,} events wait.")
        return replace(hop, sentence=sentence, state=HopState.OK)

    def _training_hop(self, statuses: Statuses | None) -> Hop:
        hop = self._worker("lifecycle", "Training", statuses, float("inf"), key="training")
        if statuses is None:
            return hop
        experiments = self._training.experiments(limit=20)
        counts = {"experiments": len(experiments)}
        failed = next((e for e in experiments if e.state is ExperimentState.FAILED), None)
        if failed is not None and failed.failure:
            hop = replace(hop, last_error=failed.failure, last_error_at=failed.finished_at)
        hop = replace(hop, counts=counts, lag_seconds=None)
        if hop.state is HopState.DOWN:
            return hop
        if not experiments:
            return replace(hop, state=HopState.IDLE, sentence="Nothing has been trained yet.")
        latest = experiments[0]
        if latest.finished:
            return replace(hop, state=HopState.IDLE, sentence=f"Last experiment: {latest.name}, {latest.state}.")
        return replace(hop, state=HopState.OK, sentence=f"{latest.name} is {latest.state}.")

    def _endpoint_hop(self) -> Hop:
        endpoint = self._endpoint.current()
        hop = Hop("endpoint", "Endpoint", HopState.OK, "", last_error=endpoint.failure)
        if not endpoint.reachable:
            return replace(hop, state=HopState.DOWN, sentence="SageMaker does not answer; scoring may still work.")
        serving = f"{endpoint.model_version} is serving" if endpoint.model_version else "No model is deployed"
        if endpoint.status == "InService":
            return replace(hop, sentence=f"{serving}.")
        state = HopState.DOWN if endpoint.status in UNUSABLE else HopState.IDLE
        pending = f"; {endpoint.pending_version} is being deployed" if endpoint.pending_version else ""
        return replace(hop, state=state, sentence=f"{serving} ({endpoint.status}){pending}.")

    def _worker(
        self,
        name: str,
        title: str,
        statuses: Statuses | None,
        lag_limit_seconds: float,
        *,
        key: str | None = None,
        pause: Pause | None = None,
    ) -> Hop:
        key = key or name
        if statuses is None:
            return Hop(key, title, HopState.DOWN, "Unknown: MongoDB, where workers report, is not reachable.")
        status = statuses.get(name)
        if status is None:
            return Hop(key, title, HopState.DOWN, "Has never run here.")
        now, lag = self._clock(), lag_of(status, self._clock())
        hop = Hop(key, title, HopState.OK, "Running.", lag, status.counts)
        if not (status.last_error or "").startswith("Paused"):  # that was asked for: no error, then or later
            hop = replace(hop, last_error=status.last_error, last_error_at=status.last_error_at)
        if not status.is_down(now):
            hop = replace(hop, per_second=per_second(status, _RATES.get(name, ())) if name in _RATES else None)
            if is_paused(status):
                sentence = paused_by(status, pause)
                paused = f"{sentence[:1].upper()}{sentence[1:]}.".replace("Is paused", "Paused", 1)
                return replace(hop, state=HopState.PAUSED, sentence=paused)
        if (warning := worker_warning(status, now)) is not None:
            return replace(hop, state=HopState.DOWN, sentence=warning.sentence)
        if lag is not None and lag > lag_limit_seconds:
            return replace(hop, state=HopState.LAGGING, sentence=f"Running, {lag:,.0f} s behind.")
        return replace(hop, sentence="Starting.") if status.state is WorkerState.STARTING else hop

    def _look_outside(self) -> tuple[Warning, ...]:
        """What no worker reports: the endpoint that waits for work, and connectors that AWS runs."""
        found = [endpoint_problem(self._endpoint.current())]
        if self._connectors is not None and self._connectors.configured:
            found.append(connectors_problem(self._connectors.list()))
        now = self._clock()
        problems = [problem for problem in found if problem is not None]
        self._since = {problem.key: self._since.get(problem.key, now) for problem in problems}
        return tuple(
            Warning(key, f"{what} since {self._since[key]:%H:%M:%S} UTC: {meaning}.", self._since[key])
            for key, what, meaning in problems
        )


__all__ = ["Health", "Hop", "HopState", "StoreFigures", "Warning"]
