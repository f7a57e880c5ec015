"""`controls` in MongoDB: who paused which connector from this desk, and why.

Satisfies `services.connectors.ControlStore`. The document of a connector is `connector:<name>`; that of a worker is its
name, and belongs to whoever stands for its API (docs/contracts.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from pymongo.client_session import ClientSession

from services.adapters.mongo.client import Db, in_transaction, translated
from services.adapters.mongo.experiments import write_audit
from services.audit import AuditEntry
from services.connectors import Pause

_PREFIX = "connector:"


class MongoControls:
    def __init__(self, db: Db) -> None:
        self._db, self._controls = db, db["controls"]

    def pauses(self) -> Mapping[str, Pause]:
        """By the connector's name; a worker's own document stands under the worker's name."""
        with translated():
            found = list(self._controls.find({"paused": True}).limit(100))
        return {
            str(control["_id"]).removeprefix(_PREFIX): Pause(
                control.get("by") or "somebody", control["at"], control.get("reason", "")
            )
            for control in found
            if control.get("at") is not None
        }

    def intend(self, name: str, pause: Pause | None, audit: AuditEntry) -> None:
        self._write(name, pause, audit)

    def conclude(self, name: str, kept: Pause | None, audit: AuditEntry) -> None:
        self._write(name, kept, audit)

    def _write(self, name: str, pause: Pause | None, audit: AuditEntry) -> None:
        key = {"_id": f"{_PREFIX}{name}"}

        def work(session: ClientSession) -> None:
            if pause is None:
                self._controls.delete_one(key, session=session)
            else:
                control = {"paused": True, "by": pause.by, "at": pause.at, "reason": pause.reason}
                self._controls.replace_one(key, control, upsert=True, session=session)
            write_audit(self._db, audit, session)

        in_transaction(self._db, work)
