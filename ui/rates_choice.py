"""What the Fraud rates screen was asked: range, bucket, zone, measure, breakdown, filters, point. Pure, no Streamlit.

Ranges begin and end at midnight of the viewer's zone, except the last 24 hours, which end with the current hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from services.domain import local_time
from services.rates import Bucket, RatesQuery
from ui import format as fmt
from ui.rates_frames import ALL, Measure, Rank

PRESETS: dict[str, int] = {"24h": 1, "7d": 7, "30d": 30, "90d": 90, "150d": 150, "all": 3653}
CUSTOM = "custom"
USUAL_RANGE = "150d"
BUCKETS: tuple[Bucket, ...] = ("hour", "day", "week", "month")
# More points than this on a line cannot be told apart; a month by the hour fits.
MAX_BUCKETS = 750
MAX_DAYS = 3653
WHOLE_RANGE = "range"
_HOURS = {"hour": 1, "day": 24, "week": 168, "month": 730}


@dataclass(frozen=True, slots=True)
class Point:
    """What was picked to look into: a bucket (None: the whole range) and the values shown there ("all": any)."""

    bucket: datetime | None
    first: str = ALL
    second: str = ALL

    def to_address(self) -> list[str]:
        """Three words for the URL."""
        start = WHOLE_RANGE if self.bucket is None else f"{self.bucket.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
        return [start, self.first, self.second]


def point_from(words: Sequence[str]) -> Point | None:
    """The reverse of `Point.to_address`; None for anything else."""
    if len(words) != 3:
        return None
    if words[0] == WHOLE_RANGE:
        return Point(None, words[1], words[2])
    try:
        return Point(datetime.strptime(words[0], "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC), words[1], words[2])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the bar says; `start` <= event time < `end`, both aware and at whole hours of UTC.

    `coarser` is the bucket that was asked for where it would have given more than MAX_BUCKETS points.
    """

    start: datetime
    end: datetime
    bucket: Bucket
    zone: str
    measure: Measure
    dimensions: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rank: Rank = Rank.FRAUD
    compare: bool = False
    band: bool = True
    coarser: Bucket | None = None

    def query(self) -> RatesQuery:
        return RatesQuery(
            start=self.start,
            end=self.end,
            bucket=self.bucket,
            zone=self.zone,
            dimensions=self.dimensions,
            filters=self.filters,
        )

    def key(self) -> tuple[object, ...]:
        """Names what is read, for the cache."""
        return key_of(self.query())


def key_of(query: RatesQuery) -> tuple[object, ...]:
    filters = tuple(sorted(query.filters.items()))
    return (query.start, query.end, query.bucket, query.zone, query.dimensions, filters)


def zone_of(name: str | None) -> str:
    """The name if it is one of the IANA database, else UTC."""
    return name if name and name in available_timezones() else "UTC"


def zones(viewer: str) -> list[str]:
    """The viewer's own zone, UTC, then every place of the IANA database by name."""
    return list(dict.fromkeys((viewer, "UTC", *_places())))


@cache
def _places() -> tuple[str, ...]:
    names = available_timezones()
    return tuple(sorted(name for name in names if "/" in name and not name.startswith(("Etc/", "SystemV/"))))


def last_days(days: int, *, now: datetime, zone: str) -> tuple[datetime, datetime]:
    """The last `days` days of `zone`, today included."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return between(today - timedelta(days=days - 1), today, zone=zone)


def between(first: date, last: date, *, zone: str) -> tuple[datetime, datetime]:
    """From the beginning of `first` to the end of `last`, both days of `zone`."""
    return local_time.start_of_day(_number(first), zone), local_time.start_of_day(_number(last) + 1, zone)


def last_24_hours(now: datetime) -> tuple[datetime, datetime]:
    """24 whole hours, the current one included."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return end - timedelta(hours=24), end


def _number(day: date) -> int:
    return (day - local_time.EPOCH).days


def bounded(held: Sequence[date | None], *, today: date) -> tuple[date, date]:
    """The days that a date field holds: one stands for itself, none for the last 30, too many are cut at the start."""
    days = [day for day in held if day is not None] or [today - timedelta(days=29), today]
    first, last = min(days), max(days)
    return max(first, last - timedelta(days=MAX_DAYS - 1)), last


def usual_bucket(start: datetime, end: datetime) -> Bucket:
    """A readable number of points: hours for two days, days for a month, weeks for half a year, then months."""
    days = (end - start) / timedelta(days=1)
    return "hour" if days <= 2.1 else "day" if days <= 31.1 else "week" if days <= 200 else "month"


