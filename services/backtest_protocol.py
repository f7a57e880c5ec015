"""Walking forward through time: which days teach, which are waited for, which are tested, and on whose transactions.

The protocol of the Fraud Detection Handbook (Le Borgne et al., ULB), `get_train_test_set`: train on whole UTC days,
wait the delay until their labels are known, test on the days after it. Day by day, a card that is already known to be
defrauded is no longer tested, because its owner has been called long ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.errors import InvalidData

# Cards with a fraud in so many days before the delay are known. The handbook's number, and fixed: a longer training
# window must not change who is tested, or figures of two training windows could not be compared.
KNOWN_DAYS = 7
CARDS_A_DAY = 100
MOST_FOLDS = 104
_EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def as_date(day: int) -> date:
    return _EPOCH + timedelta(days=int(day))


@dataclass(frozen=True, slots=True)
class Request:
    """`first` and `last`: the first and the last day that is tested, both included. `delay_days` until a label is known
    to whoever trains, `label_days` until it is known to the features (None: the same). `most_ap`: a mean average
    precision above it is implausible (None: as the mapping says, else by the delay). `seed` orders what is
    shuffled. InvalidData for anything that makes no protocol."""

    first: date
    last: date
    train_days: int = 28
    delay_days: int = 7
    test_days: int = 7
    label_days: float | None = None
    most_ap: float | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise InvalidData(f"The last day tested ({self.last}) is before the first ({self.first}).")
        if not (1 <= self.train_days <= 730 and 1 <= self.test_days <= 366 and 0 <= self.delay_days <= 366):
            raise InvalidData("Train on 1 to 730 days, wait 0 to 366, test 1 to 366.")
        if not 0 < self.known_after <= 366:
            raise InvalidData(
                "Labels must become known to the features after more than 0 and at most 366 days: with none, a "
                "transaction's own label would be among its features."
            )
        if self.most_ap is not None and not 0 < self.most_ap <= 1:
            raise InvalidData("The highest plausible average precision lies above 0 and at most at 1.")
        if (self.last - self.first).days + 1 < self.test_days:
            days = (self.last - self.first).days + 1
            raise InvalidData(
                f"{self.first} to {self.last} are {days} days, fewer than one test window of {self.test_days}; both "
                "dates are included."
            )
        if len(folds(self)) > MOST_FOLDS:
            raise InvalidData(f"These dates make {len(folds(self))} folds; at most {MOST_FOLDS}.")

    @property
    def known_after(self) -> float:
        """Days until a label is known to the features."""
        return float(self.delay_days) if self.label_days is None else self.label_days

    @property
    def left_over(self) -> int:
        """Days at the end that are no whole test window and are not tested."""
        return ((self.last - self.first).days + 1) % self.test_days


@dataclass(frozen=True, slots=True)
class Fold:
    """Days since 1970, starts included, ends not."""

    number: int
    train_start: int
    train_end: int
    test_start: int
    test_end: int


def folds(request: Request) -> tuple[Fold, ...]:
    """Test windows one after the other from the first day; days that fill no window are left out."""
    count = ((request.last - request.first).days + 1) // request.test_days
    out = []
    for number in range(count):
        start = day_number(request.first) + number * request.test_days
        end = start - request.delay_days
        out.append(Fold(number + 1, end - request.train_days, end, start, start + request.test_days))
    return tuple(out)


def train_rows(fold: Fold, days: NDArray[Any], labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """Rows of the training days whose label is known (labels: 1 fraud, 0 genuine, -1 unknown)."""
    return np.flatnonzero((days >= fold.train_start) & (days < fold.train_end) & (labels >= 0))


def test_rows(
    fold: Fold, days: NDArray[Any], labels: NDArray[np.int8], cards: NDArray[Any], *, delay_days: int
) -> tuple[NDArray[np.int64], int]:
    """(rows tested, rows of cards already known to be defrauded, which are not).

    On test day d a card is known when it had a fraud from KNOWN_DAYS before the end of training up to and including
    day d - delay - 1: those days are over and their labels known when d begins.
    """
    frauds = labels == 1
    kept, dropped = [], 0
    for day in range(fold.test_start, fold.test_end):
        known = np.unique(cards[frauds & (days >= fold.train_end - KNOWN_DAYS) & (days < day - delay_days)])
        rows = np.flatnonzero((days == day) & (labels >= 0))
        free = rows[~np.isin(cards[rows], known)]
        dropped += len(rows) - len(free)
        kept.append(free)
    return np.concatenate(kept), dropped
