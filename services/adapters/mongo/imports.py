"""Imports in MongoDB: their places (`imports`), and bulk writes that can be repeated."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from services.adapters.mongo.client import Db, Document, in_transaction, translated
from services.adapters.mongo.experiments import write_audit
from services.adapters.mongo.intake import label_entry
from services.adapters.mongo.workers import MongoStatusStore
from services.audit import AuditEntry
from services.domain.states import LabelValue
from services.errors import Conflict
from services.importing_state import Import, ImportState, Stored, as_document, from_document
from services.worker_status import WorkerState, utc_now

_DUPLICATE_KEY = 11000


class MongoImports:
    """Satisfies `services.importing.ImportStore`."""

    def __init__(self, db: Db) -> None:
        self._db, self._imports = db, db["imports"]
        durable = WriteConcern(w="majority")
        self._transactions = db["transactions"].with_options(write_concern=durable)
        self._labels = db["labels"].with_options(write_concern=durable)
        self._workers = MongoStatusStore(db)

    def unfinished(self, fingerprint: str) -> Import | None:
        query = {"fingerprint": fingerprint, "state": {"$ne": str(ImportState.DONE)}}
        with translated():
            found = self._imports.find_one(query, sort=[("started_at", -1)])
        return from_document(found) if found else None

    def take(self, state: Import) -> None:
        document = as_document(state)
        with translated():
            self._imports.replace_one({"_id": document["_id"]}, document, upsert=True)

    def save(self, state: Import) -> None:
        document = as_document(state)
        with translated():
            saved = self._imports.replace_one({"_id": document["_id"], "owner": state.owner}, document)
        if not saved.matched_count:
            raise Conflict("Another run has taken this import over; this one stops. Nothing is lost.")

    def note(self, audit: AuditEntry) -> None:
        in_transaction(self._db, lambda session: write_audit(self._db, audit, session))

    def latest(self, limit: int) -> tuple[Import, ...]:
        with translated():
            return tuple(from_document(found) for found in self._imports.find().sort("started_at", -1).limit(limit))

    def insert(self, documents: Sequence[dict[str, Any]]) -> dict[str, Stored]:
        wanted = {document["_id"]: document for document in documents}
        fields = {"amount_minor": 1, "event_time": 1, "customer_id": 1, "imported": 1, "label.labelled_at": 1}
        there = self._insert(self._transactions, wanted, fields)
        return {key: _stored(found, wanted[key]) for key, found in there.items()}

    def add_labels(self, documents: Sequence[dict[str, Any]], *, known: Container[str], newer: Container[str]) -> int:
        entries = []
        for document in documents:
            entry = label_entry(document, document["label"], note="") | {"imported": document["imported"]}
            # A genuine verdict that comes with its new transaction changes no entity's state: the scorer passes it by.
            if document["_id"] not in known and entry["value"] == LabelValue.GENUINE:
                entry["no_news"] = True
            entries.append(entry)
        by_id = {entry["_id"]: entry for entry in entries}
        there = self._insert(self._labels, by_id, {"imported": 1})
        self._label_known([document for document in documents if document["_id"] in newer])
        others = sum(not _same_row(label, by_id[key]) for key, label in there.items())
        return len(entries) - others

    def _label_known(self, documents: Sequence[dict[str, Any]]) -> None:
        """Asked again by the filter: somebody may have decided in between."""
        updates = [
            UpdateOne(
                {
                    "_id": document["_id"],
                    "$or": [{"label": None}, {"label.labelled_at": {"$lt": document["label"]["labelled_at"]}}],
                },
                {"$set": {"label": document["label"]}, "$inc": {"version": 1}},
            )
            for document in documents
        ]
        if updates:
            with translated():
                self._transactions.bulk_write(updates, ordered=False)

    def _insert(
        self, collection: Collection[Document], wanted: Mapping[str, Document], fields: Mapping[str, int]
    ) -> dict[str, Document]:
        """Insert what is not there; return `fields` of what was. Asked first: refused inserts are slow."""
        with translated():
            there = {found["_id"]: found for found in collection.find({"_id": {"$in": list(wanted)}}, fields)}
            new = [document for key, document in wanted.items() if key not in there]
            try:
                if new:
                    collection.insert_many(new, ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                    raise
                # Somebody else sent them in between.
                late = [failure["keyValue"]["_id"] for failure in failures]
                there |= {found["_id"]: found for found in collection.find({"_id": {"$in": late}}, fields)}
        return there

    def scorer_lag(self) -> float | None:
        status = self._workers.get("scorer")
        running = status is not None and status.state is WorkerState.RUNNING and not status.is_down(utc_now())
        return status.lag_seconds if status is not None and running else None


def _same_row(one: Document, other: Document) -> bool:
    """From the same import and row."""
    mine, theirs = one.get("imported") or {}, other["imported"]
    return (mine.get("id"), mine.get("row")) == (theirs["id"], theirs["row"])


def _stored(found: dict[str, Any], wanted: dict[str, Any]) -> Stored:
    imported = found.get("imported") or {}
    same = all(found[field] == wanted[field] for field in ("amount_minor", "event_time", "customer_id"))
    return Stored(imported.get("id"), imported.get("row"), same, found.get("label", {}).get("labelled_at"))
