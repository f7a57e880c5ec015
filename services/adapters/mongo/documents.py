"""MongoDB documents -> the dataclasses of the desk. Absent parts become None, never a zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.adapters.mongo.client import Document
from services.domain.own_columns import OwnColumn, at_path
from services.domain.states import AlertStatus, Decision, LabelSource, LabelValue
from services.features import Reason
from services.transactions import (
    Alert,
    CaseEvent,
    Label,
    LabelEntry,
    QueueRow,
    Score,
    ScoringFailure,
    Transaction,
)

ROW_FIELDS = {
    "event_time": 1,
    "received_at": 1,
    "amount_minor": 1,
    "currency": 1,
    "exponent": 1,
    "customer_id": 1,
    "card.last4": 1,
    "merchant.id": 1,
    "merchant.name": 1,
    "merchant.category": 1,
    "merchant.country": 1,
    "channel": 1,
    "entry_mode": 1,
    "score.value": 1,
    "score.decision": 1,
    "score.reasons.text": 1,
    "score.model_version": 1,
    "alert.status": 1,
    "alert.opened_at": 1,
    "alert.due_at": 1,
    "label.value": 1,
    "label.source": 1,
    "version": 1,
}


def queue_row(document: Document, own: Sequence[OwnColumn] = ()) -> QueueRow:
    score, alert, label = document.get("score"), document.get("alert"), document.get("label")
    reasons = score.get("reasons", ()) if score else ()
    merchant = document.get("merchant", {})
    return QueueRow(
        transaction_id=document["_id"],
        event_time=document["event_time"],
        received_at=document["received_at"],
        amount_minor=document["amount_minor"],
        currency=document["currency"],
        exponent=document["exponent"],
        customer_id=document["customer_id"],
        card_last4=document.get("card", {}).get("last4"),
        merchant_name=merchant.get("name") or merchant.get("id"),
        category=merchant.get("category"),
        country=merchant.get("country"),
        channel=document.get("channel"),
        entry_mode=document.get("entry_mode"),
        score=score["value"] if score else None,
        decision=Decision(score["decision"]) if score else None,
        top_reason=reasons[0]["text"] if reasons else None,
        alert_status=AlertStatus(alert["status"]) if alert else None,
        opened_at=alert["opened_at"] if alert else None,
        due_at=alert["due_at"] if alert else None,
        label=LabelValue(label["value"]) if label else None,
        label_source=LabelSource(label["source"]) if label else None,
        model_version=score["model_version"] if score else None,
        version=document["version"],
        own=tuple((c.key, value) for c in own if (value := at_path(document, c.path)) is not None),
    )


def transaction(document: Document, events: Iterable[Document], labels: Iterable[Document]) -> Transaction:
    score, alert, failure = document.get("score"), document.get("alert"), document.get("scoring")
    return Transaction(
        transaction_id=document["_id"],
        event_time=document["event_time"],
        received_at=document["received_at"],
        amount_minor=document["amount_minor"],
        currency=document["currency"],
        exponent=document["exponent"],
        customer_id=document["customer_id"],
        channel=document.get("channel"),
        entry_mode=document.get("entry_mode"),
        version=document["version"],
        card=document.get("card", {}),
        merchant=document.get("merchant", {}),
        customer=document.get("customer", {}),
        device=document.get("device"),
        terminal_id=document.get("terminal_id"),
        attributes=document.get("attributes", {}),
        features=document.get("features", {}),
        score=_score(score) if score else None,
        scoring_failure=ScoringFailure(failure["failed_at"], failure["error"], failure["attempts"])
        if failure
        else None,
        alert=_alert(alert) if alert else None,
        label=_label(document["label"]) if document.get("label") else None,
        events=tuple(_event(event) for event in events),
        labels=tuple(LabelEntry(_label(entry | {"label_id": entry["_id"]}), entry["note"]) for entry in labels),
    )


def _score(score: Document) -> Score:
    reasons = tuple(
        Reason(r["feature"], r["text"], r.get("value"), r.get("normal"), r["contribution"]) for r in score["reasons"]
    )
    return Score(
        value=score["value"],
        decision=Decision(score["decision"]),
        review_threshold=score["review_threshold"],
        decline_threshold=score["decline_threshold"],
        model_version=score["model_version"],
        features_version=score["features_version"],
        reasons=reasons,
        latency_ms=score["latency_ms"],
        scored_at=score["scored_at"],
    )


def _alert(alert: Document) -> Alert:
    return Alert(
        AlertStatus(alert["status"]),
        alert["opened_at"],
        alert["due_at"],
        alert["priority"],
        alert["value_at_risk_minor"],
    )


def _label(label: Document) -> Label:
    return Label(
        LabelValue(label["value"]),
        LabelSource(label["source"]),
        label["labelled_at"],
        label["labelled_by"],
        label["label_id"],
    )


def _event(event: Document) -> CaseEvent:
    actor = event["actor"]
    return CaseEvent(event["at"], actor["name"], actor["role"], event["kind"], event.get("detail", {}))
