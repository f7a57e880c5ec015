"""Today and the last 30 days, each against the period before, and the backlog as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.domain.kpi import KpiCounts, KpiFigures, Sum, figures


@dataclass(frozen=True, slots=True)
class KpiPeriod:
    """`current` covers [start, end), `former` [former_start, former_end) of the same length."""

    start: datetime
    end: datetime
    former_start: datetime
    former_end: datetime
    current: KpiFigures
    former: KpiFigures


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open alerts now. `oldest_opened_at` is None when there are none."""

    open: int
    overdue: int
    oldest_opened_at: datetime | None
    value_at_risk_minor: int
    # The same by currency, that of most alerts first; with more than one the sum above means nothing.
    at_risk: tuple[Sum, ...] = ()


@dataclass(frozen=True, slots=True)
class KpiSummary:
    today: KpiPeriod
    last_30_days: KpiPeriod
    backlog: Backlog
    # Share of the last 30 days' transactions whose label is final: labelled, or older than 90 days.
    matured_share: float | None
    read_at: datetime


class KpiStore(Protocol):
    def counts(self, start: datetime, end: datetime, *, matured_before: datetime) -> KpiCounts: ...

    def backlog(self, *, now: datetime) -> Backlog: ...


MATURITY = timedelta(days=90)


class Kpis:
    def __init__(self, store: KpiStore) -> None:
        self._store = store

    def summary(self, *, now: datetime) -> KpiSummary:
        """Today is midnight UTC until `now`, against the same hours of yesterday; 30 days against the 30 before."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        day, month = timedelta(days=1), timedelta(days=30)
        today = self._period(midnight, now, day, now)
        last_30_days = self._period(now - month, now, month, now)
        return KpiSummary(
            today=today,
            last_30_days=last_30_days,
            backlog=self._store.backlog(now=now),
            matured_share=last_30_days.current.matured_share,
            read_at=now,
        )

    def _period(self, start: datetime, end: datetime, back: timedelta, now: datetime) -> KpiPeriod:
        matured = now - MATURITY
        current = figures(self._store.counts(start, end, matured_before=matured))
        former = figures(self._store.counts(start - back, end - back, matured_before=matured))
        return KpiPeriod(start, end, start - back, end - back, current, former)
