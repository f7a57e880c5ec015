"""Whom or through what is paid: a merchant, terminal, device, beneficiary; and a category, of which less is kept.

As in `history`, `read` cuts windows from a state and `features` makes features of them, for both drivers. Transactions
are counted by UTC day, because a busy merchant has too many to remember each; frauds by the moment they became known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import nan
from typing import Any, NamedTuple

from services.features.arithmetic import Arithmetic, cap, floor
from services.features.limits import COUNT_CAP, DAYS_CAP, RATIO_CAP
from services.features.memory import DAY_MS, WINDOW_DAYS, WINDOW_MS, State

# Added to the denominator of a fraud rate, so that one fraud in one transaction is not a rate of 100 %.
RATE_PRIOR = 5.0
RATE_DAYS = 28
RUN_ENDS_MS = 35 * DAY_MS

SUFFIXES = (
    "frauds_1d",
    "frauds_7d",
    "frauds_28d",
    "fraud_rate_28d",
    "unexplained_run",
    "run_age_days",
    "clean_since_fraud",
    "amount_to_mean",
    "burst_24h",
    "other_payers_30d",
    "age_days",
)
CATEGORY_SUFFIXES = ("fraud_rate_28d",)
# More frauds than this are searched, fewer are counted one by one.
_MANY = 24


# Of an entity: its id, or offline a code that stands for it.
Name = str | int


class Traffic(NamedTuple):
    """Integers, or columns of them. Transactions by UTC day up to the event's day; frauds known so far."""

    count: Any  # of the last 30 days and today
    total: Any  # minor units
    today: Any
    yesterday: Any
    days: Any  # whole days since the first day counted
    age_ms: Any  # since the first transaction ever; 0 where there is none
    others: Any  # other payers of the last 30 days
    frauds_1d: Any
    frauds_7d: Any
    frauds_28d: Any
    rate_frauds: Any  # frauds that became known on the last 28 days and today
    run: Any  # length of the latest run of unexplained frauds; 0 where there is none
    run_first_ms: Any  # since its first and its last fraud happened
    run_last_ms: Any
    clean: Any  # transactions on the days since its last fraud that would be known by now if they were frauds


_NOTHING = Traffic(*[0] * 15)


def read(s: State | None, at: int, payer: Name | None) -> Traffic:
    """`payer` is who pays now, for `others`; states of categories have no payers."""
    if s is None:
        return _NOTHING
    count, total, today, yesterday, length = _days(s, at)
    frauds, run = s["frauds"], s["run"]
    return Traffic(
        count,
        total,
        today,
        yesterday,
        length,
        at - s["first"] if s["first"] is not None else 0,
        others(s["payers"], at, WINDOW_MS, payer) if "payers" in s else 0,
        *(recent_frauds(frauds, at) if frauds else (0, 0, 0)),
        _rate_frauds(s, at) if s["fraud_days"] else 0,
        run[0] if run else 0,
        at - run[1] if run else 0,
        at - run[2] if run else 0,
        _clean(s, at) if run else 0,
    )


def _days(s: State, at: int) -> tuple[int, int, int, int, int]:
    days, counts, sums = s["days"], s["counts"], s["sums"]
    day = at // DAY_MS
    end = len(days) if days and days[-1] <= day else bisect_right(days, day)
    start = bisect_left(days, day - WINDOW_DAYS, 0, end)
    if start == end:
        return 0, 0, 0, 0, 0
    today = yesterday = 0
    last = end - 1
    if days[last] == day:
        today = counts[last]
        last -= 1
    if last >= start and days[last] == day - 1:
        yesterday = counts[last]
    return sum(counts[start:end]), sum(sums[start:end]), today, yesterday, day - days[start]


def others(seen: dict[str, list[Any]], at: int, window_ms: int, name: Name | None) -> int:
    """How many names other than `name` were met in the window; not more than COUNT_CAP."""
    used, since = seen["used"], at - window_ms
    if not used or used[-1] < since:
        return 0
    begin = bisect_left(used, since)
    end = len(used) if used[-1] <= at else bisect_right(used, at)
    if end - begin > COUNT_CAP:
        return int(COUNT_CAP)
    return end - begin - (1 if name in seen["names"][begin:end] else 0)


def recent_frauds(frauds: list[list[Any]], at: int) -> tuple[int, int, int]:
    """Frauds that became known in the last day, 7 and 28 days."""
    month, week, day = at - 28 * DAY_MS, at - 7 * DAY_MS, at - DAY_MS
    if len(frauds) > _MANY:
        end = bisect_right(frauds, at, key=_known)
        since = [bisect_left(frauds, moment, 0, end, key=_known) for moment in (day, week, month)]
        return end - since[0], end - since[1], end - since[2]
    in_month = in_week = in_day = 0
    for entry in reversed(frauds):
        known = entry[1]
        if known < month:
            break
        if known <= at:
            in_month += 1
            in_week += known >= week
            in_day += known >= day
    return in_day, in_week, in_month


def _known(entry: list[Any]) -> Any:
    return entry[1]


def _clean(s: State, at: int) -> int:
    """Transactions of the days after that of the run's last fraud, up to the day from which labels like that fraud's,
    as long after the event, are known by now."""
    days, run = s["days"], s["run"]
    begin = bisect_left(days, max(run[2] // DAY_MS + 1, at // DAY_MS - WINDOW_DAYS))
    end = bisect_right(days, min((at - (run[3] - run[2])) // DAY_MS, at // DAY_MS))
    return sum(s["counts"][begin:end])


def _rate_frauds(s: State, at: int) -> int:
    days, day = s["fraud_days"], at // DAY_MS
    start, end = bisect_left(days, day - RATE_DAYS), bisect_right(days, day)
    return sum(s["fraud_counts"][start:end])


def features(o: Arithmetic, t: Traffic, at: Any, amount: Any) -> list[Any]:
    """In the order of SUFFIXES; of an entity never met, zeros and nan where there is nothing to compare with."""
    # The last 24 hours: today, and the part of yesterday that is less than a day ago, taken as even.
    left = 1.0 - o.number(at % DAY_MS) / DAY_MS
    span = floor(o, o.number(t.days) + o.number(at % DAY_MS) / DAY_MS, 1.0)
    running = (t.run > 0) & (t.run_last_ms <= RUN_ENDS_MS)
    return [
        cap(o, o.number(t.frauds_1d), COUNT_CAP),
        cap(o, o.number(t.frauds_7d), COUNT_CAP),
        cap(o, o.number(t.frauds_28d), COUNT_CAP),
        rate(o, t),
        o.choose(running, cap(o, o.number(t.run), COUNT_CAP), 0.0),
        o.choose(running, floor(o, o.number(t.run_first_ms) / DAY_MS, 0.0), nan),
        o.choose(running, cap(o, o.number(t.clean), COUNT_CAP), nan),
        cap(o, o.divide(amount, o.divide(t.total, t.count)), RATIO_CAP),
        cap(o, o.divide((t.today + left * t.yesterday) * span, t.count), RATIO_CAP),
        cap(o, o.number(t.others), COUNT_CAP),
        floor(o, cap(o, o.number(t.age_ms) / DAY_MS, DAYS_CAP), 0.0),
    ]


def rate(o: Arithmetic, t: Traffic) -> Any:
    """Share of known fraud, shrunk towards none where there are few transactions."""
    return o.number(t.rate_frauds) / (o.number(t.count) + RATE_PRIOR)
