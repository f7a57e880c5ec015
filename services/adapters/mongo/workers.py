"""`workers` and `positions` in MongoDB."""

from __future__ import annotations

from typing import Any

from services.adapters.mongo.client import Db, translated
from services.worker_status import Sample, WorkerState, WorkerStatus


class MongoStatusStore:
    """Satisfies `services.worker_status.StatusStore`."""

    def __init__(self, db: Db) -> None:
        self._workers = db["workers"]

    def put(self, status: WorkerStatus) -> None:
        error = {"at": status.last_error_at, "message": status.last_error} if status.last_error else None
        document = {
            "state": str(status.state),
            "pid": status.pid,
            "started_at": status.started_at,
            "heartbeat_at": status.heartbeat_at,
            "state_since": status.state_since,
            "counts": dict(status.counts),
            "lag_seconds": status.lag_seconds,
            "position": dict(status.position),
            "last_error": error,
            "recent": [{"at": sample.at, "counts": dict(sample.counts)} for sample in status.recent],
        }
        with translated():
            self._workers.replace_one({"_id": status.name}, document, upsert=True)

    def get(self, name: str) -> WorkerStatus | None:
        with translated():
            document = self._workers.find_one({"_id": name})
        return _status(document) if document else None

    def all(self) -> tuple[WorkerStatus, ...]:
        with translated():
            return tuple(_status(document) for document in self._workers.find({}).sort("_id").limit(50))


def _status(document: dict[str, Any]) -> WorkerStatus:
    error = document.get("last_error") or {}
    return WorkerStatus(
        name=document["_id"],
        state=WorkerState(document["state"]),
        pid=document["pid"],
        started_at=document["started_at"],
        heartbeat_at=document["heartbeat_at"],
        state_since=document["state_since"],
        counts=document.get("counts", {}),
        lag_seconds=document.get("lag_seconds"),
        position=document.get("position", {}),
        last_error=error.get("message"),
        last_error_at=error.get("at"),
        recent=tuple(Sample(sample["at"], sample["counts"]) for sample in document.get("recent", ())),
    )
