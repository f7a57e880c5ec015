"""Scoring runs in MongoDB (`scoring_runs`), and the audit of transactions written back from the screen."""

from __future__ import annotations

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from services.adapters.mongo.client import Db, in_transaction, translated
from services.adapters.mongo.experiments import write_audit
from services.audit import AuditEntry
from services.domain.states import RunState
from services.errors import Conflict
from services.scoring_runs_state import ScoringRun, as_document, from_document

_ONE = "You are scoring another file already; wait for it or cancel it first."


class MongoScoringRuns:
    """Satisfies `services.scoring_runs.RunStore`. One active run a person: a unique index on `active`."""

    def __init__(self, db: Db) -> None:
        self._runs, self._writes = db["scoring_runs"], db["score_writes"]

    def create(self, run: ScoringRun) -> None:
        with translated():
            try:
                self._runs.insert_one(as_document(run))
            except DuplicateKeyError as error:
                raise Conflict(_ONE) from error

    def get(self, run_id: str) -> ScoringRun | None:
        with translated():
            found = self._runs.find_one({"_id": run_id})
        return from_document(found) if found else None

    def of(self, subject: str, limit: int) -> tuple[ScoringRun, ...]:
        with translated():
            found = list(self._runs.find({"subject": subject}).sort([("started_at", -1), ("_id", -1)]).limit(limit))
        return tuple(from_document(one) for one in found)

    def take(self, run: ScoringRun, *, former: ScoringRun) -> None:
        seen = {"_id": run.run_id, "owner": former.owner, "state": str(former.state), "heard_at": former.heard_at}
        with translated():
            try:
                taken = self._runs.replace_one(seen, as_document(run))
            except DuplicateKeyError as error:
                raise Conflict(_ONE) from error
        if not taken.matched_count:
            raise Conflict("Somebody took this run up at the same moment; it is under way.")

    def commit(self, run: ScoringRun) -> bool:
        document = as_document(run)
        del document["cancel_requested"]  # others write it
        change = {"$set": document}
        if run.state is not RunState.RUNNING:
            change["$unset"] = {"active": ""}
        with translated():
            found = self._runs.find_one_and_update(
                {"_id": run.run_id, "owner": run.owner}, change, {"cancel_requested": 1},
                return_document=ReturnDocument.AFTER,
            )  # fmt: skip
        if found is None:
            raise Conflict("Another process has taken this run over; this one stops. Nothing is lost.")
        return bool(found["cancel_requested"])

    def request_cancel(self, run_id: str) -> None:
        with translated():
            self._runs.update_one({"_id": run_id, "state": str(RunState.RUNNING)}, {"$set": {"cancel_requested": True}})

    def delete(self, run_id: str) -> None:
        with translated():
            self._runs.delete_one({"_id": run_id, "state": {"$ne": str(RunState.RUNNING)}})
            self._writes.delete_one({"_id": run_id})


class MongoWriteBackAudit:
    """Satisfies `services.live_scoring_write_back.AuditStore`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def record(self, entry: AuditEntry) -> None:
        def work(session: ClientSession) -> None:
            write_audit(self._db, entry, session)

        try:
            in_transaction(self._db, work)
        except DuplicateKeyError:
            pass  # a retry after a lost reply: it is there
