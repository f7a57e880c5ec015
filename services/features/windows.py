"""The windows of `history.read` and `counterparty.read` over a group of entities whose rows arrived in order.

Groups are blocks (`Group.blocks`), so that columns are short and stay in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints
from services.features.counterparty import Traffic
from services.features.grouping import Group, Maxima, changes, middles, ranked, sums
from services.features.history import MEDIAN_OF, History
from services.features.memory import (
    BAND_MS,
    BLOCK,
    BLOCKS,
    DAY_MS,
    HALF_BITS,
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
    return History(**remembered(g, amount), **ever(g, amount, g.at, g.age), frauds_28d=known_frauds(found, g, 28))


def remembered(g: Group, amount: Ints) -> dict[str, Ints]:
    """Of `History` what is cut from the remembered transactions."""
    here, running, oldest = g.here, sums(amount), _oldest(g)

    def since(window_ms: int) -> Ints:
        return g.since(window_ms) if oldest is None else np.maximum(g.since(window_ms), oldest)

    day, fortnight, month = since(DAY_MS), since(14 * DAY_MS), since(WINDOW_MS)
    in_30d = here - month
    largest = Maxima(amount, int(in_30d.max(initial=0)))
    gap = np.diff(g.at, prepend=0)
    gap[g.first] = -1
    return {
        "in_10m": here - since(600 * SECOND_MS),
        "in_1h": here - since(HOUR_MS),
        "in_24h": here - day,
        "in_7d": here - since(7 * DAY_MS),
        "in_30d": in_30d,
        "spent_24h": running[:-1] - running[day],
        "span_ms": g.at - g.at[month],
        "largest_14d": largest.of(fortnight, here),
        "largest_30d": largest.of(month, here),
        "middle": middles(g, amount, MEDIAN_OF),
        "gap_ms": gap,
    }


def ever(g: Group, amount: Ints, at: Ints, age: Ints) -> dict[str, Any]:
    """Of `History` what goes by the order of arrival alone. `at`: event times; `age`: since the entity's first."""
    counted, total, high, cross, low = _usual(g, amount, sums(amount))
    return {
        "n": g.place,
        "counted": counted,
        "total": total,
        "high": high,
        "cross": cross,
        "low": low,
        "age_ms": age,
        "in_band": ranked(g, at % DAY_MS // BAND_MS),
    }


def _oldest(g: Group) -> Ints | None:
    """The first row that each row's state still remembers; None where states remember all."""
    if int(g.place.max(initial=0)) < RECENT_MAX:
        return None
    many = np.flatnonzero(g.place >= RECENT_MAX)
    kept = g.place.copy()
    kept[many] = RECENT_KEPT + (kept[many] - RECENT_MAX) % (RECENT_MAX - RECENT_KEPT)
    out: Ints = g.here - kept
    return out


def _usual(g: Group, amount: Ints, running: Ints) -> tuple[Ints, Ints, Any, Any, Ints]:
    since = g.start
    if int(g.place.max(initial=0)) > BLOCK * BLOCKS:
        since = since + BLOCK * np.maximum(0, -(-g.place // BLOCK) - BLOCKS)
    counted, total = g.here - since, running[:-1] - running[since]
    if not len(amount) or (int(amount.max()) < 1 << HALF_BITS and int(amount.min()) >= 0):
        squares = sums(amount * amount)
        return counted, total, 0, 0, squares[:-1] - squares[since]
    high, cross, low = (sums(part) for part in halves(amount))
    return counted, total, high[:-1] - high[since], cross[:-1] - cross[since], low[:-1] - low[since]


def volumes(g: Group, found: Spans) -> Traffic:
    """What a category needs of `Traffic`; the rest is 0."""
    return NOTHING._replace(count=g.here - _month(g)[0], rate_frauds=rate_frauds(found, g))


NOTHING = Traffic(*[0] * len(Traffic._fields))


def traffic(g: Group, amount: Ints, following: Ints, named: NDArray[np.bool_], found: Spans) -> Traffic:
    """`following`: for each row the position of the next one of the same payer with the same entity (len(g): none);
    `named`: whether there is a payer."""
    days, since = by_day(g, amount)
    rows, which = latest_runs(found, g)
    begin = g.first_from(found.run_code, day_after(found.run[:, 2]))[which]
    return NOTHING._replace(
        **days,
        age_ms=g.age,
        others=others(g, WINDOW_MS, following, named),
        **frauds(g, found),
        **runs(g.at, rows, found.run[which]),
        clean=scattered(len(g), rows, clean(g, rows, begin, found.run[which], since)),
    )


def by_day(g: Group, amount: Ints, weight: Ints | None = None) -> tuple[dict[str, Ints], Ints]:
    """(of `Traffic` what is counted by day, the first position of each row's 30 days and today). `weight`: for how
    many transactions a row stands (None: one each); then `amount` is their sum."""
    here, running = g.here, sums(amount)
    since, day, first, bucket = _month(g)
    begun = first[bucket]
    former = np.maximum(begun - 1, 0)
    follows = (begun > g.start) & (day[former] == day - 1)
    before = first[np.maximum(bucket - 1, 0)]
    # Up to each position: so many transactions.
    upto = None if weight is None else sums(weight)

    def between(begin: Ints, end: Ints) -> Ints:
        return end - begin if upto is None else upto[end] - upto[begin]

    return {
        "count": between(since, here),
        "total": running[:-1] - running[since],
        "today": between(begun, here),
        "yesterday": np.where(follows, between(before, begun), 0),
        "days": day - day[since],
    }, since


def frauds(g: Group, found: Spans) -> dict[str, Ints]:
    """Of `Traffic` the counts of known frauds."""
    return {
        "frauds_1d": known_frauds(found, g, 1),
        "frauds_7d": known_frauds(found, g, 7),
        "frauds_28d": known_frauds(found, g, 28),
        "rate_frauds": rate_frauds(found, g),
    }


def runs(at: Ints, rows: Ints, run: Ints) -> dict[str, Ints]:
    """Of `Traffic` what is said of the latest run of frauds; `rows` are the few that have one, `run` what it is."""
    told = {"run": run[:, 0], "run_first_ms": at[rows] - run[:, 1], "run_last_ms": at[rows] - run[:, 2]}
    return {name: scattered(len(at), rows, values) for name, values in told.items()}


def scattered(count: int, rows: Ints, values: Ints) -> Ints:
    out = np.zeros(count, np.int64)
    out[rows] = values
    return out


def day_after(moment: Any) -> Any:
    """When the next UTC day begins."""
    return (moment // DAY_MS + 1) * DAY_MS


def _month(g: Group) -> tuple[Ints, Ints, Ints, Ints]:
    """(first position of each row's 30 days and today, its day, first position of each (entity, day), which of these
    each row is in)."""
    day = g.at // DAY_MS
    first = changes(g.code, day)
    bucket = np.repeat(np.arange(len(first)), np.diff(first, append=len(g)))
    # What is less than 30 days old, and of the day that was 30 days ago what is older than that.
    since = g.since(WINDOW_MS)
    former = np.maximum(since - 1, 0)
    more = (since > g.start) & (day[former] == day - WINDOW_DAYS)
    begun = first[bucket]
    # Its rows that are less than 30 days old are already there, and begin with since where there are no older ones.
    return np.where(more, begun[former], since), day, first, bucket


def clean(g: Group, rows: Ints, begin: Ints, run: Ints, since: Ints, weight: Ints | None = None) -> Ints:
    """Of `Traffic` for some rows. `begin`: the first position of the day after each row's run; `since`: of each row's
    30 days; `weight`: as of `by_day`."""
    last, known = run[:, 2], run[:, 3]
    end = np.minimum(g.first_from(g.code[rows], day_after(g.at[rows] - (known - last))), rows)
    begin = np.minimum(np.maximum(begin, since[rows]), end)
    if weight is None:
        return end - begin
    upto = sums(weight)
    return upto[end] - upto[begin]


def others(g: Group, window_ms: int, following: Ints, named: NDArray[np.bool_]) -> Ints:
    """For each row, how many other names its entity met in the window. `named`: rows that meet somebody.

    All rows of the window, less those after which the same name was met again: each counts from the row after it was
    met until it is met again, or the window has passed.
    """
    since = g.since(window_ms)
    if named.all():
        met = g.here - since
    else:
        running = sums(named)
        met = running[:-1] - running[since]
    again = np.flatnonzero(following < len(g))
    again = again[g.at[following[again]] <= g.at[again] + window_ms]
    if not len(again):
        return met
    return met - g.stabbed(following[again], g.until(g.code[again], g.at[again] + window_ms))
