"""The closed vocabularies of the desk, and the decision a score leads to."""

from __future__ import annotations

from enum import StrEnum


class Channel(StrEnum):
    POS = "pos"
    ECOM = "ecom"
    ATM = "atm"
    MOTO = "moto"


class EntryMode(StrEnum):
    CHIP = "chip"
    CONTACTLESS = "contactless"
    SWIPE = "swipe"
    KEYED = "keyed"
    STORED = "stored"


class Decision(StrEnum):
    """The automated action taken at scoring."""

    APPROVE = "approve"
    REVIEW = "review"
    DECLINE = "decline"


class AlertStatus(StrEnum):
    """Workflow state of an alert; the verdict is the label's value, a separate field.

    A closed alert may be decided again (a changed mind is a new label); nothing reopens it.
    """

    OPEN = "open"
    CLOSED = "closed"


class RunState(StrEnum):
    """Where something that a person started, and that goes on in the background, stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class LabelValue(StrEnum):
    FRAUD = "fraud"
    GENUINE = "genuine"
    INCONCLUSIVE = "inconclusive"


class LabelSource(StrEnum):
    ANALYST = "analyst"
    CHARGEBACK = "chargeback"
    CUSTOMER = "customer"
    IMPORT = "import"


def decide(score: float, *, review_threshold: float, decline_threshold: float) -> Decision:
    """The automated decision for a score in [0, 1]. Both thresholds are inclusive: equality takes the stricter side."""
    if score >= decline_threshold:
        return Decision.DECLINE
    if score >= review_threshold:
        return Decision.REVIEW
    return Decision.APPROVE
