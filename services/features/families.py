"""The families of features: own history, novelty, geography, device, terminal, merchant. Pure and read-only.

Each function returns its part of the vector, in the order of the catalogue; `s` is the entity's state or None where
the entity has not been met. Windows include both ends.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import asin, cos, nan, radians, sin, sqrt

from services.features.events import Event
from services.features.state import (
    BAND_MS,
    CARD_PRESENT,
    COUNT_CAP,
    DAY_MS,
    HOUR_MS,
    RATIO_CAP,
    SECOND_MS,
    WINDOW_DAYS,
    WINDOW_MS,
    State,
)

_EARTH_KM = 6371.0
_SPEED_CAP_KMH = 5000.0
# Two readings closer in time than this say nothing about speed: clocks of terminals differ.
_SPEED_FLOOR_MS = 5 * 60 * SECOND_MS
_GAP_CAP_S = 7 * 86_400.0
_TENURE_CAP_DAYS = 30.0
_MEDIAN_OF = 32
_HABIT_AFTER = 10
# Added to the denominator of a fraud rate, so that one fraud in one transaction is not a rate of 100 %.
_RATE_PRIOR = 5.0
_RUN_GAP_MS = 7 * DAY_MS
_RUN_ENDS_MS = 35 * DAY_MS


def no_history(event: Event) -> list[float]:
    return [float(event.amount_minor), nan, 0.0, 0.0, 0.0, 0.0, *[nan] * 9, 0.0, 0.0]


def own_history(event: Event, s: State) -> list[float]:
    at, amount = event.at_ms, event.amount_minor
    times, amounts, n, mean = s["times"], s["amounts"], s["n"], s["mean"]
    end = len(times) if times[-1] <= at else bisect_right(times, at)
    day = bisect_left(times, at - DAY_MS, 0, end)
    month = bisect_left(times, at - WINDOW_MS, 0, day)
    fortnight = bisect_left(times, at - 14 * DAY_MS, month, day)
    in_day = end - day
    out = [
        float(amount),
        s["hours"][at % DAY_MS // BAND_MS] / n if n >= _HABIT_AFTER else nan,
        float(min(end - bisect_left(times, at - 600 * SECOND_MS, day, end), COUNT_CAP)),
        float(min(end - bisect_left(times, at - HOUR_MS, day, end), COUNT_CAP)),
        float(min(in_day, COUNT_CAP)),
        float(min(end - bisect_left(times, at - 7 * DAY_MS, fortnight, day), COUNT_CAP)),
    ]
    if end > month:
        # Transactions a day over the part of the last 30 days that is remembered, which is at least one day.
        span = max((at - times[month]) / DAY_MS, 1.0)
        out.append(min(in_day * span / (end - month), RATIO_CAP))
        largest = max(amounts[month:end])
        to_largest = min(amount / largest, RATIO_CAP) if largest else nan
    else:
        out.append(0.0)
        to_largest = nan
    sd = sqrt(s["var"])
    usual = sorted(amounts[max(end - _MEDIAN_OF, 0) : end])
    middle = usual[len(usual) // 2] if usual else 0
    out += (
        min((sum(amounts[day:end]) + amount) / mean, RATIO_CAP) if mean else nan,
        mean,
        min(amount / mean, RATIO_CAP) if mean else nan,
        min(amount / middle, RATIO_CAP) if middle else nan,
        max(-RATIO_CAP, min((amount - mean) / sd, RATIO_CAP)) if n >= 3 and sd > 0 else nan,
        to_largest,
        min(max(amounts[fortnight:end]) / mean, RATIO_CAP) if mean and end > fortnight else nan,
        min((at - times[end - 1]) / SECOND_MS, _GAP_CAP_S) if end else nan,
        max(0.0, min((at - s["first"]) / DAY_MS, _TENURE_CAP_DAYS)),
        float(_known_frauds(s, at, 28 * DAY_MS)),
    )
    return out


def novelty(event: Event, s: State) -> list[float]:
    country, device = event.country, event.device_id
    return [
        0.0 if event.merchant_id in s["merchants"] else 1.0,
        nan if country is None else 0.0 if country in s["countries"] else 1.0,
        0.0 if event.category in s["categories"] else 1.0,
        nan if device is None else 0.0 if device in s["devices"] else 1.0,
    ]


def geography(event: Event, s: State | None) -> list[float]:
    lon, lat, home, country = event.lon, event.lat, event.home_country, event.country
    foreign = nan if home is None or country is None else 0.0 if home == country else 1.0
    if lon is None or lat is None or event.channel not in CARD_PRESENT:
        return [nan, nan, foreign]
    away = nan
    if event.home_lon is not None and event.home_lat is not None:
        away = kilometres(event.home_lon, event.home_lat, lon, lat)
    speed = nan
    if s is not None and s["place"] and s["place"][0] <= event.at_ms:
        then, former_lon, former_lat = s["place"]
        hours = max(event.at_ms - then, _SPEED_FLOOR_MS) / HOUR_MS
        speed = min(kilometres(former_lon, former_lat, lon, lat) / hours, _SPEED_CAP_KMH)
    return [away, speed, foreign]


def device(event: Event, s: State | None) -> list[float]:
    if event.device_id is None:
        return [nan, nan, nan]
    if s is None:
        return [0.0, 0.0, 0.0]
    at, used = event.at_ms, s["used"]
    since, until = bisect_left(used, at - WINDOW_MS), bisect_right(used, at)
    others = until - since - (1 if event.customer_id in s["users"][since:until] else 0)
    age = max(0.0, min((at - s["first"]) / DAY_MS, _TENURE_CAP_DAYS)) if used else 0.0
    return [float(min(others, COUNT_CAP)), age, float(_known_frauds(s, at, 28 * DAY_MS))]


def terminal(event: Event, s: State | None) -> list[float]:
    if event.terminal_id is None:
        return [nan] * 6
    if s is None or not s["frauds"]:
        return [0.0, 0.0, 0.0, 0.0, 0.0, nan]
    at = event.at_ms
    month = _known_frauds(s, at, 28 * DAY_MS)
    run, age = _run(s, at)
    return [
        float(_known_frauds(s, at, DAY_MS)),
        float(_known_frauds(s, at, 7 * DAY_MS)),
        float(month),
        month / (_days(s, at)[0] + _RATE_PRIOR),
        float(min(run, COUNT_CAP)),
        age,
    ]


def merchant(event: Event, s: State | None) -> list[float]:
    if s is None:
        return [0.0, 0.0, nan, nan]
    at = event.at_ms
    count, total, today, yesterday, first = _days(s, at)
    month = _known_frauds(s, at, 28 * DAY_MS) if s["frauds"] else 0
    # The last 24 hours: today, and the part of yesterday that is less than a day ago, taken as even.
    part = at % DAY_MS / DAY_MS
    span = max(at / DAY_MS - first, 1.0)
    return [
        float(_known_frauds(s, at, 7 * DAY_MS)) if month else 0.0,
        month / (count + _RATE_PRIOR),
        min(event.amount_minor * count / total, RATIO_CAP) if total else nan,
        min((today + (1.0 - part) * yesterday) * span / count, RATIO_CAP) if count else nan,
    ]


def _days(s: State, at: int) -> tuple[int, int, int, int, int]:
    """(count, minor units, today's count, yesterday's count, first day) over an entity's 30 days up to an event."""
    days, counts, sums = s["days"], s["counts"], s["sums"]
    day = at // DAY_MS
    end = len(days) if days and days[-1] <= day else bisect_right(days, day)
    start = bisect_left(days, day - WINDOW_DAYS, 0, end)
    if start == end:
        return 0, 0, 0, 0, day
    today = yesterday = 0
    last = end - 1
    if days[last] == day:
        today = counts[last]
        last -= 1
    if last >= start and days[last] == day - 1:
        yesterday = counts[last]
    return sum(counts[start:end]), sum(sums[start:end]), today, yesterday, days[start]


