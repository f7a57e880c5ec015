"""Scores of a file written onto stored transactions, together with the place after them (`score_writes`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from services.adapters.mongo.client import Db, Document, in_transaction, translated
from services.adapters.mongo.scored import alert_fields
from services.adapters.mongo.scoring_feed import opened_event
from services.domain.states import Decision
from services.errors import Conflict
from services.scoring_runs_write_back import Fate, FileScore, Written, as_document, fate, from_document, told

_READ = {"amount_minor": 1, "event_time": 1, "customer_id": 1, "score.scored_at": 1, "label.value": 1, "alert": 1}


class MongoFileScores:
    """Satisfies `services.scoring_runs_write_back.WrittenStore`."""

    def __init__(self, db: Db) -> None:
        self._db, self._places = db, db["score_writes"]

    def get(self, run_id: str) -> Written | None:
        with translated():
            found = self._places.find_one({"_id": run_id})
        return from_document(found) if found else None

    def take(self, written: Written, *, former: Written | None) -> None:
        with translated():
            if former is None:
                try:
                    self._places.insert_one(as_document(written))
                except DuplicateKeyError as error:
                    raise Conflict("Somebody began at the same moment; it is under way.") from error
                return
            seen = {"_id": former.run_id, "owner": former.owner, "heard_at": former.heard_at}
            if not self._places.replace_one(seen, as_document(written)).matched_count:
                raise Conflict("Somebody took this up at the same moment; look again.")

    def commit(self, written: Written) -> None:
        with translated():
            self._save(written, None)

    def write(self, written: Written, scores: Sequence[FileScore], *, at: datetime) -> Written:
        def work(session: ClientSession) -> Written:
            return self._written(written, scores, at, session)

        return in_transaction(self._db, work)

    def _written(self, written: Written, scores: Sequence[FileScore], at: datetime, session: ClientSession) -> Written:
        ids = [one.transaction_id for one in scores]
        found = self._db["transactions"].find({"_id": {"$in": ids}}, _READ, session=session)
        stored: dict[str, Document] = {document["_id"]: document for document in found}
        changes, events, fates = [], [], []
        for one in scores:
            document = stored.get(one.transaction_id)
            fates.append(fate(one, document))
            if document is None or fates[-1] is not Fate.WRITTEN:
                continue
            change = {"score": one.score, **_alert(one, document, at)}
            changes.append(UpdateOne({"_id": one.transaction_id}, {"$set": change, "$inc": {"version": 1}}))
            if "alert" in change:
                events.append(_opened(one, at))
            document["score"] = one.score  # a file may name a transaction twice
            document["alert"] = change.get("alert", document.get("alert"))
        if changes:
            self._db["transactions"].bulk_write(changes, session=session)
        if events:
            self._db["case_events"].bulk_write(events, session=session)
        after = told(written, iter(fates), alerts=len(events))
        self._save(after, session)
        return after

    def _save(self, written: Written, session: ClientSession | None) -> None:
        mine = {"_id": written.run_id, "owner": written.owner}
        if not self._places.replace_one(mine, as_document(written), session=session).matched_count:
            raise Conflict("This was taken over or ended by a person; this process stops. Nothing is lost.")


def _alert(one: FileScore, document: Document, at: datetime) -> dict[str, Any]:
    """What becomes of the alert: opened, or an open one weighed anew."""
    value = one.score["value"]
    if document.get("alert"):
        return {"alert.priority": value * one.amount_minor}
    if one.score["decision"] == Decision.APPROVE:
        return {}
    return {"alert": alert_fields(value, one.amount_minor, opened_at=at)}


def _opened(one: FileScore, at: datetime) -> UpdateOne:
    event = opened_event(one.transaction_id, at, score=one.score["value"], model_version=one.score["model_version"])
    return UpdateOne({"_id": event.pop("_id")}, {"$setOnInsert": event}, upsert=True)
