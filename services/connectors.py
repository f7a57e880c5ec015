"""The connectors that fill the raw zone: how they are, pausing and resuming them.

A pause is asked for with a reason, audited before it is asked for and after the answer, and undone by resuming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.access import Actor, Permission, require
from services.audit import AuditEntry
from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable
from services.worker_status import utc_now

LONGEST_REASON = 500
NOT_CONFIGURED = (
    "No connectors are configured: set FRAUD_DESK_CONNECTORS to the beginning of their names in MSK Connect, or "
    "FRAUD_DESK_CONNECT_URL to the address of your own Kafka Connect, to see, pause and resume them here."
)


class ConnectorState(StrEnum):
    """In the words of MSK Connect, and Kafka Connect's for one that no process runs."""

    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    RESUMING = "RESUMING"
    RESTARTING = "RESTARTING"
    CREATING = "CREATING"
    UPDATING = "UPDATING"
    DELETING = "DELETING"
    STOPPED = "STOPPED"
    UNASSIGNED = "UNASSIGNED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Tasks:
    """How many tasks are in each state, as counted at `at` (None: now). `failures` are their traces' first lines."""

    running: int
    paused: int = 0
    failed: int = 0
    at: datetime | None = None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Who asked for it here, when and why."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Connector:
    """`ref` is how its API names it. `tasks` None: not known. `pause` None unless it was paused from this desk."""

    name: str
    ref: str
    state: ConnectorState
    description: str = ""
    created_at: datetime | None = None
    tasks: Tasks | None = None
    failure: str | None = None
    pause: Pause | None = None

    @property
    def paused(self) -> bool:
        return self.state in (ConnectorState.PAUSED, ConnectorState.PAUSING)


class ConnectApi(Protocol):
    """MSK Connect, or a Kafka Connect of one's own. Every call raises Unavailable when it does not answer.

    `pause` and `resume` return when it was told; the connector gets there by itself.
    """

    def connectors(self) -> tuple[Connector, ...]: ...

    def pause(self, ref: str) -> None: ...

    def resume(self, ref: str) -> None: ...


class ControlStore(Protocol):
    def pauses(self) -> Mapping[str, Pause]: ...

    def intend(self, name: str, pause: Pause | None, audit: AuditEntry) -> None: ...

    def conclude(self, name: str, kept: Pause | None, audit: AuditEntry) -> None: ...


class Connectors:
    """`api` None: not configured in this installation."""

    def __init__(
        self, api: ConnectApi | None, controls: ControlStore, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._api, self._controls, self._clock = api, controls, clock

    @property
    def configured(self) -> bool:
        return self._api is not None

    def list(self) -> tuple[Connector, ...]:
        """By name; empty where none is configured. Raises Unavailable."""
        if self._api is None:
            return ()
        found = self._api.connectors()
        pauses = self._controls.pauses() if any(connector.paused for connector in found) else {}
        known = (replace(c, pause=pauses.get(c.name)) if c.paused else c for c in found)
        return tuple(sorted(known, key=lambda connector: connector.name))

    def pause(self, name: str, *, reason: str, actor: Actor) -> None:
        """Raises Denied, InvalidData without a reason, NotFound, Conflict when it is paused already, Unavailable."""
        require(actor, Permission.OPERATE_LOOP)
        reason = _reason(reason)
        api, connector = self._find(name)
        if connector.paused:
            by = f" by {connector.pause.by}" if connector.pause else ""
            raise Conflict(f"{name} is paused{by} already; nothing was changed.")
        pause = Pause(actor.name, self._clock(), reason)
        self._act(api.pause, connector, "pause", reason=reason, actor=actor, before=None, after=pause)

    def resume(self, name: str, *, reason: str = "", actor: Actor) -> None:
        """The undo of a pause. Raises Denied, NotFound, Conflict when it is not paused, Unavailable."""
        require(actor, Permission.OPERATE_LOOP)
        api, connector = self._find(name)
        if not connector.paused:
            raise Conflict(f"{name} is {connector.state.lower()}, not paused; nothing was changed.")
        self._act(api.resume, connector, "resume", reason=reason, actor=actor, before=connector.pause, after=None)

    def _find(self, name: str) -> tuple[ConnectApi, Connector]:
        if self._api is None:
            raise NotFound(NOT_CONFIGURED)
        connector = next((connector for connector in self.list() if connector.name == name), None)
        if connector is None:
            raise NotFound(f"There is no connector {name} any more; nothing was changed.")
        return self._api, connector

    def _act(
        self,
        tell: Callable[[str], None],
        connector: Connector,
        action: str,
        *,
        reason: str,
        actor: Actor,
        before: Pause | None,
        after: Pause | None,
    ) -> None:
        """Intent, act, outcome. An answer that never came is kept as such: the state tells what became of it."""
        at = self._clock()

        def entry(outcome: str) -> AuditEntry:
            entry_id = f"connector:{connector.name}:{action}:{at.isoformat()}:{outcome}"
            changed = {"paused": after is not None} | ({"reason": reason} if reason else {})
            former = {"paused": connector.paused}
            whole = f"connector.{action}", f"connector:{connector.name}"
            return AuditEntry(entry_id, at, actor, *whole, former, changed, outcome)

        self._controls.intend(connector.name, after, entry("requested"))
        try:
            tell(connector.ref)
        except Unavailable as error:
            self._controls.conclude(connector.name, after, entry("unknown"))
            text = f"{error.message} Whether {connector.name} heard of it is not known: its state here will tell."
            raise Unavailable(text, dependency=error.dependency) from error
        except ServiceError:
            self._controls.conclude(connector.name, before, entry("failed"))
            raise
        self._controls.conclude(connector.name, after, entry("done"))


def _reason(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= LONGEST_REASON:
        raise InvalidData(f"Say in 1 to {LONGEST_REASON} characters why it is paused; nothing was changed.")
    return text


def waiting(connectors: Sequence[Connector]) -> tuple[Connector, ...]:
    """Those that do not do their work: paused or failed."""
    idle = (ConnectorState.FAILED, ConnectorState.STOPPED, ConnectorState.UNASSIGNED)
    return tuple(connector for connector in connectors if connector.paused or connector.state in idle)
