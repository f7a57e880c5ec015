"""The simulated analysts of the demo history: they decide most alerts within a day and are wrong now and then."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# Ana Ruiz is the demo's own analyst, so that whoever signs in as her finds work she did.
PEOPLE = (
    ("demo-analyst", "Ana Ruiz"),
    ("analyst-weber", "Jonas Weber"),
    ("analyst-moreau", "Claire Moreau"),
    ("analyst-nowak", "Piotr Nowak"),
)
WRONG = 0.03
INCONCLUSIVE = 0.02
_NOTES = {
    "fraud": (
        "Cardholder did not recognise it; card blocked.",
        "Same pattern as the other cases of this week.",
        "No answer from the cardholder; amount and device do not fit.",
        "",
    ),
    "genuine": ("Cardholder confirmed on the phone.", "Known travel.", "Usual shop, larger basket.", ""),
    "inconclusive": ("Cardholder could not be reached; left open for the chargeback window.", ""),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    value: str
    at: datetime
    subject: str
    name: str
    note: str


def decide(transaction_id: str, *, is_fraud: bool, opened_at: datetime, not_before: datetime, seed: int) -> Verdict:
    """What an analyst says of an alert, and when: minutes to a day after it opened, never before `not_before`.

    Depends on nothing but its arguments, so that a repeated run decides the same.
    """
    chance = random.Random(f"{seed}:{transaction_id}")
    hours = min(max(chance.lognormvariate(0.9, 0.9), 0.1), 24.0)
    at = opened_at + timedelta(hours=hours)
    if at < not_before:
        at = not_before + timedelta(seconds=chance.randrange(20, 1_500))
    draw = chance.random()
    truth = "fraud" if is_fraud else "genuine"
    opposite = "genuine" if is_fraud else "fraud"
    value = "inconclusive" if draw < INCONCLUSIVE else opposite if draw < INCONCLUSIVE + WRONG else truth
    subject, name = PEOPLE[chance.randrange(len(PEOPLE))]
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return Verdict(value, at, subject, name, chance.choice(_NOTES[value]))


def label_entry(document: Mapping[str, Any], verdict: Verdict, *, version: int) -> dict[str, Any]:
    """The document of `labels` for a verdict on the transaction at `version`."""
    return {
        "_id": f"{document['_id']}:analyst:{version}",
        "transaction_id": document["_id"],
        "customer_id": document["customer_id"],
        "merchant_id": document["merchant"]["id"],
        "terminal_id": document["terminal_id"],
        "device_id": document.get("device", {}).get("id"),
        "event_time": document["event_time"],
        "amount_minor": document["amount_minor"],
        "value": verdict.value,
        "source": "analyst",
        "labelled_at": verdict.at,
        "labelled_by": verdict.name,
        "labelled_by_subject": verdict.subject,
        "note": verdict.note,
    }


def decided_event(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The timeline entry of a verdict."""
    return {
        "_id": entry["_id"],
        "transaction_id": entry["transaction_id"],
        "at": entry["labelled_at"],
        "actor": _actor(entry),
        "kind": "decided",
        "detail": {"value": entry["value"], "note": entry["note"]},
    }


def audit_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The audit's record of a verdict; its id follows from the label's."""
    return {
        "_id": f"{entry['_id']}:decide",
        "at": entry["labelled_at"],
        "actor": _actor(entry),
        "action": "decide",
        "object": entry["transaction_id"],
        "before": {"label": None},
        "after": {"label": entry["value"]},
        "outcome": "done",
    }


def _actor(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"subject": entry["labelled_by_subject"], "name": entry["labelled_by"], "role": "analyst"}
