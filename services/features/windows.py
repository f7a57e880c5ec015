"""The windows of `history.read` and `counterparty.read` over a group of entities whose rows arrived in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints
from services.features.counterparty import Traffic
from services.features.grouping import Group, largest, middles, sums
from services.features.history import MEDIAN_OF, History
from services.features.memory import (
    BAND_MS,
    BLOCK,
    BLOCKS,
    DAY_MS,
    HALF_BITS,
    HOUR_BANDS,
    HOUR_MS,
    RECENT_KEPT,
    RECENT_MAX,
    SECOND_MS,
    WINDOW_DAYS,
    WINDOW_MS,
    halves,
)
from services.features.verdicts import Spans, known_frauds, latest_runs, rate_frauds


def histories(g: Group, amount: Ints, found: Spans) -> History:
    """`amount` in the order of the group."""
    here, running = np.arange(len(g)), sums(amount)
    remembered = here - _kept(g.place)
    day = np.maximum(g.since(DAY_MS), remembered)
    fortnight = np.maximum(g.since(14 * DAY_MS), remembered)
    month = np.maximum(g.since(WINDOW_MS), remembered)
    any_before = g.place > 0
    former = np.maximum(here - 1, 0)
    counted, total, high, cross, low = _usual(g, amount, running)
    return History(
        n=g.place,
        in_10m=here - np.maximum(g.since(600 * SECOND_MS), remembered),
        in_1h=here - np.maximum(g.since(HOUR_MS), remembered),
        in_24h=here - day,
        in_7d=here - np.maximum(g.since(7 * DAY_MS), remembered),
        in_30d=here - month,
        spent_24h=running[here] - running[day],
        span_ms=np.where(month < here, g.at - g.at[np.minimum(month, here)], 0),
        largest_14d=largest(amount, fortnight, here),
        largest_30d=largest(amount, month, here),
        middle=middles(amount, np.minimum(g.place, MEDIAN_OF)),
        counted=counted,
        total=total,
        high=high,
        cross=cross,
        low=low,
        gap_ms=np.where(any_before, g.at - g.at[former], -1),
        age_ms=g.at - g.at[g.start],
        in_band=_in_band(g),
        frauds_28d=known_frauds(found, g, 28),
    )


def _kept(before: Ints) -> Ints:
    """How many transactions a payer's state remembers after so many."""
    return np.where(before < RECENT_MAX, before, RECENT_KEPT + (before - RECENT_MAX) % (RECENT_MAX - RECENT_KEPT))


def _usual(g: Group, amount: Ints, running: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    here = np.arange(len(g))
    since = g.start + BLOCK * np.maximum(0, -(-g.place // BLOCK) - BLOCKS)
    parts = []
    small = not len(amount) or (int(amount.max()) < 1 << HALF_BITS and int(amount.min()) >= 0)
    for place, part in enumerate(halves(amount)):
        if small and place < 2:
            parts.append(np.zeros(len(g), np.int64))
        else:
            total = sums(part)
            parts.append(total[here] - total[since])
    return here - since, running[here] - running[since], parts[0], parts[1], parts[2]


def _in_band(g: Group) -> Ints:
    """How many of the entity's rows before were at the same three hours of the day."""
    bands = g.at % DAY_MS // BAND_MS
    out = np.zeros(len(g), np.int64)
    for band in range(HOUR_BANDS):
        chosen = bands == band
        running = sums(chosen)
        rows = np.flatnonzero(chosen)
        out[rows] = running[rows] - running[g.start[rows]]
    return out


def traffic(g: Group, amount: Ints, following: Ints, found: Spans) -> Traffic:
    """`following`: for each row the position of the next one of the same payer with the same entity (len(g): none)."""
    here, running = np.arange(len(g)), sums(amount)
    day = g.at // DAY_MS
    new = np.ones(len(g), np.bool_)
    new[1:] = (g.code[1:] != g.code[:-1]) | (day[1:] != day[:-1])
    first = np.flatnonzero(new)
    bucket = np.cumsum(new) - 1
    begin = _days_since(g.code[first], day[first])
    since = first[begin[bucket]] if len(g) else here
    today = here - first[bucket]
    any_before = here > since
    former = np.maximum(first[bucket] - 1, 0)
    follows = (former >= g.start) & (first[bucket] > 0) & (day[former] == day - 1)
    yesterday = np.where(follows, first[bucket] - first[np.maximum(bucket - 1, 0)], 0)
    run = latest_runs(found, g)
    begun = run[:, 0] > 0
    return Traffic(
        count=here - since,
        total=running[here] - running[since],
        today=today,
        yesterday=yesterday,
        days=np.where(any_before, day - day[since], 0),
        age_ms=g.at - g.at[g.start],
        others=others(g, WINDOW_MS, following, np.ones(len(g), np.bool_)),
        frauds_1d=known_frauds(found, g, 1),
        frauds_7d=known_frauds(found, g, 7),
        frauds_28d=known_frauds(found, g, 28),
        rate_frauds=rate_frauds(found, g),
        run=run[:, 0],
        run_first_ms=np.where(begun, g.at - run[:, 1], 0),
        run_last_ms=np.where(begun, g.at - run[:, 2], 0),
        clean=_clean(g, run, since),
    )


def _clean(g: Group, run: Ints, since: Ints) -> Ints:
    """`since`: the first position of each row's 30 days."""
    out = np.zeros(len(g), np.int64)
    rows = np.flatnonzero(run[:, 0] > 0)
    code, at, last, known = g.code[rows], g.at[rows], run[rows, 2], run[rows, 3]
    begin = g.first_from(code, (last // DAY_MS + 1) * DAY_MS)
    end = g.first_from(code, ((at - (known - last)) // DAY_MS + 1) * DAY_MS)
    out[rows] = np.maximum(np.minimum(end, rows) - np.maximum(begin, since[rows]), 0)
    return out


def _days_since(code: NDArray[np.int32], day: Ints) -> Ints:
    """For each bucket (entity, day) the first of its entity at most WINDOW_DAYS earlier."""
    key = code.astype(np.int64) * (1 << 24) + day + (1 << 12)
    return np.searchsorted(key, key - WINDOW_DAYS)


def others(g: Group, window_ms: int, following: Ints, named: NDArray[np.bool_]) -> Ints:
    """For each row, how many other names its entity met in the window: each counts from the row after it was met
    until it is met again, or the window has passed. `named`: rows that meet somebody."""
    met = np.flatnonzero(named)
    end = np.minimum(following[met], g.until(g.code[met], g.at[met] + window_ms))
    return g.stabbed(met + 1, end)
