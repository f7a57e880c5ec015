"""Flows kept by name: versions are only ever added, with who, when and why; nothing saved changes afterwards.

Whoever saves says which version was the newest when the work began; when somebody else saved in between, nothing is
written. A fitted flow is kept for the experiment whose model was trained with it: that is what scoring runs.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from services.access import Actor, Permission, require
from services.audit import AuditEntry
from services.domain.money import mask_card_numbers
from services.errors import InvalidData
from services.flow_steps import Flow, as_json, check_steps, read_flow
from services.worker_status import utc_now

if TYPE_CHECKING:
    from services.flow_engine import FittedFlow

MAX_NOTE = 300


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """One saved version, counted from 1. `flow_id` is for ever, `name` what people call it."""

    flow_id: str
    version: int
    name: str
    note: str
    flow: Flow
    saved_by: str
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class FitOrigin:
    """Which flow was fitted for which experiment; `flow_id` and `version` as in FlowVersion."""

    experiment_id: str
    flow_id: str
    version: int


class FlowStore(Protocol):
    def add(self, made: FlowVersion, *, audit: AuditEntry) -> None:
        """Both or neither. Conflict, naming who saved it, when that version exists already."""
        ...

    def get(self, flow_id: str, version: int | None = None) -> FlowVersion:
        """The newest where no version is given; NotFound."""
        ...

    def newest(self, limit: int) -> tuple[FlowVersion, ...]:
        """The newest version of each flow, the last saved first."""
        ...

    def versions(self, flow_id: str) -> tuple[FlowVersion, ...]:
        """Newest first; empty for an unknown flow."""
        ...

    def keep_fit(self, origin: FitOrigin, fitted: FittedFlow) -> None:
        """The fitted flow of an experiment; keeping it again replaces it by the same."""
        ...


class Flows:
    """`Flows(MongoFlows(db))`."""

    def __init__(
        self,
        store: FlowStore,
        *,
        clock: Callable[[], datetime] = utc_now,
        token: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._store, self._clock, self._token = store, clock, token

    def save(
        self, flow: Flow, *, name: str, note: str, actor: Actor, flow_id: str | None = None, after: int = 0
    ) -> FlowVersion:
        """Save as version `after` + 1 of a flow, or as version 1 of a new one (None).

        Denied; InvalidData for a name or steps that cannot be; Conflict when version `after` is not the newest.
        """
        require(actor, Permission.TRAIN)
        name, note = mask_card_numbers(name.strip()), mask_card_numbers(note.strip())
        if not 1 <= len(name) <= 80 or not name.isprintable():
            raise InvalidData("Give the flow a name of 1 to 80 printable characters.")
        if len(note) > MAX_NOTE:
            raise InvalidData(f"A note has at most {MAX_NOTE} characters; this one has {len(note)}.")
        problems = check_steps(flow.steps)
        if problems:
            raise InvalidData("A step of the flow cannot be saved.", problems)
        now = self._clock()
        made = FlowVersion(
            flow_id=flow_id or f"flow-{self._token()}",
            version=after + 1 if flow_id else 1,
            name=name,
            note=note,
            flow=read_flow(as_json(flow)),
            saved_by=actor.name,
            saved_at=now,
        )
        identity = f"{made.flow_id}:{made.version}"
        audit = AuditEntry(
            entry_id=f"{identity}:flow.save",
            at=now,
            actor=actor,
            action="flow.save",
            object=identity,
            before={},
            after={"name": name, "note": note, "flow": json.dumps(as_json(flow))[:8_000]},
            outcome="done",
        )
        self._store.add(made, audit=audit)
        return made

    def duplicate(self, flow_id: str, version: int, *, actor: Actor) -> FlowVersion:
        """The same steps under a new id and the name with "(copy)". Denied, NotFound."""
        require(actor, Permission.TRAIN)
        held = self._store.get(flow_id, version)
        note = f"Copied from {held.name}, version {held.version}."
        return self.save(held.flow, name=f"{held.name[:73]} (copy)", note=note[:MAX_NOTE], actor=actor)

    def get(self, flow_id: str, version: int | None = None) -> FlowVersion:
        return self._store.get(flow_id, version)

    def list(self, limit: int = 100) -> tuple[FlowVersion, ...]:
        return self._store.newest(limit)

    def versions(self, flow_id: str) -> tuple[FlowVersion, ...]:
        return self._store.versions(flow_id)


def export(held: FlowVersion) -> str:
    """The JSON file of a version: what `read_flow` reads, with where it is from."""
    about: Mapping[str, Any] = {
        "flow_id": held.flow_id,
        "version": held.version,
        "name": held.name,
        "note": held.note,
        "saved_by": held.saved_by,
        "saved_at": held.saved_at.isoformat(),
    }
    return json.dumps({**as_json(held.flow), "about": about}, indent=1, ensure_ascii=False)
