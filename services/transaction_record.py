"""One transaction with everything known about it, and what is normal for its customer.

Times are aware and in UTC; money is an integer of minor units; what is not known (yet) is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.domain.states import AlertStatus, Decision, LabelSource, LabelValue
from services.features import Reason


@dataclass(frozen=True, slots=True)
class Score:
    value: float
    decision: Decision
    review_threshold: float
    decline_threshold: float
    model_version: str
    features_version: str
    reasons: tuple[Reason, ...]
    latency_ms: float
    scored_at: datetime


@dataclass(frozen=True, slots=True)
class Alert:
    status: AlertStatus
    opened_at: datetime
    due_at: datetime
    priority: float
    value_at_risk_minor: int


@dataclass(frozen=True, slots=True)
class Label:
    value: LabelValue
    source: LabelSource
    labelled_at: datetime
    labelled_by: str
    label_id: str


@dataclass(frozen=True, slots=True)
class LabelEntry:
    label: Label
    note: str


@dataclass(frozen=True, slots=True)
class CaseEvent:
    at: datetime
    actor_name: str
    actor_role: str
    kind: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScoringFailure:
    failed_at: datetime
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """Everything known. `customer`, `card`, `merchant`, `device`, `attributes` keep the contract's field names.

    Data of one's own may have no card or merchant (empty then), and neither channel nor entry mode (None).
    """

    transaction_id: str
    event_time: datetime
    received_at: datetime
    amount_minor: int
    currency: str
    exponent: int
    customer_id: str
    channel: str | None
    entry_mode: str | None
    version: int
    card: Mapping[str, Any]
    merchant: Mapping[str, Any]
    customer: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, Any] | None = None
    terminal_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, float | None] = field(default_factory=dict)
    score: Score | None = None
    scoring_failure: ScoringFailure | None = None
    alert: Alert | None = None
    label: Label | None = None
    events: tuple[CaseEvent, ...] = ()
    labels: tuple[LabelEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerProfile:
    """A customer's own normal over the last 90 days; mean and maximum are of one currency, None without payments in
    it."""

    first_seen: datetime | None
    transactions_90d: int
    mean_amount_minor: float | None
    max_amount_minor: int | None
    countries: tuple[str, ...]
    devices: int
    fraud_labels: int
