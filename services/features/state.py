"""What is remembered of one customer, terminal, merchant or device between transactions.

A state is a plain dict of numbers, strings and lists, so that MongoDB stores it as it is; every list is bounded, so
a state stays below about 6 kB whatever an entity does. Order of arrival is not trusted: lists that windows are cut
from stay sorted by event time, and something that arrives late is put where it belongs, or left out when it is
older than everything that is remembered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Any

State = dict[str, Any]

SECOND_MS = 1_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
WINDOW_DAYS = 30
WINDOW_MS = WINDOW_DAYS * DAY_MS

# A customer's transactions are trimmed from RECENT_MAX to RECENT_KEPT at once, so that trimming is rare.
RECENT_KEPT = 64
RECENT_MAX = 96
# The running mean and variance forget: beyond this many transactions each new one weighs 1/200.
MEMORY = 200
SEEN_MAX = 64
FRAUDS_MAX = 64
FRAUDS_KEPT_MS = 90 * DAY_MS
# Features say no more than this: a denser portfolio or a tiny divisor is not a stronger sign.
COUNT_CAP = 20
RATIO_CAP = 50.0
HOUR_BANDS = 8
BAND_MS = DAY_MS // HOUR_BANDS
# Channels where the card was where the terminal is.
CARD_PRESENT = ("pos", "atm")
# A fraud above this multiple of the customer's own mean amount is explained by its amount; below, by where it was.
EXPLAINED_RATIO = 3.0

CUSTOMER, TERMINAL, MERCHANT, DEVICE = "customer", "terminal", "merchant", "device"


def new_state(kind: str) -> State:
    """An empty state. `kind` is customer, terminal, merchant or device; anything else raises KeyError."""
    # Everything carries `frauds`: [transaction, known_ms, cleared_ms (0: stands), event_ms, unexplained (0|1)].
    if kind == CUSTOMER:
        return {
            "times": [],  # event times, ascending
            "amounts": [],  # their amounts
            "n": 0,  # transactions ever; mean and variance run over the last MEMORY or so
            "mean": 0.0,
            "var": 0.0,
            "first": 0,
            "hours": [0] * HOUR_BANDS,  # transactions ever by three-hour band of the UTC day
            "merchants": [],  # the last SEEN_MAX distinct ones, latest last; likewise below
            "countries": [],
            "categories": [],
            "devices": [],
            "place": [],  # [time, lon, lat] of the latest card-present transaction with coordinates
            "frauds": [],
        }
    if kind == DEVICE:
        return {"first": 0, "users": [], "used": [], "frauds": []}  # users: customers; used: when each last did
    return {
        TERMINAL: {"days": [], "counts": [], "sums": [], "frauds": []},
        MERCHANT: {"days": [], "counts": [], "sums": [], "frauds": []},
    }[kind]


def add_amount(state: State, at_ms: int, amount_minor: int) -> None:
    """Put one transaction into a customer's recent list and running mean and variance."""
    times, amounts = state["times"], state["amounts"]
    if not times or at_ms >= times[-1]:
        times.append(at_ms)
        amounts.append(amount_minor)
    elif len(times) < RECENT_KEPT or at_ms >= times[0]:
        place = bisect_right(times, at_ms)
        times.insert(place, at_ms)
        amounts.insert(place, amount_minor)
    if len(times) >= RECENT_MAX:
        del times[:-RECENT_KEPT]
        del amounts[:-RECENT_KEPT]
    n = state["n"]
    state["first"] = at_ms if n == 0 else min(state["first"], at_ms)
    state["n"] = n + 1
    # With weight 1/n this is the exact population mean and variance; with a constant weight, exponential forgetting.
    weight = 1.0 / (n + 1 if n < MEMORY else MEMORY)
    delta = amount_minor - state["mean"]
    state["mean"] += delta * weight
    state["var"] = (1.0 - weight) * (state["var"] + delta * delta * weight)


def remember(seen: list[str], name: str | None) -> None:
    """Move or add `name` to the end of a bounded list of distinct names; the one not met for longest falls out."""
    if name is None or (seen and seen[-1] == name):
        return
    if name in seen:
        seen.remove(name)
    elif len(seen) >= SEEN_MAX:
        del seen[0]
    seen.append(name)


def add_user(state: State, at_ms: int, customer_id: str) -> None:
    """Note that a customer used a device. At most SEEN_MAX customers are kept, those with the latest use."""
    users, used = state["users"], state["used"]
    state["first"] = at_ms if not users else min(state["first"], at_ms)
    if customer_id in users:
        place = users.index(customer_id)
        at_ms = max(at_ms, used.pop(place))
        del users[place]
    place = bisect_right(used, at_ms)
    used.insert(place, at_ms)
    users.insert(place, customer_id)
    if len(users) > SEEN_MAX:
        del users[0], used[0]


def add_to_day(state: State, at_ms: int, amount_minor: int) -> None:
    """Count a transaction in its UTC day; days more than WINDOW_DAYS before the latest are dropped or ignored."""
    days, counts, sums = state["days"], state["counts"], state["sums"]
    day = at_ms // DAY_MS
    if days and day == days[-1]:
        counts[-1] += 1
        sums[-1] += amount_minor
        return
    if days and day < days[-1] - WINDOW_DAYS:
        return
    place = bisect_left(days, day)
    if place < len(days) and days[place] == day:
        counts[place] += 1
        sums[place] += amount_minor
        return
    days.insert(place, day)
    counts.insert(place, 1)
    sums.insert(place, amount_minor)
    old = bisect_left(days, days[-1] - WINDOW_DAYS)
    del days[:old], counts[:old], sums[:old]


def add_verdict(
    frauds: list[list[Any]], transaction_id: str, *, value: str, known_ms: int, event_ms: int, unexplained: bool
) -> None:
    """Record a verdict in an entity's list of known frauds.

    A second fraud verdict on a transaction (an analyst's, then its chargeback) is not counted twice and counts from
    the earlier; a verdict other than fraud takes the transaction out from then on, and a later fraud verdict puts it
    back from that moment. Verdicts are given in the order they became known; one older than what is recorded for its
    transaction can only move the moment a fraud became known back.
    """
    for entry in frauds:
        if entry[0] != transaction_id:
            continue
        if value == "fraud":
            if entry[2] and known_ms >= entry[2]:
                entry[1], entry[2] = known_ms, 0
            else:
                entry[1] = min(entry[1], known_ms)
        elif not entry[2] and known_ms >= entry[1]:
            entry[2] = known_ms
        return
    if value != "fraud":
        return
    insort(frauds, [transaction_id, known_ms, 0, event_ms, int(unexplained)], key=_known)
    oldest = frauds[-1][1] - FRAUDS_KEPT_MS
    while len(frauds) > FRAUDS_MAX or frauds[0][1] < oldest:
        del frauds[0]


def _known(entry: list[Any]) -> int:
    moment: int = entry[1]
    return moment
