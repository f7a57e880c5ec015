"""Compare-and-set on a record's revision, as experiments and deployments use it."""

from __future__ import annotations

from services.errors import Conflict


class StaleRevision(Conflict):
    """The record was changed since it was read. Read it again and decide anew; nothing was written."""
