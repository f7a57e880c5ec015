"""Reading `transactions` for the screens. Every query here is served by an index of `schema`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.collection import Collection

from services.adapters.mongo.client import Db, Document, translated
from services.adapters.mongo.documents import ROW_FIELDS, queue_row, transaction
from services.adapters.mongo.kpis import BY_CURRENCY, sums
from services.domain.kpi import Sum
from services.domain.own_columns import OwnColumn, as_text
from services.health import StoreFigures
from services.transactions import (
    CustomerProfile,
    Facets,
    QueueFilter,
    QueueRow,
    QueueView,
    Sort,
    Transaction,
)
from services.worker_status import utc_now

_ORDER = {
    Sort.RISK: ("score.value", -1),
    Sort.NEWEST: ("event_time", -1),
    Sort.VALUE: ("amount_minor", -1),
    Sort.DUE: ("alert.due_at", 1),
}
_MAX_TIME_MS = 2500
_FACETS = ("channels", "categories", "countries")
# A category with more values is no choice of a few; it is found by its entity or looked up in fraud rates.
_FEW_VALUES = 40
_FLAGS = {"yes": True, "no": False}
_UNSCORED_AFTER = timedelta(seconds=10)
_UNSCORED_WINDOW = timedelta(days=1)


class MongoTransactionStore:
    """Satisfies `services.transactions.TransactionStore`."""

    def __init__(self, db: Db, own: Sequence[OwnColumn] = ()) -> None:
        """`own`: what rows tell besides, where the data are somebody's own."""
        self._db, self._own = db, own
        self._transactions = db["transactions"]
        self._fields = ROW_FIELDS | {column.path: 1 for column in own}

    def _query(self, filters: QueueFilter) -> Document:
        named = (column.path for column in self._own if column.entity)
        query = _query(filters, tuple(dict.fromkeys(("_id", "customer_id", "merchant.id", *named))))
        accepted = dict(filters.own)
        for column in self._own:
            if values := accepted.get(column.key):
                query[column.path] = {"$in": [*values, *(_FLAGS[value] for value in values if value in _FLAGS)]}
        return query

    def now(self) -> datetime:
        return utc_now()

    def page(self, filters: QueueFilter, *, sort: Sort, after: tuple[Any, str] | None, limit: int) -> list[QueueRow]:
        query = self._query(filters)
        name, direction = _ORDER[sort]
        if sort is Sort.RISK and filters.view is not QueueView.OPEN_ALERTS:
            query.setdefault("score.value", {"$gte": 0})  # the unscored have no place in an order by risk
        if after is not None:
            _start_after(query, name, direction, sort, after)
        with translated():
            found = (
                self._transactions.find(query, self._fields)
                .sort([(name, direction), ("_id", direction)])
                .limit(limit)
                .max_time_ms(_MAX_TIME_MS)
            )
            return [queue_row(document, self._own) for document in found]

    def matching(self, filters: QueueFilter, *, cap: int) -> int:
        with translated():
            return self._transactions.count_documents(self._query(filters), limit=cap, maxTimeMS=_MAX_TIME_MS)

    def desk_counts(self) -> tuple[int, int, int, int, tuple[Sum, ...]]:
        now = utc_now()
        with translated():
            alerts = list(
                self._transactions.aggregate(
                    [
                        {"$match": {"alert.status": "open"}},
                        {
                            "$group": {
                                "_id": BY_CURRENCY,
                                "open": {"$sum": 1},
                                "value": {"$sum": "$alert.value_at_risk_minor"},
                                "overdue": {"$sum": {"$cond": [{"$lt": ["$alert.due_at", now]}, 1, 0]}},
                            }
                        },
                    ],
                    maxTimeMS=_MAX_TIME_MS,
                )
            )
            unscored = count_unscored(self._transactions, now)
        opened, value, overdue = (sum(one[name] for one in alerts) for name in ("open", "value", "overdue"))
        return opened, value, overdue, unscored, sums(alerts, "value", "open")

    def newer(self, filters: QueueFilter, *, since: datetime, cap: int) -> int:
        query = self._query(filters)
        moment = "alert.opened_at" if filters.view is QueueView.OPEN_ALERTS else "received_at"
        query[moment] = {"$gt": since}
        # Whatever arrives is scored within seconds; the bound lets the newest-first index end the search early.
        query.setdefault("event_time", {"$gte": since - timedelta(hours=1)})
        with translated():
            return self._transactions.count_documents(query, limit=cap, maxTimeMS=_MAX_TIME_MS)

    def facets(self) -> Facets:
        """Values seen in the last 20,000 transactions."""
        own = [column for column in self._own if not column.entity]
        with translated():
            found = list(
                self._transactions.aggregate(
                    [
                        {"$sort": {"event_time": -1, "_id": -1}},
                        {"$limit": 20_000},
                        {
                            "$group": {
                                "_id": None,
                                "channels": {"$addToSet": "$channel"},
                                "categories": {"$addToSet": "$merchant.category"},
                                "countries": {"$addToSet": "$merchant.country"},
                            }
                            | {f"own_{column.key}": {"$addToSet": f"${column.path}"} for column in own}
                        },
                    ],
                    maxTimeMS=_MAX_TIME_MS,
                )
            )
        if not found:
            return Facets((), (), ())
        known = {key: sorted(value for value in found[0][key] if value is not None) for key in _FACETS}
        told = {
            column.key: tuple(sorted({text for value in found[0][f"own_{column.key}"] if (text := as_text(value))}))
            for column in own
        }
        few = tuple((key, values) for key, values in told.items() if 0 < len(values) <= _FEW_VALUES)
        channels, categories, countries = (tuple(known[key]) for key in _FACETS)
        return Facets(channels, categories, countries, few)

    def get(self, transaction_id: str) -> Transaction | None:
        with translated():
            document = self._transactions.find_one({"_id": transaction_id})
            if document is None:
                return None
            events = list(
                self._db["case_events"]
                .find({"transaction_id": transaction_id})
                .sort([("at", 1), ("_id", 1)])
                .limit(500)
            )
            labels = list(
                self._db["labels"]
                .find({"transaction_id": transaction_id})
                .sort([("labelled_at", 1), ("_id", 1)])
                .limit(500)
            )
        return transaction(document, events, labels)

    def customer_history(self, customer_id: str, *, until: datetime, limit: int) -> list[QueueRow]:
        query = {"customer_id": customer_id, "event_time": {"$lte": until}}
        with translated():
            found = self._transactions.find(query, self._fields).sort("event_time", -1).limit(limit)
            return [queue_row(document, self._own) for document in found.max_time_ms(_MAX_TIME_MS)]

    def customer_profile(self, customer_id: str, *, currency: str, now: datetime) -> CustomerProfile:
        amount = {"$cond": [{"$eq": ["$currency", currency]}, "$amount_minor", None]}
        recent = {"customer_id": customer_id, "event_time": {"$gte": now - timedelta(days=90)}}
        with translated():
            first = self._transactions.find_one(
                {"customer_id": customer_id}, {"event_time": 1}, sort=[("event_time", 1)]
            )
            found = list(
                self._transactions.aggregate(
                    [
                        {"$match": recent},
                        {
                            "$group": {
                                "_id": None,
                                "transactions": {"$sum": 1},
                                "mean": {"$avg": amount},
                                "maximum": {"$max": amount},
                                "countries": {"$addToSet": "$merchant.country"},
                                "devices": {"$addToSet": "$device.id"},
                                "fraud": {"$sum": {"$cond": [{"$eq": ["$label.value", "fraud"]}, 1, 0]}},
                            }
                        },
                    ],
                    maxTimeMS=_MAX_TIME_MS,
                )
            )
        if not found:
            return CustomerProfile(first["event_time"] if first else None, 0, None, None, (), 0, 0)
        total: Document = found[0]
        return CustomerProfile(
            first_seen=first["event_time"] if first else None,
            transactions_90d=total["transactions"],
            mean_amount_minor=total["mean"],
            max_amount_minor=total["maximum"],
            countries=tuple(sorted(country for country in total["countries"] if country is not None)),
            devices=len(total["devices"]),
            fraud_labels=total["fraud"],
        )


