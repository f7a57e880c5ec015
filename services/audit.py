"""What a capability hands to its store to be audited, in the same database transaction as the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.access import Actor


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`entry_id` is deterministic (object, action and, where it can repeat, the version), so a retry cannot double it.

    `before` and `after` hold only what the action changed, never card data. `outcome` is "requested" for an intent
    that a worker carries out, else the result.
    """

    entry_id: str
    at: datetime
    actor: Actor
    action: str
    object: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = "done"
