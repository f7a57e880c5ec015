"""Entities of which some transactions arrived late, cut into stretches that arrived in order.

A stretch is treated as an entity of its own. It begins with what the state remembered when it began: a payer's
remembered transactions, or a counterparty's days and payers. Its windows are then those of any ordered entity, so that
only the late transactions themselves are put through states one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints
from services.features.grouping import Group, changes
from services.features.memory import DAY_MS, RECENT_KEPT, RECENT_MAX, SEEN_MAX, WINDOW_DAYS, State

# Fewer rows than this between two late ones are walked too, which costs less than a stretch.
_SHORT = 8


def singled(code: NDArray[np.int32], late: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rows to be walked: the late ones, and what lies between them and is short. By entity and arrival."""
    first = changes(code, late)
    length = np.diff(first, append=len(code))
    return np.repeat(late[first] | (length < _SHORT), length)


def latest(code: NDArray[np.int32], values: Ints) -> Ints:
    """The largest value so far of each row's entity, its own included. Rows of an entity are side by side."""
    if not len(values):
        return values
    low, entity = int(values.min()), np.cumsum(np.diff(code, prepend=code[0]) != 0)
    span = int(values.max()) - low + 1
    if int(entity[-1]) >= 2**62 // span:
        raise OverflowError("too many entities over too long a time")
    offset = entity * span - low
    out: Ints = np.maximum.accumulate(values + offset) - offset
    return out


class Stretches:
    """All stretches of a block, each behind what was remembered, as an ordered group.

    `kept`: positions of their rows in the block; `place`: those in the group, `prefix` those of what was remembered.
    """

    def __init__(self, code: NDArray[np.int32], alone: NDArray[np.bool_], lengths: list[int]) -> None:
        """`alone`: rows in no stretch; `lengths`: how much was remembered when each stretch began."""
        first = changes(code, alone)
        first = first[~alone[first]]
        self.rows, self.kept = len(code), np.flatnonzero(~alone)
        number = np.searchsorted(first, self.kept, side="right") - 1
        remembered = np.array(lengths, np.int64)
        self.place = np.arange(len(self.kept)) + np.cumsum(remembered)[number]
        rows = np.bincount(number, minlength=len(first))
        self._code = np.repeat(np.arange(len(first), dtype=np.int32), remembered + rows)
        before = np.ones(len(self._code), np.bool_)
        before[self.place] = False
        self.prefix = np.flatnonzero(before)

    def column(self, remembered: Any, block: NDArray[Any]) -> NDArray[Any]:
        """A column of the group: of what was `remembered`, stretch by stretch, and of the rows, from the block's."""
        out = np.empty(len(self._code), block.dtype)
        out[self.prefix], out[self.place] = remembered, block[self.kept]
        return out

    def group(self, at: Ints) -> Group:
        """`at`: a column of event times."""
        return Group(np.arange(len(at)), self._code, at)

    def places(self, positions: Ints) -> Ints:
        """Where rows of stretches stand in the group."""
        out = np.zeros(self.rows, np.int64)
        out[self.kept] = self.place
        return out[positions]

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        """A column of the group in the order of the block, 0 where a row is in no stretch."""
        # The walked rows' values need not fit where those of the stretches do.
        out = np.zeros(self.rows, np.promote_types(values.dtype, np.int64))
        out[self.kept] = values[self.place]
        return out


def forward_history(state: State, at: Ints, amount: Ints) -> None:
    """Bring a payer's remembered transactions forward over a stretch. The usual amount and habits, which do not depend
    on the order, are left out."""
    grown = len(state["times"]) + len(at)
    kept = grown if grown < RECENT_MAX else RECENT_KEPT + (grown - RECENT_MAX) % (RECENT_MAX - RECENT_KEPT)
    state["times"] = (state["times"] + at[-RECENT_MAX:].tolist())[-kept:]
    state["amounts"] = (state["amounts"] + amount[-RECENT_MAX:].tolist())[-kept:]
    state["blocks"] = [[0, 0, 0, 0]]
    state["n"] += len(at)


def forward_days(state: State, at: Ints, amount: Ints) -> None:
    """Bring a counterparty's days forward over a stretch."""
    days, counts, sums = state["days"], state["counts"], state["sums"]
    if state["first"] is None:
        state["first"] = int(at[0])
    day = at // DAY_MS
    first = changes(day)
    told = (day[first], np.diff(first, append=len(day)), np.add.reduceat(amount, first))
    for one, count, total in zip(*(column.tolist() for column in told), strict=True):
        if days and days[-1] == one:
            counts[-1] += count
            sums[-1] += total
            continue
        days.append(one)
        counts.append(count)
        sums.append(total)
    old = sum(one < days[-1] - WINDOW_DAYS for one in days)
    del days[:old], counts[:old], sums[:old]


def forward_seen(seen: dict[str, list[Any]], at: Ints, names: NDArray[np.int32], following: Ints, end: int) -> None:
    """Bring those met forward over a stretch that ends before `end`. `following`: where each is met again."""
    last = np.flatnonzero((following >= end) & (names >= 0))[-SEEN_MAX:]
    if not len(last):
        return
    new = names[last].tolist()
    again = set(new)
    kept = [place for place, name in enumerate(seen["names"]) if name not in again]
    seen["names"] = ([seen["names"][place] for place in kept] + new)[-SEEN_MAX:]
    seen["used"] = ([seen["used"][place] for place in kept] + at[last].tolist())[-SEEN_MAX:]
