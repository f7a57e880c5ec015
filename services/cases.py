"""An analyst's verdict on a transaction: label, closed alert, timeline and audit, all or nothing.

A verdict is compare-and-set on the transaction's version, so the second of two people learns who was first. The
label's id is made of the transaction and the version decided upon: when the reply to a decision is lost and it is sent
again, the same label comes back and nothing is doubled.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.access import Actor, Permission, require
from services.domain.money import mask_card_numbers
from services.domain.states import LabelValue
from services.errors import Conflict, InvalidData, NotFound

MAX_NOTE = 4000


@dataclass(frozen=True, slots=True)
class Decided:
    """The label that now stands and the transaction's new version."""

    label_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Verdict:
    transaction_id: str
    value: LabelValue
    note: str
    expected_version: int
    actor: Actor
    decided_at: datetime

    @property
    def label_id(self) -> str:
        return f"{self.transaction_id}:analyst:{self.expected_version}"


@dataclass(frozen=True, slots=True)
class Changed:
    """Somebody was first: who, what and when (None where the change was not a person's)."""

    by: str | None
    what: str
    at: datetime | None


class CaseStore(Protocol):
    def decide(self, verdict: Verdict) -> Decided | Changed | None:
        """Write the verdict in one database transaction. None: there is no such transaction."""
        ...

    def now(self) -> datetime: ...


class Cases:
    def __init__(self, store: CaseStore) -> None:
        self._store = store

    def decide(
        self, transaction_id: str, value: LabelValue, *, note: str, expected_version: int, actor: Actor
    ) -> Decided:
        """Label a transaction and close its alert. Deciding again later is allowed and appends a new label.

        Raises Denied, NotFound, InvalidData (note too long), Conflict (changed since `expected_version`), Unavailable.
        """
        require(actor, Permission.DECIDE)
        if len(note) > MAX_NOTE:
            raise InvalidData(f"The note has {len(note):,} characters; at most {MAX_NOTE:,} fit. Nothing was saved.")
        note = mask_card_numbers(note.replace("\x00", "").strip())
        verdict = Verdict(transaction_id, LabelValue(value), note, expected_version, actor, self._store.now())
        outcome = self._store.decide(verdict)
        if outcome is None:
            raise NotFound("There is no transaction with this id; nothing was saved.")
        if isinstance(outcome, Changed):
            who = outcome.by or "The system"
            when = f" at {outcome.at:%H:%M:%S} UTC" if outcome.at else ""
            raise Conflict(
                f"{who} {outcome.what}{when}, after you opened it. Your verdict was not saved; your note is kept."
            )
        return outcome
