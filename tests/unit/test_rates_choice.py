"""What the bar of the fraud rates means: days of the viewer's clock, readable buckets, points, and addresses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from services.rates import Bucket
from ui import rates_choice
from ui.rates_choice import Choice, Point
from ui.rates_frames import OTHER, Measure

NOW = datetime(2026, 11, 22, 18, 40, tzinfo=UTC)


def choice(**over: object) -> Choice:
    start, end = rates_choice.last_days(30, now=NOW, zone="Europe/Berlin")
    held = {"start": start, "end": end, "bucket": "day", "zone": "Europe/Berlin", "measure": Measure.VALUE, **over}
    return Choice(**held)  # type: ignore[arg-type]


def test_days_are_those_of_the_viewers_clock_today_included() -> None:
    start, end = rates_choice.last_days(7, now=datetime(2026, 11, 22, 23, 30, tzinfo=UTC), zone="Europe/Berlin")
    assert start == datetime(2026, 11, 16, 23, tzinfo=UTC)
    assert end == datetime(2026, 11, 23, 23, tzinfo=UTC)


def test_a_day_of_a_zone_off_by_half_an_hour_begins_at_its_midnight() -> None:
    start, _ = rates_choice.between(date(2026, 5, 2), date(2026, 5, 2), zone="Asia/Kolkata")
    assert start == datetime(2026, 5, 1, 18, 30, tzinfo=UTC)


def test_a_range_over_the_change_of_clocks_is_an_hour_longer() -> None:
    start, end = rates_choice.between(date(2026, 10, 25), date(2026, 10, 25), zone="Europe/Berlin")
    assert end - start == timedelta(hours=25)


def test_the_last_24_hours_end_with_the_current_hour() -> None:
    assert rates_choice.last_24_hours(NOW) == (
        datetime(2026, 11, 21, 19, tzinfo=UTC),
        datetime(2026, 11, 22, 19, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("days", "bucket"), [(1, "hour"), (2, "hour"), (7, "day"), (31, "day"), (32, "week"), (200, "week"), (201, "month")]
)
def test_usual_bucket_gives_a_readable_number_of_points(days: int, bucket: str) -> None:
    assert rates_choice.usual_bucket(NOW - timedelta(days=days), NOW) == bucket


@pytest.mark.parametrize(
    ("asked", "days", "shown"), [("hour", 31, "hour"), ("hour", 32, "day"), ("day", 750, "day"), ("day", 751, "week")]
)
def test_a_bucket_with_too_many_points_becomes_coarser(asked: Bucket, days: int, shown: str) -> None:
    assert rates_choice.readable_bucket(asked, NOW - timedelta(days=days), NOW) == shown


def test_custom_range_accepts_half_a_choice_and_bounds_its_length() -> None:
    today = date(2026, 11, 22)
    assert rates_choice.bounded((), today=today) == (date(2026, 10, 24), today)
    assert rates_choice.bounded((date(2026, 5, 1),), today=today) == (date(2026, 5, 1), date(2026, 5, 1))
    first, last = rates_choice.bounded((date(1990, 1, 1), date(2026, 1, 1)), today=today)
    assert (last - first).days == rates_choice.MAX_DAYS - 1


@pytest.mark.parametrize(
    ("bucket", "start", "end"),
    [
        ("hour", datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("day", datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)),
        ("week", datetime(2026, 10, 18, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)),
        ("month", datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)),
    ],
)
def test_buckets_end_at_local_midnight_also_when_clocks_change(bucket: Bucket, start: datetime, end: datetime) -> None:
    assert rates_choice.bucket_end(start, bucket, "Europe/Berlin") == end


def test_behind_a_point_is_its_bucket_within_the_range_with_its_value_beside_the_filters() -> None:
    held = choice(bucket="week", dimensions=("channel",), filters={"country": ("DE",)})
    query = rates_choice.behind(held, Point(datetime(2026, 11, 15, 23, tzinfo=UTC), "ecom"))
    assert (query.start, query.end) == (datetime(2026, 11, 15, 23, tzinfo=UTC), held.end)
    assert query.filters == {"country": ("DE",), "channel": ("ecom",)}
    first = rates_choice.behind(held, Point(datetime(2026, 10, 18, 22, tzinfo=UTC), "ecom"))
    assert first.start == held.start


def test_behind_other_are_exactly_the_values_it_sums() -> None:
    held = choice(dimensions=("channel", "country"))
    query = rates_choice.behind(held, Point(None, OTHER, "DE"), rest=(("atm", "moto"), ()))
    assert query.filters == {"channel": ("atm", "moto"), "country": ("DE",)}
    assert (query.start, query.end) == (held.start, held.end)


def test_a_point_fits_only_a_view_that_has_it() -> None:
    inside, before = datetime(2026, 11, 15, 23, tzinfo=UTC), datetime(2026, 9, 1, 22, tzinfo=UTC)
    plain, split = choice(), choice(dimensions=("channel",))
    assert rates_choice.fits(plain, Point(inside))
    assert rates_choice.fits(split, Point(inside, "ecom"))
    assert rates_choice.fits(split, Point(None))
    assert not rates_choice.fits(plain, Point(before))
    assert not rates_choice.fits(plain, Point(inside, "ecom"))
    assert not rates_choice.fits(split, Point(inside))
    assert not rates_choice.fits(split, Point(inside, "ecom", "DE"))


@pytest.mark.parametrize("point", [Point(datetime(2026, 5, 1, 22, tzinfo=UTC), "a~b", "all"), Point(None, "x", "y")])
def test_a_point_comes_back_from_its_address(point: Point) -> None:
    assert rates_choice.point_from(point.to_address()) == point


@pytest.mark.parametrize("words", [[], ["range"], ["yesterday", "a", "b"], ["2026-13-01T00:00Z", "a", "b"]])
def test_nonsense_is_no_point(words: list[str]) -> None:
    assert rates_choice.point_from(words) is None


def test_what_an_address_asks_for_in_vain_is_named_in_one_sentence() -> None:
    allowed = {"range": ("range", {"7d"}), "by": ("breakdown", {"Channel"}), "zone": ("time zone", {"UTC"})}
    address = {"range": ["9d"], "by": ["Channel"], "zone": ["Mars/Olympus"], "utm": ["x"]}
    found = rates_choice.unknown(address, allowed)
    assert found == ["range “9d”", "time zone “Mars/Olympus”"]
    assert rates_choice.fell_back(found) == (
        "This link asks for range “9d” and time zone “Mars/Olympus”, which do not exist here; "
        "the usual values are shown instead."
    )
    assert "does not exist here; the usual one is shown" in rates_choice.fell_back(found[:1])


def test_ranges_and_buckets_in_words() -> None:
    start, end = rates_choice.between(date(2025, 12, 30), date(2026, 1, 2), zone="UTC")
    assert rates_choice.range_words(start, end, "UTC") == "30 Dec 2025 to 2 Jan 2026"
    assert rates_choice.range_words(*rates_choice.last_24_hours(NOW), "UTC") == "21 Nov 19:00 to 22 Nov 2026 19:00"
    assert rates_choice.range_words(*rates_choice.between(date(2026, 1, 2), date(2026, 1, 2), zone="UTC"), "UTC") == (
        "2 Jan 2026"
    )
    assert rates_choice.bucket_words(start, "hour", "Asia/Kolkata") == "30 Dec 2025, 05:30"
    assert rates_choice.bucket_words(start, "week", "UTC") == "Week of 30 Dec 2025"
    assert rates_choice.bucket_words(start, "month", "UTC") == "December 2025"


def test_an_unknown_zone_is_utc() -> None:
    assert [rates_choice.zone_of(name) for name in (None, "", "Mars/Olympus", "Asia/Kolkata")] == [
        "UTC", "UTC", "UTC", "Asia/Kolkata",
    ]  # fmt: skip
