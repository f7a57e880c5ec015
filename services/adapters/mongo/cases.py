"""Verdicts in MongoDB: label, alert, timeline and audit in one transaction."""

from __future__ import annotations

from datetime import datetime

from pymongo.client_session import ClientSession

from services.adapters.mongo.audit import audit_entry
from services.adapters.mongo.client import Db, Document, in_transaction
from services.adapters.mongo.intake import LABEL_FIELDS, label_entry
from services.cases import Changed, Decided, Verdict
from services.domain.states import AlertStatus, LabelSource
from services.worker_status import utc_now

_FIELDS = LABEL_FIELDS | {"label": 1, "alert": 1, "version": 1, "score.scored_at": 1}


class MongoCaseStore:
    """Satisfies `services.cases.CaseStore`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def now(self) -> datetime:
        return utc_now()

    def decide(self, verdict: Verdict) -> Decided | Changed | None:
        def work(session: ClientSession) -> Decided | Changed | None:
            found = self._db["transactions"].find_one({"_id": verdict.transaction_id}, _FIELDS, session=session)
            if found is None:
                return None
            if found["version"] != verdict.expected_version:
                return self._repeat_or_conflict(found, verdict, session)
            self._write(found, verdict, session)
            return Decided(verdict.label_id, verdict.expected_version + 1)

        return in_transaction(self._db, work)

    def _write(self, found: Document, verdict: Verdict, session: ClientSession) -> None:
        label = {
            "value": str(verdict.value),
            "source": str(LabelSource.ANALYST),
            "labelled_at": verdict.decided_at,
            "labelled_by": verdict.actor.name,
            "label_id": verdict.label_id,
        }
        change: Document = {"label": label}
        if found.get("alert"):
            change["alert.status"] = str(AlertStatus.CLOSED)
        self._db["transactions"].update_one(
            {"_id": verdict.transaction_id, "version": verdict.expected_version},
            {"$set": change, "$inc": {"version": 1}},
            session=session,
        )
        entry = label_entry(found, label, note=verdict.note) | {"labelled_by_subject": verdict.actor.subject}
        self._db["labels"].insert_one(entry, session=session)
        actor = {"subject": verdict.actor.subject, "name": verdict.actor.name, "role": str(verdict.actor.role)}
        self._db["case_events"].insert_one(
            {
                "_id": verdict.label_id,
                "transaction_id": verdict.transaction_id,
                "at": verdict.decided_at,
                "actor": actor,
                "kind": "decided",
                "detail": {"value": str(verdict.value), "note": verdict.note},
            },
            session=session,
        )
        before = (found.get("label") or {}).get("value")
        self._db["audit"].insert_one(
            audit_entry(
                at=verdict.decided_at,
                actor=verdict.actor,
                action="decide",
                object_id=verdict.transaction_id,
                before={"label": before},
                after={"label": str(verdict.value)},
            ),
            session=session,
        )

    def _repeat_or_conflict(self, found: Document, verdict: Verdict, session: ClientSession) -> Decided | Changed:
        mine = self._db["labels"].find_one({"_id": verdict.label_id}, session=session)
        if mine and mine["value"] == verdict.value and mine.get("labelled_by_subject") == verdict.actor.subject:
            return Decided(verdict.label_id, verdict.expected_version + 1)
        label = found.get("label")
        if label:
            return Changed(label["labelled_by"], f"decided {label['value']}", label["labelled_at"])
        scored_at = found.get("score", {}).get("scored_at")
        return Changed(None, "scored this transaction again" if scored_at else "changed this transaction", scored_at)
