"""Rows side by side by entity, and windows over them: positions instead of lists.

All arrays of a `Group` are in its own order: by entity, and within one by arrival, which for the entities of a group
is also the order of event times. A window is then a range of positions that ends before the row itself.

A group is worked on in blocks of whole entities. What a block computes fits into the processor's cache, which is
several times as fast as the same operations over whole columns, and no entity's windows reach into another block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Floats, Ints
from services.features.memory import DAY_MS

# Keys of entity and time leave room on both sides, so that a window or a label never reaches into another entity.
_MARGIN_MS = 120 * DAY_MS
BLOCK_ROWS = 80_000
_CHUNK = 1 << 12
_STEPS = 3


@dataclass
class Group:
    """`rows`: places among the transactions; `code`: the entity of each; `at`: its event time (ms).

    `begin`: of a block, the position of its first row in the group it was cut from."""

    rows: Ints
    code: NDArray[np.int32]
    at: Ints
    begin: int = 0
    _since: dict[int, Ints] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def here(self) -> Ints:
        return np.arange(len(self))

    @cached_property
    def first(self) -> Ints:
        """Position of the first row of each entity."""
        return changes(self.code)

    @cached_property
    def start(self) -> Ints:
        """Position of the first row of each row's entity."""
        return np.repeat(self.first, np.diff(self.first, append=len(self)))

    @cached_property
    def place(self) -> Ints:
        """How many rows of the entity came before."""
        return self.here - self.start

    @cached_property
    def key(self) -> Ints:
        low, span, base = self._scale
        return (self.code - base) * span + (self.at - (low - _MARGIN_MS))

    @cached_property
    def _scale(self) -> tuple[int, int, np.int64]:
        """(the earliest time, ms between one entity's earliest key and the next one's, the first entity)."""
        if not len(self):
            return 0, 1, np.int64(0)
        low, high, base = int(self.at.min()), int(self.at.max()), np.int64(self.code[0])
        span = high - low + 2 * _MARGIN_MS + 2
        if int(self.code[-1] - base) >= 2**62 // span:
            raise OverflowError("too many entities over too long a time")
        return low, span, base

    def keys(self, code: NDArray[np.integer], at: Ints) -> Ints:
        """Ascending by entity, then time. Times far outside the group's are as good as its ends."""
        low, span, base = self._scale
        return (code - base) * span + (np.clip(at, low - _MARGIN_MS, low + span - _MARGIN_MS - 2) - (low - _MARGIN_MS))

    def since(self, window_ms: int) -> Ints:
        """First position of each row's window (its start included). Not to be written to."""
        if window_ms not in self._since:
            self._since[window_ms] = self._search(window_ms)
        return self._since[window_ms]

    def _search(self, window_ms: int) -> Ints:
        near = np.flatnonzero(self.key[1:] - self.key[:-1] <= window_ms) + 1
        if 4 * len(near) < len(self):
            out = self.here.copy()
            out[near] = np.searchsorted(self.key, self.key[near] - window_ms)
            return out
        bins, scale, table = self._bins
        out = table[bins + (np.maximum(self.age - window_ms, 0) * scale).astype(np.int64)]
        # Of the bin in which the window starts some rows may be older: few, since bins are small.
        old = np.flatnonzero(self.at[out] < self.at - window_ms)
        for _ in range(_STEPS):
            out[old] += 1
            old = old[self.at[out[old]] < self.at[old] - window_ms]
        out[old] = np.searchsorted(self.key, self.key[old] - window_ms)
        return out

    @cached_property
    def age(self) -> Ints:
        """Milliseconds since the entity's first row."""
        return self.at - self.at[self.start]

    @cached_property
    def _bins(self) -> tuple[Ints, Floats, Ints]:
        """(each row's entity's first bin, bins a millisecond, the first position at or after each bin).

        An entity's time is cut into equal bins, two a row, so that where a window starts is looked up and not searched.
        Rounding does no harm: a later time is never in an earlier bin.
        """
        count = np.diff(self.first, append=len(self))
        scale = np.repeat(2 * count / (self.age[self.first + count - 1] + 1.0), count)
        # Two more for each, for what is rounded up.
        ends = np.cumsum(2 * count + 2)
        bins = np.repeat(ends - (2 * count + 2), count)
        filled = np.bincount(bins + (self.age * scale).astype(np.int64), minlength=int(ends[-1]) if len(ends) else 0)
        return bins, scale, np.cumsum(filled) - filled

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

    def blocks(self, rows: int) -> Iterator[Group]:
        """Whole entities, at most `rows` together, or one that has more."""
        begin = 0
        while begin < len(self):
            end = min(begin + rows, len(self))
            if end < len(self):
                former = int(np.searchsorted(self.code, self.code[end]))
                end = former if former > begin else int(np.searchsorted(self.code, self.code[end], side="right"))
            yield self.chosen(slice(begin, end), begin=self.begin + begin)
            begin = end

    def chosen(self, rows: Any, *, begin: int = 0) -> Group:
        """Some rows, a slice or a mask."""
        return Group(self.rows[rows], self.code[rows], self.at[rows], begin)


