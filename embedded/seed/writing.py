"""Bulk writes of history that can be repeated: documents that are there already are left as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pymongo import WriteConcern
from pymongo.errors import BulkWriteError

from embedded.simulator.history import History
from services.adapters.mongo.client import Db

_DUPLICATE_KEY = 11000
BATCH = 4_000


def insert_new(db: Db, collection: str, documents: Sequence[dict[str, Any]]) -> int:
    """Insert what is not there yet; returns how many were new."""
    if not documents:
        return 0
    target = db[collection].with_options(write_concern=WriteConcern(w="majority"))
    try:
        return len(target.insert_many(documents, ordered=False).inserted_ids)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
            raise
        return int(error.details["nInserted"])


def labelled(document: dict[str, Any], entry: dict[str, Any]) -> None:
    """Put the verdict of a `labels` entry on its transaction, in place: the latest word counts."""
    document["label"] = {
        "value": entry["value"],
        "source": entry["source"],
        "labelled_at": entry["labelled_at"],
        "labelled_by": entry["labelled_by"],
        "label_id": entry["_id"],
    }
    document["version"] += 1


def report_event(entry: dict[str, Any]) -> dict[str, Any]:
    """The timeline entry of a chargeback or a customer's report, as the front door writes it."""
    source = entry["source"]
    return {
        "_id": entry["_id"],
        "transaction_id": entry["transaction_id"],
        "at": entry["labelled_at"],
        "actor": {"subject": source, "name": source, "role": "external"},
        "kind": "chargeback" if source == "chargeback" else "customer_report",
        "detail": {"value": entry["value"]},
    }


def write_unscored(db: Db, history: History, last: int, *, on_rows: Callable[[int], None]) -> int:
    """Rows [0, last) as they stand at the end of the history: never scored, labelled by the reports that have arrived.

    Labels go first, so that whoever has seen all of these transactions downstream has seen their labels too. Returns
    the number of labels. `on_rows` hears how many rows are written.
    """
    known: dict[int, dict[str, Any]] = {
        row: entry for row, entry in history.label_events(known_by=history.until) if row < last
    }
    entries = list(known.values())
    insert_new(db, "labels", entries)
    insert_new(db, "case_events", [report_event(entry) for entry in entries])
    for first in range(0, last, BATCH):
        documents = history.documents(first, min(first + BATCH, last))
        for row, document in enumerate(documents, start=first):
            if row in known:
                labelled(document, known[row])
        insert_new(db, "transactions", documents)
        on_rows(first + len(documents))
    return len(entries)
