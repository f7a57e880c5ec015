"""What only the simulator knows: which live transactions are fraud, and which reports are due (`simulator_truth`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from embedded.simulator.columns import Columns, Scenario
from embedded.simulator.labels import CHARGEBACK_SHARE, CUSTOMER_SHARE
from services.adapters.mongo.client import Db, translated

# Chargebacks of the history come a little faster than they would, so that somebody who looks for an hour sees some.
EARLY_A_MINUTE = 0.4
EARLY_AFTER = timedelta(days=20)
MAX_REPORTS = 3


def of(rows: Columns, documents: list[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
    """The truth about the frauds among `documents`, with how each will be reported: a customer within hours, the bank
    after 20-90 days, or nobody (source and due_at None)."""
    found = []
    for row in np.flatnonzero(rows.scenario != Scenario.GENUINE).tolist():
        document, draw = documents[row], rng.random()
        source: str | None = None
        due_at: datetime | None = None
        if draw < CUSTOMER_SHARE:
            source, due_at = "customer", document["event_time"] + timedelta(minutes=int(rng.integers(10, 240)))
        elif draw < CUSTOMER_SHARE + CHARGEBACK_SHARE:
            source, due_at = "chargeback", document["event_time"] + timedelta(days=20 + 70 * float(rng.beta(1.8, 3.2)))
        found.append(
            {
                "_id": document["_id"],
                "scenario": Scenario(int(rows.scenario[row])).name.lower(),
                "event_time": document["event_time"],
                "source": source,
                "due_at": due_at,
                "reported_at": None,
            }
        )
    return found


class DueReports:
    """Asks for reports now and then; at most MAX_REPORTS at a time."""

    def __init__(self, db: Db, rng: np.random.Generator) -> None:
        self._truth, self._rng = db["simulator_truth"], rng
        self._looked_at: datetime | None = None

    def take(self, now: datetime) -> list[dict[str, Any]]:
        """Reports to send now, in the front door's shape. Raises Unavailable."""
        if self._looked_at is None:
            self._looked_at = now
        minutes = (now - self._looked_at).total_seconds() / 60
        if minutes < 0.1:
            return []
        open_ = {"reported_at": None, "source": {"$ne": None}}
        early = int(self._rng.poisson(EARLY_A_MINUTE * min(minutes, 2.0)))
        with translated():
            due = list(self._truth.find(open_ | {"due_at": {"$lte": now}}).sort("due_at", 1).limit(MAX_REPORTS))
            if early and len(due) < MAX_REPORTS:
                old = open_ | {"due_at": {"$gt": now}, "event_time": {"$lte": now - EARLY_AFTER}}
                due += self._truth.find(old).sort("due_at", 1).limit(min(early, MAX_REPORTS - len(due)))
        self._looked_at = now
        return [
            {"transaction_id": entry["_id"], "value": "fraud", "source": entry["source"], "reported_at": now}
            for entry in due
        ]
