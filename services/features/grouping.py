"""Rows side by side by entity, and windows over them: positions instead of lists.

All arrays of a `Group` are in its own order: by entity, and within one by arrival, which for the entities of a group
is also the order of event times. A window is then a range of positions that ends before the row itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Floats, Ints
from services.features.memory import DAY_MS

# Keys of entity and time leave room on both sides, so that a window or a label never reaches into another entity.
_MARGIN_MS = 120 * DAY_MS
_CHUNK = 1 << 17


@dataclass
class Group:
    """`rows`: places among the transactions; `code`: the entity of each; `at`: its event time (ms)."""

    rows: Ints
    code: NDArray[np.int32]
    at: Ints

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def start(self) -> Ints:
        """Position of the first row of each row's entity."""
        places = np.arange(len(self))
        first = np.ones(len(self), np.bool_)
        first[1:] = self.code[1:] != self.code[:-1]
        return np.maximum.accumulate(np.where(first, places, 0))

    @cached_property
    def place(self) -> Ints:
        """How many rows of the entity came before."""
        return np.arange(len(self)) - self.start

    @cached_property
    def _bounds(self) -> tuple[int, int]:
        return (int(self.at.min()), int(self.at.max())) if len(self) else (0, 0)

    @cached_property
    def key(self) -> Ints:
        return self.keys(self.code, self.at)

    def keys(self, code: NDArray[np.integer], at: Ints) -> Ints:
        """Ascending by entity, then time. Times far outside the group's are as good as its ends."""
        low, high = self._bounds
        span = high - low + 2 * _MARGIN_MS + 2
        if len(code) and int(code.max()) >= 2**62 // span:
            raise OverflowError("too many entities over too long a time")
        inside = np.clip(at, low - _MARGIN_MS, high + _MARGIN_MS) - low + _MARGIN_MS
        return code.astype(np.int64) * span + inside

    def since(self, window_ms: int) -> Ints:
        """First position of each row's window (its start included)."""
        out = np.arange(len(self))
        near = np.flatnonzero(self.key[1:] - self.key[:-1] <= window_ms) + 1
        out[near] = np.searchsorted(self.key, self.key[near] - window_ms)
        return out

    def until(self, code: NDArray[np.integer], at: Ints) -> Ints:
        """Position after the last row of the entity at or before the time."""
        return np.searchsorted(self.key, self.keys(code, at), side="right")

    def first_from(self, code: NDArray[np.integer], at: Ints) -> Ints:
        """Position of the first row of the entity at or after the time."""
        return np.searchsorted(self.key, self.keys(code, at))

    def stabbed(self, begin: Ints, end: Ints) -> Ints:
        """How many of the ranges [begin, end) cover each position; ranges that end before they begin cover none."""
        kept = end > begin
        change = np.bincount(begin[kept], minlength=len(self) + 1)
        change -= np.bincount(end[kept], minlength=len(self) + 1)
        return np.cumsum(change)[: len(self)]


def group(rows: Ints, code: NDArray[np.int32], at: Ints) -> Group:
    """`rows` in order of arrival, with the code and time of every transaction."""
    chosen = code[rows]
    # Two bytes are sorted by radix, which is ten times as fast.
    small = chosen.astype(np.uint16) if len(chosen) and int(chosen.max()) < 2**16 else chosen
    order = rows[np.argsort(small, kind="stable")]
    return Group(order, code[order], at[order])


def sums(values: Ints) -> Ints:
    """Running sums with a leading 0. They may wrap around; differences of two are right all the same."""
    out = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=out[1:])
    return out


def largest(values: Ints, begin: Ints, end: Ints) -> Ints:
    """The largest value of each range [begin, end), 0 where it is empty: by tables of maxima over powers of two."""
    length = end - begin
    out = np.zeros(len(begin), np.int64)
    table, reach = values, 1
    while True:
        here = np.flatnonzero((length >= reach) & (length < 2 * reach))
        out[here] = np.maximum(table[begin[here]], table[end[here] - reach])
        if not (length >= 2 * reach).any():
            return out
        table = np.maximum(table[:-reach], table[reach:])
        reach *= 2


def middles(values: Ints, count: Ints) -> Ints:
    """The upper median of the `count` values before each position (0: none, given as 0); counts are small."""
    widest = int(count.max(initial=0))
    out = np.zeros(len(values), np.int64)
    if not widest:
        return out
    small = values.astype(np.int32) if int(values.max()) < 2**31 - 1 and int(values.min()) > -(2**31) else values
    absent = np.iinfo(small.dtype).max
    padded = np.concatenate([np.full(widest, absent, small.dtype), small])
    windows = np.lib.stride_tricks.sliding_window_view(padded, widest)
    for begin in range(0, len(values), _CHUNK):
        chosen = slice(begin, min(begin + _CHUNK, len(values)))
        wanted, block = count[chosen], windows[chosen].copy()
        block[np.arange(widest) < widest - wanted[:, None]] = absent
        full = wanted == widest
        if full.all():
            block.partition(widest // 2, axis=1)
        else:
            block.sort(axis=1)
        found = block[np.arange(len(wanted)), wanted // 2]
        out[chosen] = np.where(wanted > 0, found, 0)
    return out


def last_valid(valid: NDArray[np.bool_], start: Ints) -> Ints:
    """Position of the last valid row before each within its entity, -1 where there is none."""
    latest = np.maximum.accumulate(np.where(valid, np.arange(len(valid)), -1))
    before = np.concatenate([[-1], latest[:-1]]) if len(valid) else latest
    return np.where(before >= start, before, -1)


__all__ = ["Floats", "Group", "group", "largest", "last_valid", "middles", "sums"]