def _query(filters: QueueFilter, keys: Sequence[str]) -> Document:
    """`keys`: the fields whose ids a search finds."""
    query: Document = {}
    if filters.view is QueueView.OPEN_ALERTS:
        query["alert.status"] = "open"
    elif filters.view is QueueView.DECIDED:
        query["label.value"] = {"$exists": True}
        query["label.source"] = "analyst"
    for name, values in (
        ("channel", filters.channels),
        ("merchant.category", filters.categories),
        ("merchant.country", filters.countries),
        ("score.decision", filters.decisions),
    ):
        if values:
            query[name] = {"$in": list(values)}
    amount = {"$gte": filters.min_amount_minor, "$lte": filters.max_amount_minor}
    if bounds := {operator: value for operator, value in amount.items() if value is not None}:
        query["amount_minor"] = bounds
    period = {"$gte": filters.since, "$lt": filters.until}
    if within := {operator: moment for operator, moment in period.items() if moment is not None}:
        query["event_time"] = within
    if filters.before_or_at is not None:
        moment = "alert.opened_at" if filters.view is QueueView.OPEN_ALERTS else "received_at"
        query[moment] = {"$lte": filters.before_or_at}
    if filters.search:
        if len(filters.search) == 4 and filters.search.isdigit():
            query["card.last4"] = filters.search
        else:
            query["$or"] = [{key: filters.search} for key in keys]
    return query


def _start_after(query: Document, name: str, direction: int, sort: Sort, after: tuple[Any, str]) -> None:
    value, identifier = after
    if sort in (Sort.NEWEST, Sort.DUE) and value is not None:
        value = datetime.fromtimestamp(value / 1000, UTC)
    beyond, reached = ("$lt", "$lte") if direction < 0 else ("$gt", "$gte")
    # The outer bound lets the index start at the right place; the inner one settles ties by id.
    query["$and"] = [
        {name: {reached: value}},
        {"$or": [{name: {beyond: value}}, {name: value, "_id": {beyond: identifier}}]},
    ]


class MongoStoreProbe:
    """Satisfies `services.health.StoreProbe`."""

    def __init__(self, db: Db) -> None:
        self._transactions = db["transactions"]

    def figures(self) -> StoreFigures:
        now = utc_now()
        with translated():
            total = self._transactions.estimated_document_count(maxTimeMS=_MAX_TIME_MS)
            newest = self._transactions.find_one({}, {"received_at": 1}, sort=[("event_time", -1), ("_id", -1)])
            unscored = count_unscored(self._transactions, now)
        return StoreFigures(total, newest["received_at"] if newest else None, unscored)


def count_unscored(transactions: Collection[Document], now: datetime) -> int:
    """Transactions of the last day that arrived over 10 s ago and have no score, at most 100,000. Imported history is
    never scored and waits for none."""
    period = {"$gte": now - _UNSCORED_WINDOW, "$lt": now - _UNSCORED_AFTER}
    return transactions.count_documents(
        {"score.scored_at": None, "history": None, "received_at": period},
        limit=100_000,
        maxTimeMS=_MAX_TIME_MS,
    )