def readable_bucket(asked: Bucket, start: datetime, end: datetime) -> Bucket:
    """`asked`, or the next coarser that has at most MAX_BUCKETS buckets in the range."""
    hours = (end - start) / timedelta(hours=1)
    finer = BUCKETS[BUCKETS.index(asked) :]
    return next((bucket for bucket in finer if hours / _HOURS[bucket] <= MAX_BUCKETS), "month")


def bucket_end(start: datetime, bucket: Bucket, zone: str) -> datetime:
    """When the bucket that begins at `start` ends; days of 23 and 25 hours are right."""
    if bucket == "hour":
        return start + timedelta(hours=1)
    day = _number(start.astimezone(ZoneInfo(zone)).date())
    return local_time.start_of_day(local_time.next_bucket(day, bucket), zone)


def fits(choice: Choice, point: Point) -> bool:
    """Whether the view has such a point: its bucket in the range, a value for each dimension and for nothing else."""
    values = (point.first != ALL, point.second != ALL)
    if values != (len(choice.dimensions) > 0, len(choice.dimensions) > 1):
        return point == Point(None)
    if point.bucket is None:
        return True
    return point.bucket < choice.end and bucket_end(point.bucket, choice.bucket, choice.zone) > choice.start


def behind(choice: Choice, point: Point, *, rest: tuple[tuple[str, ...], ...] = ((), ())) -> RatesQuery:
    """The transactions behind a point: its bucket inside the range, its values beside the filters.

    `rest` holds, for each dimension, the values that "Other" stands for; a point on Other asks for exactly these.
    """
    start, end = choice.start, choice.end
    if point.bucket is not None:
        start = max(start, point.bucket)
        end = min(end, bucket_end(point.bucket, choice.bucket, choice.zone))
    filters = dict(choice.filters)
    for dimension, value, others in zip(choice.dimensions, (point.first, point.second), rest, strict=False):
        if value != ALL:
            filters[dimension] = others or (value,)
    return RatesQuery(start=start, end=end, bucket=choice.bucket, zone=choice.zone, filters=filters)


def range_words(start: datetime, end: datetime, zone: str) -> str:
    """'24 Jun to 20 Nov 2026'; with the time of day where the range is not one of whole days."""
    first, last = start.astimezone(ZoneInfo(zone)), end.astimezone(ZoneInfo(zone))
    if first.hour or last.hour:
        return f"{first.day} {first:%b %H:%M} to {last.day} {last:%b %Y %H:%M}"
    last -= timedelta(minutes=1)
    if first.date() == last.date():
        return f"{first.day} {first:%b %Y}"
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {first:%b}{year} to {last.day} {last:%b %Y}"


def bucket_words(start: datetime, bucket: str, zone: str) -> str:
    """'14 Oct 2026, 13:00', '14 Oct 2026', 'Week of 12 Oct 2026', 'October 2026'."""
    local = start.astimezone(ZoneInfo(zone))
    if bucket == "month":
        return f"{local:%B %Y}"
    day = f"{local.day} {local:%b %Y}"
    return {"hour": f"{day}, {local:%H:%M}", "week": f"Week of {day}"}.get(bucket, day)


class Control(StrEnum):
    """The words of the address, in the order in which a person reads the bar."""

    RANGE = "rates_range"
    DATES = "rates_dates"
    BUCKET = "rates_bucket"
    MEASURE = "rates_measure"
    BY = "rates_by"
    AND = "rates_and"
    RANK = "rates_top"
    ZONE = "rates_zone"


def unknown(address: Mapping[str, Sequence[str]], allowed: Mapping[str, tuple[str, Collection[str]]]) -> list[str]:
    """What the address says that is none of `allowed` {word of the address: (name, values)}: 'Range “9d”', in order."""
    found = []
    for word, (name, values) in allowed.items():
        found += [f"{name} “{value[:40]}”" for value in address.get(word, ()) if value not in values]
    return found


def fell_back(found: Sequence[str]) -> str:
    """One sentence for what `unknown` found."""
    named = found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
    plural = len(found) > 1
    return (
        f"This link asks for {named}, which {'do' if plural else 'does'} not exist here; "
        f"the usual {'values are' if plural else 'one is'} shown instead."
    )


def value_words(value: str) -> str:
    """Codes as words; bands, countries and anything with digits as they are."""
    return fmt.word(value) if value.islower() and value.replace("_", "").isalpha() else value
