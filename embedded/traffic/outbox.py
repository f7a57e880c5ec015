"""The batch under way and the next free number, in `positions` under `traffic`.

A batch is written down with its ids before it is first sent and taken off when the front door has answered. Whatever is
killed or lost in between, the same batch is sent again under the same ids, which the front door counts as known; and no
number is ever given out twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.adapters.mongo.client import Db, translated

NAME = "traffic"


@dataclass(frozen=True, slots=True)
class Batch:
    """Transactions and reports in the front door's shape, and the truth about the frauds among the transactions."""

    transactions: tuple[dict[str, Any], ...]
    reports: tuple[dict[str, Any], ...]
    truth: tuple[dict[str, Any], ...] = ()

    def payload(self) -> dict[str, Any]:
        return {"transactions": list(self.transactions), "reports": list(self.reports)}


class Outbox:
    """Every method raises Unavailable when MongoDB does not answer; repeating the call then is safe."""

    def __init__(self, db: Db) -> None:
        self._db = db
        self._next = 0

    def open(self) -> Batch | None:
        """Take up where the last run was: the batch it had not finished, if any."""
        with translated():
            found = self._db["positions"].find_one({"_id": NAME}) or {}
        self._next = found.get("next", 0)
        pending = found.get("pending")
        if pending is None:
            return None
        return Batch(tuple(pending["transactions"]), tuple(pending["reports"]), tuple(pending["truth"]))

    @property
    def next_number(self) -> int:
        return self._next

    def stage(self, batch: Batch) -> None:
        """Write the batch down and use up its numbers. Only then may it be sent."""
        after = self._next + len(batch.transactions)
        pending = {
            "transactions": list(batch.transactions),
            "reports": list(batch.reports),
            "truth": list(batch.truth),
        }
        with translated():
            self._db["positions"].update_one({"_id": NAME}, {"$set": {"next": after, "pending": pending}}, upsert=True)
        self._next = after

    def finish(self, batch: Batch, *, at: datetime) -> None:
        """The front door has answered: remember the truth, tick off the reports, and forget the batch."""
        with translated():
            truth = self._db["simulator_truth"]
            for entry in batch.truth:
                truth.update_one({"_id": entry["_id"]}, {"$setOnInsert": entry}, upsert=True)
            reported = [report["transaction_id"] for report in batch.reports]
            if reported:
                truth.update_many({"_id": {"$in": reported}}, {"$set": {"reported_at": at}})
            self._db["positions"].update_one({"_id": NAME}, {"$set": {"pending": None, "saved_at": at}})
