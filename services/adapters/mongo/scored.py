"""The parts of a transaction document that scoring writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.domain.states import AlertStatus
from services.features import DEMO, Plan
from services.scoring import Assessment, alert_for


def scored_fields(
    vector: Sequence[float], outcome: Assessment, *, scored_at: datetime, plan: Plan = DEMO
) -> dict[str, Any]:
    """The `score` and `features` fields of a scored transaction; a missing feature is null."""
    return {
        "score": {
            "value": outcome.value,
            "decision": str(outcome.decision),
            "review_threshold": outcome.thresholds.review,
            "decline_threshold": outcome.thresholds.decline,
            "model_version": outcome.thresholds.model_version,
            "features_version": outcome.features_version,
            "reasons": [
                {
                    "feature": r.feature,
                    "text": r.text,
                    "value": r.value,
                    "normal": r.normal,
                    "contribution": r.contribution,
                }
                for r in outcome.reasons
            ],
            "latency_ms": round(outcome.latency_ms, 3),
            "scored_at": scored_at,
        },
        "features": {name: (None if value != value else value) for name, value in zip(plan.names, vector, strict=True)},
    }


def alert_fields(value: float, amount_minor: int, *, opened_at: datetime) -> dict[str, Any]:
    alert = alert_for(value, amount_minor, opened_at=opened_at)
    return {
        "status": str(AlertStatus.OPEN),
        "opened_at": alert.opened_at,
        "due_at": alert.due_at,
        "priority": alert.priority,
        "value_at_risk_minor": alert.value_at_risk_minor,
    }