def changes(*columns: NDArray[Any]) -> Ints:
    """The positions where any of the columns is another than before, 0 among them."""
    new = np.ones(len(columns[0]), np.bool_)
    new[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def sorting(codes: NDArray[np.integer]) -> Ints:
    """The stable order of codes from 0 on. Two bytes are sorted by radix, ten times as fast as four; so four are
    sorted as twice two."""
    # The cast keeps the lower two bytes.
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    if len(codes) and int(codes.max()) >= 1 << 16:
        order = order[np.argsort((codes[order] >> 16).astype(np.uint16), kind="stable")]
    return order


def group(code: NDArray[np.int32], at: Ints) -> Group:
    """All rows that have a code, of codes and times in order of arrival."""
    present = np.flatnonzero(code >= 0)
    rows = sorting(code) if len(present) == len(code) else present[sorting(code[present])]
    return Group(rows, code[rows], at[rows])


def pairs(g: Group, other: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """For each row the position of the one before and the one after it of the same entity with the same `other`.

    -1 and len(g) where there is none; also where the other is absent (-1).
    """
    before, after = np.full(len(g), -1), np.full(len(g), len(g))
    rows = np.flatnonzero(other >= 0)
    if len(rows):
        rows = sorting(other) if len(rows) == len(g) else rows[sorting(other[rows])]
        rows = rows[sorting(g.code[rows] - g.code[0])]
        same = (g.code[rows[1:]] == g.code[rows[:-1]]) & (other[rows[1:]] == other[rows[:-1]])
        former, later = rows[:-1][same], rows[1:][same]
        before[later], after[former] = former, later
    return before, after


def sums(values: NDArray[np.generic]) -> Ints:
    """Running sums with a leading 0. They may wrap around; differences of two are right all the same."""
    out = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=out[1:])
    return out


def ranked(g: Group, kinds: NDArray[np.integer]) -> Ints:
    """How many of the entity's rows before are of the same kind (0 to 255)."""
    order = np.argsort(kinds.astype(np.uint8), kind="stable")
    first = changes(kinds[order], g.start[order])
    out = np.empty(len(g), np.int64)
    out[order] = g.here - np.repeat(first, np.diff(first, append=len(g)))
    return out


class Maxima:
    """Largest values of ranges, by tables of maxima over powers of two."""

    def __init__(self, values: Ints, longest: int) -> None:
        """`longest`: no range is longer."""
        small = values.astype(np.int32) if _fits(values) else values
        count = len(values)
        self._tables: NDArray[np.integer] = np.empty((max(longest, 1).bit_length(), count), small.dtype)
        self._tables[0] = small
        for level in range(1, len(self._tables)):
            reach, former = 1 << (level - 1), self._tables[level - 1]
            self._tables[level] = former
            np.maximum(former[: count - reach], former[reach:], out=self._tables[level, : max(count - reach, 0)])
        power = np.array([max(length, 1).bit_length() - 1 for length in range(longest + 1)])
        # Where the table of a length begins, and where the range must begin in it that ends at the end.
        self._begin, self._back = power * count, power * count - (1 << power)

    def of(self, begin: Ints, end: Ints) -> NDArray[np.integer]:
        """The largest of each range [begin, end), 0 where it is empty."""
        length, flat = end - begin, self._tables.ravel()
        # An empty range asks for any place, the one before the first among them.
        found: NDArray[np.integer] = np.maximum(flat[self._begin[length] + begin], flat[self._back[length] + end])
        found[length <= 0] = 0
        return found


def _fits(values: Ints) -> bool:
    return not len(values) or (int(values.max()) < 2**31 - 1 and int(values.min()) > -(2**31))


def middles(g: Group, values: Ints, most: int) -> NDArray[np.integer]:
    """The upper median of each entity's last values before each position, at most so many of them (0: none, given as
    0)."""
    widest = min(most, int(g.place.max(initial=0)))
    small = values.astype(np.int32) if _fits(values) else values
    out = np.zeros(len(values), small.dtype)
    if not widest:
        return out
    least, absent = np.iinfo(small.dtype).min, np.iinfo(small.dtype).max
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.zeros(widest, small.dtype), small]), widest)
    # What stands before the entity's first value is made larger than all: by the maximum with one of these.
    known = np.arange(widest) >= widest - np.arange(widest + 1)[:, None]
    floors = np.where(known, least, absent).astype(small.dtype)
    wanted = np.minimum(g.place, widest)
    for begin in range(0, len(values), _CHUNK):
        chosen = slice(begin, min(begin + _CHUNK, len(values)))
        block = floors.take(wanted[chosen], axis=0)
        np.maximum(block, windows[chosen], out=block)
        block.sort(axis=1)
        out[chosen] = block[np.arange(len(block)), wanted[chosen] // 2]
    out[g.first] = 0
    return out


def last_valid(valid: NDArray[np.bool_], start: Ints) -> Ints:
    """Position of the last valid row before each within its entity, -1 where there is none."""
    latest = np.maximum.accumulate(np.where(valid, np.arange(len(valid)), -1))
    before = np.concatenate([[-1], latest[:-1]]) if len(valid) else latest
    return np.where(before >= start, before, -1)


__all__ = [
    "Floats", "Group", "Maxima", "changes", "group", "last_valid", "middles", "pairs", "ranked", "sorting", "sums",
]  # fmt: skip
