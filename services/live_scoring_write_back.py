"""Writing back what was scored: it goes through the front door like any transaction, and is scored again there.

For those who may only: administrators, and people that the installation names (FRAUD_DESK_WRITE_BACK, the identity
provider's subjects). Sending the same records again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from services.access import Actor, Permission, allows
from services.audit import AuditEntry
from services.errors import Denied
from services.intake import IntakeResult
from services.worker_status import utc_now


class AuditStore(Protocol):
    def record(self, entry: AuditEntry) -> None:
        """Keep the entry; one with its id that is there already stays."""
        ...


class FrontDoor(Protocol):
    def submit(self, records: Sequence[Any], *, received_at: datetime) -> IntakeResult: ...


class WriteBack:
    def __init__(
        self,
        intake: FrontDoor,
        audit: AuditStore,
        *,
        named: frozenset[str] = frozenset(),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._intake, self._audit, self._named, self._clock = intake, audit, named, clock

    def allowed(self, actor: Actor) -> bool:
        named = actor.subject in self._named and allows(actor, Permission.SCORE_LIVE)
        return named or allows(actor, Permission.WRITE_BACK)

    def require(self, actor: Actor) -> None:
        """Raises Denied."""
        if not self.allowed(actor):
            raise Denied(f"Your role ({actor.role}) may not {Permission.WRITE_BACK}; nothing was written.")

    def write(self, records: Sequence[Mapping[str, Any]], *, actor: Actor) -> IntakeResult:
        """Submit the records; counts as the front door's. Raises Denied, and Unavailable (send them again: what was
        kept counts as known). The audit has the intent before, and the counts after."""
        self.require(actor)
        plain = orjson.dumps(list(records), default=str, option=orjson.OPT_SORT_KEYS)
        batch = hashlib.sha256(plain).hexdigest()[:24]
        self.note(batch, actor, {"records": len(records)}, "requested")
        result = self._intake.submit(records, received_at=self._clock())
        counts = {"accepted": result.accepted, "duplicates": result.duplicates, "refused": result.refused}
        self.note(batch, actor, counts, "done")
        return result

    def note(self, batch: str, actor: Actor, after: Mapping[str, Any], outcome: str) -> None:
        """Audit it; once for a batch and an outcome."""
        self._audit.record(
            AuditEntry(
                entry_id=f"write-back:{batch}:{outcome}", at=self._clock(), actor=actor, action="write_back",
                object=f"write-back:{batch}", after=after, outcome=outcome,
            )
        )  # fmt: skip
