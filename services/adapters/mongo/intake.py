"""Transactions and fraud reports arriving in MongoDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.adapters.mongo.client import Db, in_transaction, translated
from services.domain.states import LabelValue
from services.intake import FraudReport

_DUPLICATE_KEY = 11000
# What a `labels` entry copies from its transaction, so that readers of labels need no second look.
LABEL_FIELDS = {
    "customer_id": 1,
    "merchant.id": 1,
    "terminal_id": 1,
    "device.id": 1,
    "card.token": 1,
    "attributes": 1,
    "event_time": 1,
    "amount_minor": 1,
}


class MongoIntakeStore:
    """Satisfies `services.intake.IntakeStore`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def insert(self, documents: Sequence[dict[str, Any]]) -> set[str]:
        """Each document is one atomic insert; a duplicate id leaves what is stored untouched."""
        with translated():
            try:
                self._db["transactions"].insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                    raise
                return {failure["keyValue"]["_id"] for failure in failures}
        return set()

    def same(self, documents: Sequence[dict[str, Any]]) -> set[str]:
        wanted = {document["_id"]: document for document in documents}
        fields = {"amount_minor": 1, "event_time": 1, "customer_id": 1}
        with translated():
            stored = list(self._db["transactions"].find({"_id": {"$in": list(wanted)}}, fields))
        return {s["_id"] for s in stored if all(s[f] == wanted[s["_id"]][f] for f in fields)}

    def record_report(self, report: FraudReport) -> str:
        label_id = f"{report.transaction_id}:{report.source}"

        def work(session: ClientSession) -> str:
            transaction = self._db["transactions"].find_one(
                {"_id": report.transaction_id},
                LABEL_FIELDS | {"label": 1},
                session=session,
            )
            if transaction is None:
                return "unknown"
            if self._db["labels"].find_one({"_id": label_id}, {"_id": 1}, session=session):
                return "known"
            label = {
                "value": str(LabelValue.FRAUD),
                "source": str(report.source),
                "labelled_at": report.reported_at,
                "labelled_by": str(report.source),
                "label_id": label_id,
            }
            entry = label_entry(transaction, label, note="")
            self._db["labels"].insert_one(entry, session=session)
            current = transaction.get("label")
            # The latest word counts; an older report that arrives late does not override a newer verdict.
            if current is None or current["labelled_at"] <= report.reported_at:
                self._db["transactions"].update_one(
                    {"_id": report.transaction_id}, {"$set": {"label": label}, "$inc": {"version": 1}}, session=session
                )
            kind = "chargeback" if report.source == "chargeback" else "customer_report"
            self._db["case_events"].insert_one(
                {
                    "_id": label_id,
                    "transaction_id": report.transaction_id,
                    "at": report.reported_at,
                    "actor": {"subject": str(report.source), "name": str(report.source), "role": "external"},
                    "kind": kind,
                    "detail": {"value": str(LabelValue.FRAUD)},
                },
                session=session,
            )
            return "recorded"

        try:
            return in_transaction(self._db, work)
        except DuplicateKeyError:
            return "known"  # the same report was recorded by somebody else at the same moment


def label_entry(transaction: dict[str, Any], label: dict[str, Any], *, note: str) -> dict[str, Any]:
    """The append-only `labels` document for a transaction and its new label."""
    return {
        "_id": label["label_id"],
        "transaction_id": transaction["_id"],
        "customer_id": transaction.get("customer_id"),
        "merchant_id": transaction.get("merchant", {}).get("id"),
        "terminal_id": transaction.get("terminal_id"),
        "device_id": (transaction.get("device") or {}).get("id"),
        "card_token": (transaction.get("card") or {}).get("token"),
        "attributes": transaction.get("attributes", {}),
        "event_time": transaction["event_time"],
        "amount_minor": transaction["amount_minor"],
        "value": label["value"],
        "source": label["source"],
        "labelled_at": label["labelled_at"],
        "labelled_by": label["labelled_by"],
        "note": note,
    }
