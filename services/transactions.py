"""Reading transactions: the queue's pages, one transaction with everything known, and a customer's history.

All reads are bounded: pages by keyset (never by offset), counts by a cap, histories by a limit.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from services.domain.kpi import Sum
from services.domain.mapping_parts import Mapping
from services.domain.states import AlertStatus, Decision, LabelSource, LabelValue
from services.domain.transaction_rules import MAX_AMOUNT_MINOR
from services.errors import InvalidData, NotFound
from services.features import Reason as Reason
from services.transaction_record import Alert as Alert
from services.transaction_record import CaseEvent as CaseEvent
from services.transaction_record import CustomerProfile as CustomerProfile
from services.transaction_record import Label as Label
from services.transaction_record import LabelEntry as LabelEntry
from services.transaction_record import Score as Score
from services.transaction_record import ScoringFailure as ScoringFailure
from services.transaction_record import Transaction as Transaction

MAX_PAGE = 500
COUNT_CAP = 10_000
_LONGEST_CURSOR = 300
# Of all values that pages are ordered by, times reach furthest: no moment lies beyond the year 3000.
_LATEST_MS = 32_503_680_000_000


class QueueView(StrEnum):
    OPEN_ALERTS = "open"
    ALL = "all"
    DECIDED = "decided"


class Sort(StrEnum):
    """Orders of the queue. Ties are broken by transaction id, so that pages never overlap or skip."""

    RISK = "risk"  # score, highest first
    NEWEST = "newest"  # event time, latest first
    VALUE = "value"  # amount, highest first
    DUE = "due"  # SLA due time, earliest first; open alerts only


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """What to show. Empty means no restriction. Amounts are minor units, both bounds inclusive; `since` is inclusive,
    `until` exclusive, on event time. `search` is a transaction id, a customer id, a merchant id or a card's last 4.
    `before_or_at` hides what arrived (all) or was alerted (open) after that moment, so that a view can stand still."""

    view: QueueView = QueueView.OPEN_ALERTS
    search: str = ""
    channels: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    min_amount_minor: int | None = None
    max_amount_minor: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_or_at: datetime | None = None
    # (key of a category of services.domain.own_columns, accepted values): of data of one's own.
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class QueueRow:
    transaction_id: str
    event_time: datetime
    received_at: datetime
    amount_minor: int
    currency: str
    exponent: int
    customer_id: str
    # None where the source has no such thing (data of one's own); a merchant without a name goes by its id.
    card_last4: str | None
    merchant_name: str | None
    category: str | None
    country: str | None
    channel: str | None
    entry_mode: str | None
    score: float | None
    decision: Decision | None
    top_reason: str | None
    alert_status: AlertStatus | None
    opened_at: datetime | None
    due_at: datetime | None
    label: LabelValue | None
    label_source: LabelSource | None
    model_version: str | None
    version: int
    # (key, value) of `services.domain.own_columns` that the payment has; empty for the demo's data.
    own: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class QueuePage:
    rows: tuple[QueueRow, ...]
    next_cursor: str | None
    read_at: datetime


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """`matching` is capped at COUNT_CAP; the rest speak of the whole desk, whatever the filter."""

    matching: int
    open_alerts: int
    value_at_risk_minor: int
    overdue: int
    unscored: int
    # The value at risk by currency, that of most alerts first; with more than one their sum means nothing.
    at_risk: tuple[Sum, ...] = ()


@dataclass(frozen=True, slots=True)
class Facets:
    channels: tuple[str, ...]
    categories: tuple[str, ...]
    countries: tuple[str, ...]
    # (key, values) of the categories of data of one's own that have few values.
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()


class TransactionStore(Protocol):
    def page(
        self, filters: QueueFilter, *, sort: Sort, after: tuple[Any, str] | None, limit: int
    ) -> list[QueueRow]: ...

    def matching(self, filters: QueueFilter, *, cap: int) -> int: ...

    def desk_counts(self) -> tuple[int, int, int, int, tuple[Sum, ...]]:
        """(open alerts, value at risk in minor units, overdue, unscored and older than 10 s, value by currency)."""
        ...

    def newer(self, filters: QueueFilter, *, since: datetime, cap: int) -> int: ...

    def facets(self) -> Facets: ...

    def get(self, transaction_id: str) -> Transaction | None: ...

    def customer_history(self, customer_id: str, *, until: datetime, limit: int) -> list[QueueRow]: ...

    def customer_profile(self, customer_id: str, *, currency: str, now: datetime) -> CustomerProfile: ...

    def now(self) -> datetime: ...


_SEARCH = re.compile(r"[A-Za-z0-9_.:-]{0,64}")


class Transactions:
    def __init__(self, store: TransactionStore, mapping: Mapping | None = None) -> None:
        """`mapping`: what the payments are, where they are somebody's own data."""
        self._store, self.mapping = store, mapping

    def page(self, filters: QueueFilter, *, sort: Sort, cursor: str | None = None, limit: int = 100) -> QueuePage:
        """One page after `cursor` (None: the first). Raises InvalidData for a filter or cursor the desk never made."""
        _check(filters, sort)
        limit = max(1, min(limit, MAX_PAGE))
        rows = self._store.page(filters, sort=sort, after=decode_cursor(cursor, sort), limit=limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        return QueuePage(tuple(rows), encode_cursor(rows[-1], sort) if more else None, self._store.now())

    def counts(self, filters: QueueFilter) -> QueueCounts:
        _check(filters, Sort.NEWEST)
        return QueueCounts(self._store.matching(filters, cap=COUNT_CAP), *self._store.desk_counts())

    def newer(self, filters: QueueFilter, *, since: datetime) -> int:
        """How many rows matching the filter came after `since`, at most 999."""
        _check(filters, Sort.NEWEST)
        return self._store.newer(filters, since=since, cap=999)

    def facets(self) -> Facets:
        return self._store.facets()

    def get(self, transaction_id: str) -> Transaction:
        found = self._store.get(transaction_id) if _SEARCH.fullmatch(transaction_id) else None
        if found is None:
            raise NotFound("There is no transaction with this id; it may have been mistyped.")
        return found

    def customer_history(self, customer_id: str, *, until: datetime, limit: int = 50) -> tuple[QueueRow, ...]:
        """The customer's transactions with event time <= `until`, latest first."""
        return tuple(self._store.customer_history(customer_id, until=until, limit=min(limit, MAX_PAGE)))

    def customer_profile(self, customer_id: str, *, currency: str) -> CustomerProfile:
        """Its amounts are those of the customer's payments in this currency."""
        return self._store.customer_profile(customer_id, currency=currency, now=self._store.now())


def _check(filters: QueueFilter, sort: Sort) -> None:
    if not _SEARCH.fullmatch(filters.search):
        raise InvalidData(
            "Invalid filter: search for a transaction, customer or merchant id, or a card's last 4 digits."
        )
    if sort is Sort.DUE and filters.view is not QueueView.OPEN_ALERTS:
        raise InvalidData("Only open alerts have a due time; choose another order.")
    own = [values for _, values in filters.own]
    for values in (filters.channels, filters.categories, filters.countries, filters.decisions, *own):
        if len(values) > 100 or any(not isinstance(v, str) or len(v) > 100 for v in values):
            raise InvalidData("Invalid filter: too many or too long values.")
    for bound in (filters.min_amount_minor, filters.max_amount_minor):
        if bound is not None and not 0 <= bound <= MAX_AMOUNT_MINOR:
            raise InvalidData(f"Invalid filter: amounts lie between 0 and {MAX_AMOUNT_MINOR:,} minor units.")


def sort_value(row: QueueRow, sort: Sort) -> Any:
    """The value a page is ordered by: float, int, or milliseconds since 1970."""
    if sort is Sort.RISK:
        return row.score
    if sort is Sort.VALUE:
        return row.amount_minor
    moment = row.due_at if sort is Sort.DUE else row.event_time
    return round(moment.timestamp() * 1000) if moment else None


def encode_cursor(row: QueueRow, sort: Sort) -> str:
    text = json.dumps([str(sort), sort_value(row, sort), row.transaction_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, sort: Sort) -> tuple[Any, str] | None:
    """The (sort value, id) a page starts after. A cursor of another order starts from the top: the order changed."""
    if not cursor:
        return None
    damaged = InvalidData("This page link is damaged; start again from the first page.")
    if len(cursor) > _LONGEST_CURSOR:
        raise damaged
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        order, value, identifier = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, binascii.Error, UnicodeError, TypeError) as error:
        raise damaged from error
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LATEST_MS
    if not isinstance(identifier, str) or not _SEARCH.fullmatch(identifier) or not (number or value is None):
        raise damaged
    return (value, identifier) if order == sort else None
