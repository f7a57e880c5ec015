"""What the feature engine is told: a transaction, or a label becoming known, in the order of a plan's kinds.

Amounts are integers of minor units and are compared as they are: a desk works in one currency. Times are whole
milliseconds since 1970-01-01 UTC. What is absent is None (names) or nan (numbers) and its features are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Event:
    """One transaction. Treated as immutable; not frozen, because replay builds hundreds of thousands.

    `names` are the ids of its entities and the values of its categories, `numbers` its plain numbers and flags; both
    in the plan's order. `place` and `home` are (lon, lat) in degrees.
    """

    transaction_id: str
    at_ms: int
    amount_minor: int
    names: tuple[str | None, ...]
    numbers: tuple[float, ...] = ()
    place: tuple[float, float] | None = None
    home: tuple[float, float] | None = None


@dataclass(slots=True)
class LabelEvent:
    """A verdict on a transaction, known from `labelled_ms` on (inclusive). `value`: fraud, genuine, inconclusive.

    `names` are those of the transaction (`Event.names`); what is absent learns nothing from it.
    """

    transaction_id: str
    names: tuple[str | None, ...]
    event_ms: int
    amount_minor: int
    value: str
    labelled_ms: int


def epoch_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970 UTC, rounded down. Naive datetimes raise TypeError."""
    return (moment - _EPOCH) // _MILLISECOND
