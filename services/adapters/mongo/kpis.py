"""The managers' counts, summed by MongoDB over the newest-first index."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.adapters.mongo.client import Db, Document, translated
from services.domain.kpi import CurrencySums, KpiCounts, Sum
from services.kpis import Backlog

_MAX_TIME_MS = 10_000
BY_CURRENCY = {"currency": "$currency", "exponent": "$exponent"}
_AMOUNTS = ("transactions", "amount_minor", "fraud_amount_minor", "prevented_loss_minor")
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
            "_id": BY_CURRENCY,
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
            "currency": 1,
            "exponent": 1,
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
        found.sort(key=lambda one: (-one["transactions"], one["_id"]["currency"]))
        apart = tuple(CurrencySums(**one["_id"], **{name: one[name] for name in _AMOUNTS}) for one in found)
        names = group.keys() - {"_id"}
        return KpiCounts(**{name: sum(one[name] for one in found) for name in names}, by_currency=apart)

    def backlog(self, *, now: datetime) -> Backlog:
        group = {
            "_id": BY_CURRENCY,
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
        at_risk = sums(found, "value_at_risk_minor", "open")
        return Backlog(
            open=sum(one["open"] for one in found),
            overdue=sum(one["overdue"] for one in found),
            oldest_opened_at=min((one["oldest_opened_at"] for one in found), default=None),
            value_at_risk_minor=sum(part.amount_minor for part in at_risk),
            at_risk=at_risk,
        )


def sums(found: Iterable[Document], amount: str, payments: str) -> tuple[Sum, ...]:
    """Of groups BY_CURRENCY; the currency of most payments first."""
    made = [Sum(one["_id"]["currency"], one["_id"]["exponent"], one[amount], one[payments]) for one in found]
    return tuple(sorted(made, key=lambda part: (-part.payments, part.currency)))
