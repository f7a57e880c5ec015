"""Imports over plain Python objects: the real services, only MongoDB is a dictionary."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from services.audit import AuditEntry
from services.importing_desk import Imports
from services.importing_state import Import, Stored
from services.worker_status import utc_now


class MemoryImports:
    """Satisfies `services.importing_desk.DeskStore`."""

    def __init__(self, faults: Any) -> None:
        self.faults = faults
        self.saved: dict[str, Import] = {}
        self.transactions: dict[str, dict[str, Any]] = {}
        self.labels: dict[str, dict[str, Any]] = {}
        self.audit: list[AuditEntry] = []
        self.lag: float | None = None

    def unfinished(self, fingerprint: str) -> Import | None:
        self.faults.check()
        return next((i for i in self.saved.values() if i.fingerprint == fingerprint and i.state != "done"), None)

    def take(self, state: Import) -> None:
        self.faults.check()
        self.saved[state.import_id] = state

    save = take

    def latest(self, limit: int) -> tuple[Import, ...]:
        self.faults.check()
        return tuple(sorted(self.saved.values(), key=lambda i: i.started_at, reverse=True)[:limit])

    def note(self, audit: AuditEntry) -> None:
        self.audit.append(audit)

    def insert(self, documents: Sequence[dict[str, Any]]) -> dict[str, Stored]:
        self.faults.check()
        known = {d["_id"]: Stored(None, None, True, None) for d in documents if d["_id"] in self.transactions}
        self.transactions |= {d["_id"]: d for d in documents if d["_id"] not in known}
        return known

    def add_labels(self, documents: Sequence[dict[str, Any]], *, known: Container[str], newer: Container[str]) -> int:
        before = len(self.labels)
        self.labels |= {d["_id"]: d["label"] for d in documents}
        return len(self.labels) - before

    def scorer_lag(self) -> float | None:
        return self.lag


def imports(faults: Any, *, token_key: bytes | None = b"k" * 16, mapping_file: Path | None = None) -> Imports:
    return Imports(
        MemoryImports(faults), clock=utc_now, token_key=token_key, mapping_file=mapping_file, ensure=lambda: None
    )
