"""What is remembered of one entity between transactions: how it is updated, one transaction or verdict at a time.

A state is a plain dict of numbers, strings and lists, so that MongoDB stores it as it is. Every list is bounded, and
what falls out depends only on how much came in, so that the offline driver can tell it from positions alone. Order
of arrival is not trusted: lists that windows are cut from are sorted by event time, and something that arrives late
is put where it belongs, or left out when it is older than everything that is remembered. Sums are of integers, whose
order does not matter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Any

State = dict[str, Any]

SECOND_MS = 1_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
WINDOW_DAYS = 30
WINDOW_MS = WINDOW_DAYS * DAY_MS

# A payer's transactions are trimmed from RECENT_MAX to RECENT_KEPT at once, so that trimming is rare.
RECENT_KEPT = 64
RECENT_MAX = 96
# The usual amount is taken over the last 193 to 256 transactions: BLOCKS blocks, the newest of which is filling.
BLOCK = 64
BLOCKS = 4
SEEN_MAX = 64
FRAUDS_MAX = 64
HOUR_BANDS = 8
BAND_MS = DAY_MS // HOUR_BANDS
# Amounts are squared in two halves, so that sums of squares are exact in 64 bits up to AMOUNT_MAX minor units.
HALF_BITS = 24
HALF_MASK = (1 << HALF_BITS) - 1
AMOUNT_MAX = 1 << 47
# A fraud above this multiple of the payer's own mean amount is explained by its amount; below, by where it was.
EXPLAINED_RATIO = 3
RUN_GAP_MS = 7 * DAY_MS


def new_risk() -> State:
    """Known frauds of an entity; part of every state.

    frauds: [transaction, known_ms, event_ms, unexplained (0|1)] of those that stand, by known_ms. run: of the latest
    run of unexplained ones [length, first event_ms, last event_ms, when that became known]. fraud_days, fraud_counts:
    UTC days on which frauds became known, and how many.
    """
    return {"frauds": [], "run": [], "fraud_days": [], "fraud_counts": []}


def new_history(seen: Sequence[str] = ()) -> State:
    """A payer. `seen` are the kinds of which it is remembered which ones it met."""
    return {
        "n": 0,  # transactions ever
        "first": 0,  # the earliest one's time
        "times": [],  # of the recent ones, ascending
        "amounts": [],
        "blocks": [],  # sums over BLOCK transactions each, in order of arrival: [amounts, three of their squares]
        "hours": [0] * HOUR_BANDS,  # transactions ever by three-hour band of the UTC day
        "place": [],  # [time, lon, lat] of the latest one with coordinates
        "seen": {kind: new_seen() for kind in seen},
    } | new_risk()


def new_counterparty() -> State:
    return {"first": None, "days": [], "counts": [], "sums": [], "payers": new_seen()} | new_risk()


def new_category() -> State:
    return {"first": None, "days": [], "counts": [], "sums": []} | new_risk()


def new_seen() -> dict[str, list[Any]]:
    """Distinct names with the time each was last met, ascending by it; at most SEEN_MAX, those met latest."""
    return {"names": [], "used": []}


def halves(amount: Any) -> tuple[Any, Any, Any]:
    """The square of an amount as three integers (an int's or an array's): high*high, high*low, low*low."""
    high, low = amount >> HALF_BITS, amount & HALF_MASK
    return high * high, high * low, low * low


def add_to_history(s: State, at_ms: int, amount: int) -> None:
    times, amounts, n = s["times"], s["amounts"], s["n"]
    if not times or at_ms >= times[-1]:
        times.append(at_ms)
        amounts.append(amount)
    elif len(times) < RECENT_KEPT or at_ms >= times[0]:
        place = bisect_right(times, at_ms)
        times.insert(place, at_ms)
        amounts.insert(place, amount)
    if len(times) >= RECENT_MAX:
        del times[:-RECENT_KEPT]
        del amounts[:-RECENT_KEPT]
    blocks = s["blocks"]
    if n % BLOCK == 0:
        blocks.append([0, 0, 0, 0])
        if len(blocks) > BLOCKS:
            del blocks[0]
    block = blocks[-1]
    high, low = amount >> HALF_BITS, amount & HALF_MASK
    block[0] += amount
    block[1] += high * high
    block[2] += high * low
    block[3] += low * low
    if n == 0 or at_ms < s["first"]:
        s["first"] = at_ms
    s["n"] = n + 1
    s["hours"][at_ms % DAY_MS // BAND_MS] += 1


def usual(s: State) -> tuple[int, int, int, int, int]:
    """(transactions counted, their sum, three sums of squares) of a payer's blocks."""
    blocks, n = s["blocks"], s["n"]
    if len(blocks) == 1:
        return (n, *blocks[0])
    total, hh, hl, ll = 0, 0, 0, 0
    for block in blocks:
        total += block[0]
        hh += block[1]
        hl += block[2]
        ll += block[3]
    return n - BLOCK * max(0, -(-n // BLOCK) - BLOCKS), total, hh, hl, ll


def add_to_day(s: State, at_ms: int, amount: int) -> None:
    """Count a transaction in its UTC day; days more than WINDOW_DAYS before the latest are dropped or ignored."""
    days, counts, sums = s["days"], s["counts"], s["sums"]
    first = s["first"]
    if first is None or at_ms < first:
        s["first"] = at_ms
    day = at_ms // DAY_MS
    if days and day == days[-1]:
        counts[-1] += 1
        sums[-1] += amount
        return
    if days and day < days[-1] - WINDOW_DAYS:
        return
    place = bisect_left(days, day)
    if place < len(days) and days[place] == day:
        counts[place] += 1
        sums[place] += amount
        return
    days.insert(place, day)
    counts.insert(place, 1)
    sums.insert(place, amount)
    old = bisect_left(days, days[-1] - WINDOW_DAYS)
    if old:
        del days[:old], counts[:old], sums[:old]


def meet(seen: dict[str, list[Any]], at_ms: int, name: str | int) -> None:
    """Note that `name` was met. Of more than SEEN_MAX the one not met for longest falls out."""
    names, used = seen["names"], seen["used"]
    if names and names[-1] == name:
        if at_ms > used[-1]:
            used[-1] = at_ms
        return
    if name in names:
        place = names.index(name)
        at_ms = max(at_ms, used.pop(place))
        del names[place]
    if not used or at_ms >= used[-1]:
        used.append(at_ms)
        names.append(name)
    else:
        place = bisect_right(used, at_ms)
        used.insert(place, at_ms)
        names.insert(place, name)
    if len(names) > SEEN_MAX:
        del names[0], used[0]


def add_verdict(
    s: State, transaction_id: str, *, fraud: bool, known_ms: int, event_ms: int, unexplained: bool
) -> tuple[bool, list[list[Any]], bool]:
    """Record a verdict. Returns (a fraud was added, the entries that ended, whether they ended by being cleared).

    A second fraud verdict on a transaction (an analyst's, then its chargeback) is not counted twice and can only move
    the moment it became known back, which does not happen when verdicts come in that order; a verdict other
    than fraud takes the transaction out, and a later fraud verdict puts it back from that moment. Of more than
    FRAUDS_MAX the one known for longest falls out; a verdict on it is then like one on a transaction never heard of.
    """
    frauds = s["frauds"]
    for place, entry in enumerate(frauds):
        if entry[0] == transaction_id:
            if fraud:
                if known_ms < entry[1]:
                    _count(s, entry[1] // DAY_MS, -1)
                    _count(s, known_ms // DAY_MS, 1)
                    entry[1] = known_ms
                    frauds.sort(key=_known)
                    s["run"] = latest_run(frauds)
                return False, [], False
            del frauds[place]
            _count(s, entry[1] // DAY_MS, -1)
            s["run"] = latest_run(frauds)
            return False, [entry], True
    if not fraud:
        return False, [], False
    insort(frauds, [transaction_id, known_ms, event_ms, int(unexplained)], key=_known)
    _count(s, known_ms // DAY_MS, 1)
    ended = [frauds.pop(0)] if len(frauds) > FRAUDS_MAX else []
    if unexplained or ended:
        s["run"] = latest_run(frauds)
    return True, ended, False


def _count(s: State, day: int, change: int) -> None:
    days, counts = s["fraud_days"], s["fraud_counts"]
    place = bisect_left(days, day)
    if place < len(days) and days[place] == day:
        counts[place] += change
    elif change > 0:
        days.insert(place, day)
        counts.insert(place, change)
        old = bisect_left(days, days[-1] - WINDOW_DAYS)
        if old:
            del days[:old], counts[:old]


def latest_run(frauds: Sequence[Sequence[Any]]) -> list[int]:
    """[length, first event time, last one, when that became known] of the latest run of unexplained frauds; empty
    where there is none.

    A run is a series of such frauds at most 7 days apart by when they happened.
    """
    happened = sorted((entry[2], entry[1]) for entry in frauds if entry[3])
    if not happened:
        return []
    last, known_ms = happened[-1]
    length, first = 1, last
    for event_ms, _ in reversed(happened[:-1]):
        if first - event_ms > RUN_GAP_MS:
            break
        length, first = length + 1, event_ms
    return [length, first, last, known_ms]


def _known(entry: Sequence[Any]) -> int:
    moment: int = entry[1]
    return moment
