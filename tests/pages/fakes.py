"""An in-memory desk for page tests: the real service classes over a store of plain Python objects, seeded.

Only the stores are fake, so validation, cursors, conflicts and permissions are the real ones. `Faults` switches the
outages on and off while a page is open.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from services.backtest_runs import BacktestRuns
from services.cases import Cases, Changed, Decided, Verdict
from services.domain.kpi import Sum
from services.domain.states import AlertStatus, Decision, LabelSource, LabelValue, decide
from services.domain.thresholds import Thresholds
from services.endpoint import EndpointScores
from services.errors import Unavailable
from services.live_scoring import LiveScoring
from services.live_scoring_write_back import WriteBack
from services.scoring_runs import ScoringRuns
from services.scoring_runs_files import RunFiles
from services.scoring_runs_rows import OwnRows
from services.scoring_runs_write_back import FileWriteBack
from services.transactions import (
    Alert,
    CaseEvent,
    CustomerProfile,
    Facets,
    Label,
    LabelEntry,
    QueueFilter,
    QueueRow,
    QueueView,
    Reason,
    Score,
    Sort,
    Transaction,
    Transactions,
    sort_value,
)
from tests.pages.fakes_scoring import MemoryAudit, MemoryFileScores, MemoryFrontDoor, MemoryObjects, MemoryRuns

REVIEW, DECLINE = 0.62, 0.9
MERCHANTS = (
    ("Lidl 4021", "grocery", "5411", "DE", 13.4, 52.5),
    ("Steam Games", "digital_goods", "5816", "US", -122.2, 47.6),
    ("Juwelier Krämer & Söhne", "jewellery", "5944", "CH", 8.5, 47.4),
    ("Ryanair", "travel", "4511", "IE", -6.2, 53.4),
    ("ATM Banco Real 118", "cash", "6011", "BR", -46.6, -23.5),
    ("MediaMarkt Online", "electronics", "5732", "DE", 11.6, 48.1),
    ("<img src=x onerror=alert(1)> *Shop*", "marketplace", "5999", "NL", 4.9, 52.4),
    ("Shell 0917", "fuel", "5541", "FR", 2.3, 48.9),
)
REASONS = (
    ("amount_ratio", "Amount is {:.1f} times this customer's mean", 8.4, 1.0),
    ("km_from_home", "{:,.0f} km from the customer's home", 2140.0, 12.0),
    ("new_device", "First time on this device", 1.0, 0.0),
    ("count_1h", "{:.0f} payments in the last hour", 7.0, 0.3),
    ("merchant_known", "Merchant used {:.0f} times before", 14.0, 3.0),
    ("night", "At 03:12, outside the customer's usual hours", 1.0, 0.0),
)


@dataclass(slots=True)
class Faults:
    """`down` names dependencies that do not answer; `delay` seconds are added to every read."""

    down: set[str] = field(default_factory=set)
    delay: float = 0.0

    def check(self, dependency: str = "MongoDB") -> None:
        if self.delay:
            time.sleep(self.delay)
        if dependency in self.down:
            raise Unavailable(f"{dependency} is not reachable.", dependency=dependency)


def make_transaction(rng: random.Random, index: int, now: datetime) -> Transaction:
    """One of a spread of cases: open and closed alerts, approved payments, unscored ones."""
    name, category, mcc, country, lon, lat = MERCHANTS[rng.randrange(len(MERCHANTS))]
    online = rng.random() < 0.5
    at = now - timedelta(seconds=40 + index * 97 + rng.randrange(60))
    amount = int(rng.lognormvariate(8.8, 1.1))
    value = round(min(0.999, rng.betavariate(2.2, 1.4)), 4)
    scored = index % 29 != 7
    verdict = decide(value, review_threshold=REVIEW, decline_threshold=DECLINE)
    chosen = rng.sample(REASONS, 4)
    reasons = tuple(
        Reason(
            feature, text.format(v), v, normal, round((2.4 - 0.5 * k) * (-0.6 if feature == "merchant_known" else 1), 3)
        )
        for k, (feature, text, v, normal) in enumerate(chosen)
    )
    score = Score(
        value=value,
        decision=verdict,
        review_threshold=REVIEW,
        decline_threshold=DECLINE,
        model_version="v7",
        features_version="1",
        reasons=reasons if verdict is not Decision.APPROVE else (),
        latency_ms=41.8,
        scored_at=at + timedelta(seconds=1),
    )
    identifier = f"txn_{rng.getrandbits(64):016x}"
    alert = None
    if scored and verdict is not Decision.APPROVE:
        opened = at + timedelta(seconds=1)
        due = opened + (timedelta(hours=1) if amount >= 50_000 else timedelta(hours=4))
        alert = Alert(AlertStatus.OPEN, opened, due, value, amount)
    return Transaction(
        transaction_id=identifier,
        event_time=at,
        received_at=at + timedelta(milliseconds=400),
        amount_minor=amount,
        currency="EUR",
        exponent=2,
        customer_id=f"cus_{rng.randrange(24):05d}",
        channel="ecom" if online else "atm" if category == "cash" else "pos",
        entry_mode="stored" if online else "chip",
        version=2 if scored else 1,
        card={
            "token": f"tok_{rng.getrandbits(32):08x}", "bin": "431940", "last4": f"{rng.randrange(10_000):04d}",
            "network": "Visa", "type": "debit", "issuer_country": "DE",
        },
        merchant={
            "id": f"mer_{index % 8:04d}", "name": name, "mcc": mcc, "category": category, "country": country,
            "location": {"lon": lon, "lat": lat},
        },
        customer={"home_country": "DE", "home": {"lon": 13.38, "lat": 52.52}, "segment": "premium"},
        device={"id": f"dev_{rng.randrange(60):04d}", "ip": "203.0.113.7", "email_domain": "example.org",
                "user_agent_family": "Chrome"} if online else None,
        terminal_id=None if online else "term_8812",
        attributes={"loyalty": "gold"},
        features={reason.feature: reason.value for reason in reasons} if scored else {},
        score=score if scored else None,
        alert=alert,
        events=(CaseEvent(alert.opened_at, "scorer", "admin", "alert_opened", {"score": value}),) if alert else (),
    )  # fmt: skip


def row_of(t: Transaction) -> QueueRow:
    return QueueRow(
        transaction_id=t.transaction_id,
        event_time=t.event_time,
        received_at=t.received_at,
        amount_minor=t.amount_minor,
        currency=t.currency,
        exponent=t.exponent,
        customer_id=t.customer_id,
        card_last4=t.card["last4"],
        merchant_name=t.merchant["name"],
        category=t.merchant["category"],
        country=t.merchant["country"],
        channel=t.channel,
        entry_mode=t.entry_mode,
        score=t.score.value if t.score else None,
        decision=t.score.decision if t.score else None,
        top_reason=t.score.reasons[0].text if t.score and t.score.reasons else None,
        alert_status=t.alert.status if t.alert else None,
        opened_at=t.alert.opened_at if t.alert else None,
        due_at=t.alert.due_at if t.alert else None,
        label=t.label.value if t.label else None,
        label_source=t.label.source if t.label else None,
        model_version=t.score.model_version if t.score else None,
        version=t.version,
    )


class MemoryStore:
    """TransactionStore and CaseStore over a dictionary."""

    def __init__(self, *, size: int = 260, seed: int = 7) -> None:
        rng = random.Random(seed)
        self.faults = Faults()
        self._rng = rng
        made = [make_transaction(rng, i, datetime.now(UTC)) for i in range(size)]
        self.items: dict[str, Transaction] = {t.transaction_id: t for t in made}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def arrive(self, *, score: float = 0.97, amount_minor: int = 99_900) -> str:
        """A risky transaction that arrives now."""
        t = make_transaction(self._rng, 0, self.now())
        at = self.now()
        alert = Alert(AlertStatus.OPEN, at, at + timedelta(hours=1), score, amount_minor)
        made = replace(t.score, value=score, decision=Decision.DECLINE) if t.score else None
        t = replace(t, event_time=at, received_at=at, amount_minor=amount_minor, score=made, alert=alert)
        self.items[t.transaction_id] = t
        return t.transaction_id

    def _matching(self, f: QueueFilter) -> list[Transaction]:
        self.faults.check()
        return [t for t in self.items.values() if _matches(t, f)]

    def page(self, filters: QueueFilter, *, sort: Sort, after: tuple[Any, str] | None, limit: int) -> list[QueueRow]:
        descending = sort is not Sort.DUE
        rows = [row_of(t) for t in self._matching(filters)]
        rows = [row for row in rows if sort_value(row, sort) is not None]
        rows.sort(key=lambda row: (sort_value(row, sort), row.transaction_id), reverse=descending)
        if after is not None and after[0] is not None:
            rows = [
                row
                for row in rows
                if ((sort_value(row, sort), row.transaction_id) < after) == descending
                and (sort_value(row, sort), row.transaction_id) != after
            ]
        return rows[:limit]

    def matching(self, filters: QueueFilter, *, cap: int) -> int:
        return min(cap, len(self._matching(filters)))

    def desk_counts(self) -> tuple[int, int, int, int, tuple[Sum, ...]]:
        self.faults.check()
        is_open = [t for t in self.items.values() if t.alert and t.alert.status is AlertStatus.OPEN]
        alerts = [t.alert for t in is_open if t.alert]
        overdue = sum(alert.due_at < self.now() for alert in alerts)
        unscored = sum(t.score is None for t in self.items.values())
        value = sum(alert.value_at_risk_minor for alert in alerts)
        at_risk = (Sum("EUR", 2, value, len(alerts)),) if alerts else ()
        return len(alerts), value, overdue, unscored, at_risk

    def newer(self, filters: QueueFilter, *, since: datetime, cap: int) -> int:
        found = self._matching(replace(filters, before_or_at=None))
        return min(cap, sum(_arrived(t, filters.view) > since for t in found))

    def facets(self) -> Facets:
        self.faults.check()
        all_ = self.items.values()
        return Facets(
            tuple(sorted({t.channel for t in all_})),
            tuple(sorted({t.merchant["category"] for t in all_})),
            tuple(sorted({t.merchant["country"] for t in all_})),
        )

    def get(self, transaction_id: str) -> Transaction | None:
        self.faults.check()
        return self.items.get(transaction_id)

    def customer_history(self, customer_id: str, *, until: datetime, limit: int) -> list[QueueRow]:
        self.faults.check()
        mine = [t for t in self.items.values() if t.customer_id == customer_id and t.event_time <= until]
        return [row_of(t) for t in sorted(mine, key=lambda t: t.event_time, reverse=True)[:limit]]

    def customer_profile(self, customer_id: str, *, currency: str, now: datetime) -> CustomerProfile:
        self.faults.check()
        mine = [t for t in self.items.values() if t.customer_id == customer_id]
        amounts = [t.amount_minor for t in mine if t.currency == currency]
        return CustomerProfile(
            first_seen=min((t.event_time for t in mine), default=None),
            transactions_90d=len(mine),
            mean_amount_minor=sum(amounts) / len(amounts) if amounts else None,
            max_amount_minor=max(amounts, default=None),
            countries=tuple(sorted({t.merchant["country"] for t in mine})),
            devices=len({t.device["id"] for t in mine if t.device}),
            fraud_labels=sum(1 for t in mine if t.label and t.label.value is LabelValue.FRAUD),
        )

    def decide(self, verdict: Verdict) -> Decided | Changed | None:
        self.faults.check()
        t = self.items.get(verdict.transaction_id)
        if t is None:
            return None
        mine = next((e.label for e in t.labels if e.label.label_id == verdict.label_id), None)
        if mine and mine.value is verdict.value and mine.labelled_by == verdict.actor.name:
            return Decided(verdict.label_id, verdict.expected_version + 1)
        if t.version != verdict.expected_version:
            by = t.label.labelled_by if t.label else None
            return Changed(by, f"decided {t.label.value}" if t.label else "changed it", t.label and t.label.labelled_at)
        label = Label(verdict.value, LabelSource.ANALYST, verdict.decided_at, verdict.actor.name, verdict.label_id)
        detail = {"value": str(verdict.value), "note": verdict.note}
        event = CaseEvent(verdict.decided_at, verdict.actor.name, str(verdict.actor.role), "decided", detail)
        self.items[t.transaction_id] = replace(
            t,
            label=label,
            labels=(*t.labels, LabelEntry(label, verdict.note)),
            events=(*t.events, event),
            alert=replace(t.alert, status=AlertStatus.CLOSED) if t.alert else None,
            version=t.version + 1,
        )
        return Decided(verdict.label_id, t.version + 1)


def _arrived(t: Transaction, view: QueueView) -> datetime:
    return t.alert.opened_at if view is QueueView.OPEN_ALERTS and t.alert else t.received_at


def _matches(t: Transaction, f: QueueFilter) -> bool:
    if f.view is QueueView.OPEN_ALERTS and (t.alert is None or t.alert.status is not AlertStatus.OPEN):
        return False
    if f.view is QueueView.DECIDED and (t.label is None or t.label.source is not LabelSource.ANALYST):
        return False
    chosen: Sequence[tuple[tuple[str, ...], Any]] = (
        (f.channels, t.channel),
        (f.categories, t.merchant["category"]),
        (f.countries, t.merchant["country"]),
        (f.decisions, t.score.decision if t.score else None),
    )
    if any(values and value not in values for values, value in chosen):
        return False
    if f.search and f.search not in (t.transaction_id, t.customer_id, t.merchant["id"], t.card["last4"]):
        return False
    if f.min_amount_minor is not None and t.amount_minor < f.min_amount_minor:
        return False
    if f.max_amount_minor is not None and t.amount_minor > f.max_amount_minor:
        return False
    if (f.since is not None and t.event_time < f.since) or (f.until is not None and t.event_time >= f.until):
        return False
    return f.before_or_at is None or _arrived(t, f.view) <= f.before_or_at


@dataclass(slots=True)
class FakeHealth:
    shown: tuple[Any, ...] = ()

    def warnings(self) -> tuple[Any, ...]:
        return self.shown


class FakeScoringApi:
    """The scoring API and the stores beside it. A fixed model: the score grows with the first feature's size."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        self._faults.check()
        return {}

    def known(self, kind: str, limit: int) -> tuple[str, ...]:
        self._faults.check()
        return (f"{kind}-1", f"{kind}-2")[:limit]

    def score(self, rows: Sequence[Sequence[float]], explain: bool = False) -> EndpointScores:
        self._faults.check("the scoring API")
        scores = tuple(round(0.35 + 0.61 * math.tanh(abs(row[0]) / 1e5), 4) for row in rows)
        spread = tuple(tuple(math.cos(i) * 2 / (1 + i / 4) for i in range(len(row))) for row in rows)
        return EndpointScores(scores, spread if explain else None, "v7", "1", 38.0)

    def model_ms(self) -> float:
        return 6.4

    def for_version(self, model_version: str) -> Thresholds | None:
        return Thresholds(model_version, REVIEW, DECLINE)


def desk(store: MemoryStore | None = None, *, health: Any | None = None) -> Any:
    """A `Services` with everything that the analyst's pages use, and the store and its faults to play with."""
    store = store or MemoryStore()
    api = FakeScoringApi(store.faults)
    live = LiveScoring(api, api, api)
    files = RunFiles(MemoryObjects(store.faults))
    runs = ScoringRuns(MemoryRuns(), files, live, OwnRows, batch_rows=200, backoff_seconds=(0.02,))
    door = WriteBack(MemoryFrontDoor(), MemoryAudit())
    return SimpleNamespace(
        transactions=Transactions(store),
        cases=Cases(store),
        live_scoring=live,
        scoring_runs=runs,
        write_back=door,
        file_write_back=FileWriteBack(runs, files, MemoryFileScores(store), door, backoff_seconds=(0.02,)),
        health=health or FakeHealth(),
        backtests=BacktestRuns(),
        faults=store.faults,
        store=store,
    )
