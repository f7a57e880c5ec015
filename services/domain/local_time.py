"""Days, weeks and months as a person's clock has them, in numbers a query can compute with. Pure.

A day is named by its date, counted from 1970-01-01; it begins at local midnight, whatever daylight saving does to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.errors import InvalidData

EPOCH = date(1970, 1, 1)
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Offsets:
    """Seconds to add to UTC: `first` before the first change; each change is (UTC second, seconds from then on)."""

    first: int
    changes: tuple[tuple[int, int], ...]

    def at(self, second: int) -> int:
        offset = self.first
        for begins, seconds in self.changes:
            if second >= begins:
                offset = seconds
        return offset

    def day(self, second: int) -> int:
        """The local date of a UTC second, in days since 1970."""
        return (second + self.at(second)) // DAY_SECONDS


def zone_of(name: str) -> ZoneInfo:
    """Raises InvalidData for a name that is no time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidData(f"There is no time zone {name!r}; use a name such as Europe/Paris.") from error


@lru_cache(maxsize=256)
def offsets(zone: str, start: int, end: int) -> Offsets:
    """The zone's offsets from UTC second `start` up to `end`, changes to the second."""
    found: list[tuple[int, int]] = []
    before = first = _offset(zone, start)
    low = start
    while low < end:
        high = min(low + DAY_SECONDS, end)
        if (after := _offset(zone, high)) != before:
            found.append((_change(zone, low, high, before), after))
        low, before = high, after
    return Offsets(first, tuple(found))


def start_of_day(day: int, zone: str) -> datetime:
    """The first moment of a local date, in UTC."""
    at = EPOCH + timedelta(days=day)
    return datetime(at.year, at.month, at.day, tzinfo=zone_of(zone)).astimezone(UTC)


def start_of_bucket(day: int, bucket: str) -> int:
    """The first date of the day's, week's (Monday) or month's bucket, in days since 1970."""
    if bucket == "week":
        return day - (day + 3) % 7
    if bucket == "month":
        at = EPOCH + timedelta(days=day)
        return day - at.day + 1
    return day


def next_bucket(day: int, bucket: str) -> int:
    """The first date after the bucket that begins on this date."""
    if bucket == "month":
        at = EPOCH + timedelta(days=day)
        return (date(at.year + at.month // 12, at.month % 12 + 1, 1) - EPOCH).days
    return day + (7 if bucket == "week" else 1)


def _change(zone: str, low: int, high: int, before: int) -> int:
    """The first second after `low` at which the offset is not `before` any more."""
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: str, second: int) -> int:
    moment = datetime.fromtimestamp(second, UTC).astimezone(zone_of(zone)).utcoffset()
    assert moment is not None
    return int(moment.total_seconds())
