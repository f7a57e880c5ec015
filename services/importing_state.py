"""How far an import is: what is kept of it between batches and after a kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.access import Actor
from services.audit import AuditEntry


class ImportState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Import:
    """One import and how far it is. accepted + duplicates + refused = rows, each of the file's rows counted once.

    `accepted` rows were new; `duplicates` were there already, or twice in the file; `scored` of the accepted are not
    history. `labels` verdicts were recorded; `awaited` rows have one that is not known yet (import them again later).
    """

    import_id: str
    file_name: str
    # SHA-256 of the file and of the mapping: what makes a later run the same import.
    fingerprint: str
    mapping_name: str
    started_by: str
    started_at: datetime
    score_since: datetime
    errors_path: str
    # Whose place it is: a run that was replaced by another one can save nothing more.
    owner: str
    state: ImportState = ImportState.RUNNING
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    labels: int = 0
    awaited: int = 0
    scored: int = 0
    problems: int = 0
    errors_bytes: int = 0
    finished_at: datetime | None = None
    failure: str | None = None
    # When its place was last saved: one that has not moved for long was cut off.
    saved_at: datetime | None = None

    @property
    def sentence(self) -> str:
        """How it went, for a person."""
        if not self.rows and self.state is ImportState.DONE:
            return f"{self.file_name} has a header and no rows; nothing was imported."
        ends = {"running": "so far", "done": "done", "cancelled": "cancelled", "failed": "stopped"}
        parts = [f"{self.accepted:,} imported", f"{self.duplicates:,} already known", f"{self.refused:,} refused"]
        text = f"{self.rows:,} rows {ends[self.state]}: {', '.join(parts)}; {self.labels:,} verdicts."
        return f"{text} {self.failure}" if self.failure else text


@dataclass(frozen=True, slots=True)
class Stored:
    """What is there under an id: from which import and row (None: from elsewhere), whether it is the same, and when it
    got its verdict (None: it has none)."""

    import_id: str | None
    row: int | None
    same: bool
    labelled_at: datetime | None


def audited(state: Import, actor: Actor, outcome: str, *, at: datetime) -> AuditEntry:
    after = {"file": state.file_name, "mapping": state.mapping_name, "rows": state.rows, "accepted": state.accepted}
    entry_id = f"import:{state.import_id}:{state.owner}:{outcome}"
    return AuditEntry(entry_id, at, actor, "import data", state.import_id, after=after, outcome=outcome)


def as_document(state: Import) -> dict[str, Any]:
    """For storage: plain values, `_id` the import's id."""
    values = asdict(state)
    return {"_id": values.pop("import_id"), **values, "state": str(state.state)}


def from_document(document: dict[str, Any]) -> Import:
    values = {key: value for key, value in document.items() if key in Import.__dataclass_fields__}
    return Import(import_id=document["_id"], **values | {"state": ImportState(document["state"])})
