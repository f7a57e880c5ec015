"""The managers' counts, summed by MongoDB over the newest-first index."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.adapters.mongo.client import Db, translated
from services.domain.kpi import KpiCounts
from services.kpis import Backlog

_MAX_TIME_MS = 10_000
_FRAUD = {"$eq": ["$label.value", "fraud"]}
_ALERTED = {"$in": ["$score.decision", ["review", "decline"]]}
_PREVENTED = {
    "$and": [
        _FRAUD,
        {
            "$or": [
                {"$eq": ["$score.decision", "decline"]},
                {"$and": [{"$eq": ["$score.decision", "review"]}, {"$eq": ["$label.source", "analyst"]}]},
            ]
        },
    ]
}


def _count(condition: Any) -> dict[str, Any]:
    return {"$sum": {"$cond": [condition, 1, 0]}}


def _amount(condition: Any) -> dict[str, Any]:
    return {"$sum": {"$cond": [condition, "$amount_minor", 0]}}


class MongoKpiStore:
    """Satisfies `services.kpis.KpiStore`."""

    def __init__(self, db: Db) -> None:
        self._transactions = db["transactions"]

    def counts(self, start: datetime, end: datetime, *, matured_before: datetime) -> KpiCounts:
        labelled = {"$ifNull": ["$label.value", False]}
        group: dict[str, Any] = {
            "_id": None,
            "transactions": {"$sum": 1},
            "amount_minor": {"$sum": "$amount_minor"},
            "scored": _count({"$gte": ["$score.value", 0]}),
            "alerts": _count(_ALERTED),
            "fraud": _count(_FRAUD),
            "fraud_amount_minor": _amount(_FRAUD),
            "decided": _count({"$and": [_ALERTED, {"$in": ["$label.value", ["fraud", "genuine"]]}]}),
            "confirmed": _count({"$and": [_ALERTED, _FRAUD]}),
            "prevented_loss_minor": _amount(_PREVENTED),
            "matured": _count({"$or": [labelled, {"$lt": ["$event_time", matured_before]}]}),
        }
        fields = {
            "_id": 0,
            "event_time": 1,
            "amount_minor": 1,
            "score.value": 1,
            "score.decision": 1,
            "label.value": 1,
            "label.source": 1,
        }
        pipeline: list[dict[str, Any]] = [
            {"$match": {"event_time": {"$gte": start, "$lt": end}}},
            {"$project": fields},
            {"$group": group},
        ]
        with translated():
            found = list(self._transactions.aggregate(pipeline, maxTimeMS=_MAX_TIME_MS))
        if not found:
            return KpiCounts()
        del found[0]["_id"]
        return KpiCounts(**found[0])

    def backlog(self, *, now: datetime) -> Backlog:
        group = {
            "_id": None,
            "open": {"$sum": 1},
            "overdue": _count({"$lt": ["$alert.due_at", now]}),
            "oldest_opened_at": {"$min": "$alert.opened_at"},
            "value_at_risk_minor": {"$sum": "$alert.value_at_risk_minor"},
        }
        with translated():
            found = list(
                self._transactions.aggregate(
                    [{"$match": {"alert.status": "open"}}, {"$group": group}], maxTimeMS=_MAX_TIME_MS
                )
            )
        if not found:
            return Backlog(0, 0, None, 0)
        del found[0]["_id"]
        return Backlog(**found[0])
