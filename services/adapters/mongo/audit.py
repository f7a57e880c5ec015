"""The shape of an audit entry. Entries are only ever inserted, in the transaction of the change they speak of."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from services.access import Actor


def audit_entry(
    *,
    at: datetime,
    actor: Actor,
    action: str,
    object_id: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    outcome: str = "done",
) -> dict[str, Any]:
    return {
        "_id": uuid4().hex,
        "at": at,
        "actor": {"subject": actor.subject, "name": actor.name, "role": str(actor.role)},
        "action": action,
        "object": object_id,
        "before": before or {},
        "after": after or {},
        "outcome": outcome,
    }
