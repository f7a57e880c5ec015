"""Hops and problems of what stands outside: the endpoint that waits for work, connectors that AWS runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from services.connectors import Connector, ConnectorState
from services.deployment import EndpointState
from services.errors import ServiceError
from services.health_model import MEANING, Hop, HopState
from services.reconciliation_run import StreamPlace
from services.worker_status import utc_now

UNUSABLE = ("Failed", "OutOfService", "UpdateRollbackFailed")
_STOPPED = (ConnectorState.FAILED, ConnectorState.STOPPED, ConnectorState.UNASSIGNED)
_READY = (ConnectorState.RUNNING, ConnectorState.UPDATING, ConnectorState.RESTARTING, ConnectorState.RESUMING)


class Problem(NamedTuple):
    """Told as '<what> since <time>: <meaning>.'"""

    key: str
    what: str
    meaning: str


def endpoint_problem(endpoint: EndpointState) -> Problem | None:
    """None while it serves, is being changed, or was never made: those are not faults."""
    if not endpoint.reachable:
        meaning = "whether it can score shows with the next transaction; open alerts can still be decided"
        return Problem("endpoint", "SageMaker, which serves the model, does not answer", meaning)
    if endpoint.status in UNUSABLE:
        meaning = "new transactions will wait unscored; open alerts can still be decided"
        return Problem("endpoint", f"The model endpoint is {endpoint.status}", meaning)
    return None


def connectors_problem(connectors: Sequence[Connector]) -> Problem | None:
    """The first that does not do its work, a failed one before a paused one."""
    for connector in sorted(connectors, key=lambda c: c.state not in _STOPPED):
        if connector.state in _STOPPED or connector.paused:
            by = f" by {connector.pause.by}" if connector.pause else ""
            state = f"is paused{by}" if connector.paused else "failed" if connector.failure else "does not run"
            return Problem("connectors", f"The connector {connector.name} {state}", MEANING["stream"][1])
    return None


def hop_of_connectors(connectors: Sequence[Connector]) -> Hop:
    """The stream where managed connectors are it."""
    stopped = next((c for c in connectors if c.state in _STOPPED), None)
    paused = next((c for c in connectors if c.paused), None)
    if not connectors:
        state, sentence = HopState.DOWN, "No connector with the configured name exists."
    elif stopped is not None:
        state, sentence = HopState.DOWN, f"{stopped.name} is {stopped.state.lower()}."
    elif paused is not None:
        by = f" by {paused.pause.by}" if paused.pause else ""
        state, sentence = HopState.PAUSED, f"{paused.name} is {paused.state.lower()}{by}."
    elif all(c.state in _READY for c in connectors):
        count = "1 connector runs" if len(connectors) == 1 else f"{len(connectors)} connectors run"
        state, sentence = HopState.OK, f"{count}."
    else:
        state, sentence = HopState.IDLE, f"{connectors[0].name} is {connectors[0].state.lower()}."
    return Hop("stream", "Stream to S3", state, sentence, last_error=stopped.failure if stopped else None)


def worse(first: Hop, second: Hop) -> Hop:
    """Of two processes that are one hop: what the one that is worse off says, and both lags together."""
    order = (HopState.OK, HopState.IDLE, HopState.LAGGING, HopState.PAUSED, HopState.DOWN)
    hop = max(first, second, key=lambda hop: order.index(hop.state))
    lags = [hop.lag_seconds for hop in (first, second) if hop.lag_seconds is not None]
    return replace(hop, lag_seconds=sum(lags) if lags else None)


def in_raw(place: StreamPlace | None) -> int | None:
    """Events in the raw zone, by the stream's committed offsets; None where something else fills it."""
    return None if place is None else sum(place.offsets.values())


def guarded(key: str, name: str, look: Callable[[], Hop]) -> Hop:
    """A hop that cannot be looked at is down, with the reason."""
    try:
        return look()
    except ServiceError as error:
        return Hop(key, name, HopState.DOWN, error.message, last_error=error.message, last_error_at=utc_now())
