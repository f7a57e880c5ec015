"""Imports in MongoDB: their places (`imports`), and bulk writes that can be repeated."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError

from services.adapters.mongo.client import Db, translated
from services.adapters.mongo.intake import label_entry
from services.adapters.mongo.workers import MongoStatusStore
from services.domain.states import LabelValue
from services.errors import Conflict
from services.importing_state import Import, ImportState, Stored, as_document, from_document
from services.worker_status import WorkerState, utc_now

_DUPLICATE_KEY = 11000


class MongoImports:
    """Satisfies `services.importing.ImportStore`."""

    def __init__(self, db: Db) -> None:
        self._imports = db["imports"]
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

    def latest(self, limit: int) -> tuple[Import, ...]:
        with translated():
            return tuple(from_document(found) for found in self._imports.find().sort("started_at", -1).limit(limit))

    def insert(self, documents: Sequence[dict[str, Any]]) -> dict[str, Stored]:
        known = self._insert(self._transactions, documents)
        if not known:
            return {}
        wanted = {document["_id"]: document for document in documents if document["_id"] in known}
        fields = {"amount_minor": 1, "event_time": 1, "customer_id": 1, "imported": 1}
        with translated():
            found = list(self._transactions.find({"_id": {"$in": list(wanted)}}, fields))
        return {stored["_id"]: _stored(stored, wanted[stored["_id"]]) for stored in found}

    def add_labels(self, documents: Sequence[dict[str, Any]], *, known: Container[str]) -> int:
        entries = []
        for document in documents:
            entry = label_entry(document, document["label"], note="") | {"imported": document["imported"]}
            # A genuine verdict that comes with its new transaction changes no entity's state: the scorer passes it by.
            if document["_id"] not in known and entry["value"] == LabelValue.GENUINE:
                entry["no_news"] = True
            entries.append(entry)
        there = self._insert(self._labels, entries)
        self._label_known([document for document in documents if document["_id"] in known])
        if not there:
            return len(entries)
        by_id = {entry["_id"]: entry for entry in entries if entry["_id"] in there}
        with translated():
            stored = self._labels.find({"_id": {"$in": list(by_id)}}, {"imported": 1})
            ours = sum(label.get("imported") == by_id[label["_id"]]["imported"] for label in stored)
        return len(entries) - len(there) + ours

    def _label_known(self, documents: Sequence[dict[str, Any]]) -> None:
        """The latest word counts: a verdict given later than the imported one stays."""
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

    def _insert(self, collection: Any, documents: Sequence[dict[str, Any]]) -> set[str]:
        """The ids that were there already."""
        if not documents:
            return set()
        with translated():
            try:
                collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                    raise
                return {failure["keyValue"]["_id"] for failure in failures}
        return set()

    def scorer_lag(self) -> float | None:
        status = self._workers.get("scorer")
        running = status is not None and status.state is WorkerState.RUNNING and not status.is_down(utc_now())
        return status.lag_seconds if status is not None and running else None


def _stored(found: dict[str, Any], wanted: dict[str, Any]) -> Stored:
    imported = found.get("imported") or {}
    same = all(found[field] == wanted[field] for field in ("amount_minor", "event_time", "customer_id"))
    return Stored(imported.get("id"), imported.get("row"), same)
