"""Who pays: what is normal for this customer (card, account), and how far this transaction is from it.

`read` cuts the windows from a state, `features` turns what was cut into features; the offline driver cuts the same
windows from columns and calls the same `features`. Windows reach back from the event's time and include both ends
and everything that arrived before at the same millisecond; a transaction is never part of its own history.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import nan
from typing import Any, NamedTuple

from services.features.arithmetic import Arithmetic, cap, floor
from services.features.limits import COUNT_CAP, DAYS_CAP, GAP_CAP_S, RATIO_CAP
from services.features.memory import BAND_MS, DAY_MS, HALF_BITS, HOUR_MS, SECOND_MS, WINDOW_MS, State, usual

MEDIAN_OF = 32
_HABIT_AFTER = 10
# Standard deviations below this share of the mean are those of equal amounts, seen through rounding.
_SPREAD_FLOOR = 1e-6

SUFFIXES = (
    "hour_share",
    "count_10m",
    "count_1h",
    "count_24h",
    "count_7d",
    "burst_24h",
    "spend_24h_ratio",
    "mean_minor",
    "amount_to_mean",
    "amount_to_median",
    "amount_zscore",
    "amount_to_max_30d",
    "max_ratio_14d",
    "seconds_since_previous",
    "tenure_days",
    "frauds_28d",
)


class History(NamedTuple):
    """Integers, or columns of them. Counts and sums are over the remembered transactions up to the event's time."""

    n: Any  # transactions ever
    in_10m: Any
    in_1h: Any
    in_24h: Any
    in_7d: Any
    in_30d: Any
    spent_24h: Any  # minor units
    span_ms: Any  # since the first of those of the last 30 days
    largest_14d: Any  # minor units; 0 where there is none
    largest_30d: Any
    middle: Any  # the upper median of the last MEDIAN_OF amounts; 0 where there is none
    counted: Any  # the usual amount: how many, their sum, and the sum of squares in three parts
    total: Any
    high: Any
    cross: Any
    low: Any
    gap_ms: Any  # since the previous one; -1 where there is none
    age_ms: Any  # since the first ever
    in_band: Any  # transactions ever at this time of day
    frauds_28d: Any


_NOTHING = History(*[0] * 20)._replace(gap_ms=-1)


def read(s: State | None, at: int) -> History:
    if s is None or not s["n"]:
        return _NOTHING._replace(frauds_28d=known_frauds(s["frauds"], at, 28)) if s and s["frauds"] else _NOTHING
    times, amounts = s["times"], s["amounts"]
    end = len(times) if times[-1] <= at else bisect_right(times, at)
    day = bisect_left(times, at - DAY_MS, 0, end)
    fortnight = bisect_left(times, at - 14 * DAY_MS, 0, day)
    month = bisect_left(times, at - WINDOW_MS, 0, fortnight)
    recent = sorted(amounts[max(end - MEDIAN_OF, 0) : end])
    counted, total, high, cross, low = usual(s)
    return History(
        s["n"],
        end - bisect_left(times, at - 600 * SECOND_MS, day, end),
        end - bisect_left(times, at - HOUR_MS, day, end),
        end - day,
        end - bisect_left(times, at - 7 * DAY_MS, fortnight, day),
        end - month,
        sum(amounts[day:end]),
        at - times[month] if end > month else 0,
        max(amounts[fortnight:end]) if end > fortnight else 0,
        max(amounts[month:end]) if end > month else 0,
        recent[len(recent) // 2] if recent else 0,
        counted,
        total,
        high,
        cross,
        low,
        at - times[end - 1] if end else -1,
        at - s["first"],
        s["hours"][at % DAY_MS // BAND_MS],
        known_frauds(s["frauds"], at, 28) if s["frauds"] else 0,
    )


def known_frauds(frauds: list[list[Any]], at: int, days: int) -> int:
    """Frauds that became known in the last `days` days."""
    since, found = at - days * DAY_MS, 0
    for entry in reversed(frauds):
        known = entry[1]
        if known < since:
            break
        if known <= at:
            found += 1
    return found


def features(o: Arithmetic, h: History, amount: Any) -> list[Any]:
    """In the order of SUFFIXES; nan where there is nothing to compare with."""
    known = h.n > 0
    mean = o.divide(h.total, h.counted)
    # Spread over the usual amounts: the mean of squares less the square of the mean.
    squares = o.number(h.high) * 2.0 ** (2 * HALF_BITS) + o.number(h.cross) * 2.0 ** (HALF_BITS + 1) + o.number(h.low)
    deviation = o.root(o.divide(squares, h.counted) - mean * mean)
    spread = o.choose((h.n >= 3) & (deviation > mean * _SPREAD_FLOOR), deviation, nan)
    zscore = o.divide(amount - mean, spread)
    span = floor(o, o.number(h.span_ms) / DAY_MS, 1.0)
    any_30d = h.in_30d > 0
    return [
        o.choose(h.n >= _HABIT_AFTER, o.divide(h.in_band, h.n), nan),
        cap(o, o.number(h.in_10m), COUNT_CAP),
        cap(o, o.number(h.in_1h), COUNT_CAP),
        cap(o, o.number(h.in_24h), COUNT_CAP),
        cap(o, o.number(h.in_7d), COUNT_CAP),
        # Transactions a day over the part of the last 30 days that is remembered, which is at least one day.
        o.choose(any_30d, cap(o, o.divide(h.in_24h * span, h.in_30d), RATIO_CAP), o.choose(known, 0.0, nan)),
        cap(o, o.divide(h.spent_24h + amount, mean), RATIO_CAP),
        mean,
        cap(o, o.divide(amount, mean), RATIO_CAP),
        cap(o, o.divide(amount, h.middle), RATIO_CAP),
        floor(o, cap(o, zscore, RATIO_CAP), -RATIO_CAP),
        cap(o, o.divide(amount, h.largest_30d), RATIO_CAP),
        cap(o, o.choose(h.largest_14d > 0, o.divide(h.largest_14d, mean), nan), RATIO_CAP),
        o.choose(h.gap_ms >= 0, cap(o, o.number(h.gap_ms) / SECOND_MS, GAP_CAP_S), nan),
        floor(o, cap(o, o.number(h.age_ms) / DAY_MS, DAYS_CAP), 0.0),
        cap(o, o.number(h.frauds_28d), COUNT_CAP),
    ]