def _known_frauds(s: State, at: int, window_ms: int) -> int:
    """Frauds that became known in the window and stand at `at`."""
    since, found = at - window_ms, 0
    for _, known, cleared, _, _ in s["frauds"]:
        if since <= known <= at and (not cleared or cleared > at):
            found += 1
    return found


def _run(s: State, at: int) -> tuple[int, float]:
    """(length, age in days) of the latest run of known frauds that their amount does not explain.

    A run is a series of such frauds at most 7 days apart by when they happened; its age counts from its first.
    It is over, (0, nan), when its last happened more than 35 days ago.
    """
    happened = sorted(
        event
        for _, known, cleared, event, bare in s["frauds"]
        if bare and known <= at and (not cleared or cleared > at)
    )
    if not happened or at - happened[-1] > _RUN_ENDS_MS:
        return 0, nan
    length, first = 1, happened[-1]
    for event in reversed(happened[:-1]):
        if first - event > _RUN_GAP_MS:
            break
        length, first = length + 1, event
    return length, max(0.0, (at - first) / DAY_MS)


def kilometres(lon: float, lat: float, other_lon: float, other_lat: float) -> float:
    """Great-circle distance of two points in degrees (haversine, a sphere of 6371 km)."""
    phi, other_phi = radians(lat), radians(other_lat)
    half = sin((other_phi - phi) / 2) ** 2
    half += cos(phi) * cos(other_phi) * sin(radians(other_lon - lon) / 2) ** 2
    return 2 * _EARTH_KM * asin(min(1.0, sqrt(half)))
