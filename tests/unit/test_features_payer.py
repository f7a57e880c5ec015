"""A payer's features against numbers computed by hand."""

from __future__ import annotations

from math import isnan, pi, sqrt

import pytest

from services.features import DEMO
from services.features.arithmetic import SCALARS, kilometres
from tests.unit.feature_events import DAY, HOUR, MINUTE, SECOND, after, at


def test_the_vector_has_one_value_for_each_feature_and_names_are_unique() -> None:
    assert len(DEMO.compute(at(0), {})) == len(DEMO.names) == len(set(DEMO.names)) == len(DEMO.features)
    assert len(DEMO.step(at(0, device_id="d"), {})) == len(DEMO.names)


def test_an_unknown_customer_has_no_normal() -> None:
    f = after([], at(0))
    assert f["amount_minor"] == 1_000
    assert f["customer_count_24h"] == f["customer_tenure_days"] == f["customer_frauds_28d"] == 0
    for name in ("amount_to_mean", "amount_zscore", "seconds_since_previous", "merchant_new", "customer_hour_share"):
        assert isnan(f[name]), name


def test_counts_cover_windows_with_both_ends() -> None:
    history = [at(-8 * DAY), at(-7 * DAY), at(-1 * DAY), at(-1 * HOUR), at(-10 * MINUTE), at(0)]
    f = after(history, at(0))
    assert [f[f"customer_count_{w}"] for w in ("10m", "1h", "24h", "7d")] == [2, 3, 4, 5]


def test_counts_stop_at_twenty() -> None:
    assert after([at(-n * SECOND) for n in range(40, 0, -1)], at(0))["customer_count_10m"] == 20


def test_amounts_are_compared_with_the_customers_own() -> None:
    # Mean 2000, population variance (1000^2 + 0 + 1000^2) / 3, median 2000, largest 3000.
    history = [at(-3 * DAY, amount_minor=1_000), at(-2 * DAY, amount_minor=3_000), at(-1 * DAY, amount_minor=2_000)]
    f = after(history, at(0, amount_minor=6_000))
    assert f["customer_mean_minor"] == pytest.approx(2_000)
    assert f["amount_to_mean"] == pytest.approx(3.0)
    assert f["amount_to_median"] == 3.0
    assert f["amount_to_max_30d"] == 2.0
    assert f["customer_max_ratio_14d"] == pytest.approx(1.5)
    assert f["amount_zscore"] == pytest.approx(4_000 / sqrt(2_000_000 / 3))
    # (2000 of the last 24 hours, its start included, + 6000) / 2000
    assert f["customer_spend_24h_ratio"] == pytest.approx(4.0)


def test_the_middle_of_an_even_number_is_the_upper_one() -> None:
    history = [at(-2 * DAY, amount_minor=1_000), at(-1 * DAY, amount_minor=4_000)]
    assert after(history, at(0, amount_minor=8_000))["amount_to_median"] == 2.0


def test_a_customer_of_free_transactions_has_no_ratios() -> None:
    f = after([at(-DAY, amount_minor=0)], at(0, amount_minor=500))
    assert all(isnan(f[n]) for n in ("amount_to_mean", "amount_to_median", "amount_to_max_30d", "amount_zscore"))


def test_the_largest_forgets_after_thirty_days_and_fourteen() -> None:
    history = [at(-31 * DAY, amount_minor=9_000), at(-20 * DAY, amount_minor=5_000), at(-1 * DAY, amount_minor=1_000)]
    f = after(history, at(0, amount_minor=5_000))
    assert f["amount_to_max_30d"] == 1.0
    assert f["customer_max_ratio_14d"] == pytest.approx(1_000 / 5_000)


def test_a_burst_is_measured_against_the_customers_usual_day() -> None:
    # 10 transactions over 10 days are one a day; 3 of them in the last 24 hours.
    history = [at(-n * DAY - HOUR) for n in range(9, 2, -1)]
    history[0] = at(-10 * DAY)
    history += [at(-3 * HOUR), at(-2 * HOUR), at(-1 * HOUR)]
    assert after(history, at(0))["customer_burst_24h"] == pytest.approx(3.0)


def test_time_since_previous_is_in_seconds_and_capped_at_seven_days() -> None:
    assert after([at(-90 * SECOND)], at(0))["seconds_since_previous"] == 90.0
    assert after([at(-30 * DAY)], at(0))["seconds_since_previous"] == 7 * 86_400.0


def test_tenure_is_capped_at_thirty_days() -> None:
    assert after([at(-36 * HOUR)], at(0))["customer_tenure_days"] == 1.5
    assert after([at(-90 * DAY)], at(0))["customer_tenure_days"] == 30.0


def test_the_habit_of_an_hour_needs_ten_transactions() -> None:
    history = [at(n * DAY + 9 * HOUR) for n in range(-9, 0)]
    assert isnan(after(history, at(10 * HOUR))["customer_hour_share"])
    history.append(at(-HOUR))
    # 9 of 10 between 09:00 and 12:00
    assert after(history, at(10 * HOUR))["customer_hour_share"] == 0.9
    assert after(history, at(3 * HOUR))["customer_hour_share"] == 0.0


def test_what_the_customer_never_met_is_new() -> None:
    history = [at(-DAY, device_id="d1", channel="ecom")]
    same = after(history, at(0, device_id="d1"))
    other = after(history, at(0, merchant_id="m2", country="FR", category="travel", device_id="d2"))
    names = ("merchant_new", "country_new", "category_new", "device_new")
    assert [same[n] for n in names] == [0, 0, 0, 0]
    assert [other[n] for n in names] == [1, 1, 1, 1]
    assert isnan(after(history, at(0))["device_new"])


def test_one_degree_of_longitude_on_the_equator_is_a_360th_of_its_length() -> None:
    assert kilometres(SCALARS, 0, 0, 1, 0) == pytest.approx(2 * pi * 6371 / 360, abs=1e-3)
    assert kilometres(SCALARS, 10, 50, 10, 50) == 0.0
    assert kilometres(SCALARS, 0, 90, 123, -90) == pytest.approx(pi * 6371, abs=1e-3)


def test_speed_is_from_the_last_place_the_card_was_present() -> None:
    degree = 2 * pi * 6371 / 360
    history = [
        at(-2 * HOUR, lon=0.0, lat=0.0),
        at(-1 * HOUR, lon=90.0, lat=0.0, channel="ecom"),  # says nothing about where the customer is
    ]
    f = after(history, at(0, lon=1.0, lat=0.0, home_lon=3.0, home_lat=0.0))
    assert f["travel_kmh"] == pytest.approx(degree / 2, rel=1e-6)
    assert f["home_distance_km"] == pytest.approx(2 * degree, rel=1e-6)
    online = after(history, at(0, lon=1.0, lat=0.0, home_lon=3.0, home_lat=0.0, channel="ecom"))
    assert isnan(online["travel_kmh"])
    assert isnan(online["home_distance_km"])


def test_two_readings_within_five_minutes_are_taken_as_five_minutes_apart() -> None:
    f = after([at(0, lon=0.0, lat=0.0)], at(0, lon=1.0, lat=0.0))
    assert f["travel_kmh"] == pytest.approx(12 * 2 * pi * 6371 / 360, rel=1e-6)


def test_foreign_needs_both_countries() -> None:
    assert after([], at(0, country="FR"))["foreign"] == 1.0
    assert after([], at(0))["foreign"] == 0.0
    assert isnan(after([], at(0, home_country=None))["foreign"])


def test_channel_and_entry() -> None:
    f = after([], at(0, channel="atm", entry_mode="swipe"))
    assert (f["ecom"], f["atm"], f["weak_entry"]) == (0, 1, 1)


def test_late_arrivals_see_only_what_was_before_them_in_windows() -> None:
    history = [at(-2 * HOUR, amount_minor=1_000), at(0, amount_minor=9_000)]
    f = after(history, at(-HOUR))
    assert f["customer_count_24h"] == 1
    assert f["seconds_since_previous"] == 3_600
    assert f["amount_to_max_30d"] == 1.0


def test_windows_do_not_depend_on_the_order_of_arrival() -> None:
    history = [at(-n * HOUR, transaction_id=str(n), amount_minor=100 * n) for n in range(50, 0, -1)]
    names = ("customer_count_7d", "amount_to_max_30d", "seconds_since_previous", "customer_tenure_days")
    ordered, mixed = after(history, at(0)), after(history[1::2] + history[::2], at(0))
    assert [ordered[n] for n in names] == [mixed[n] for n in names]
    assert ordered["customer_mean_minor"] == pytest.approx(mixed["customer_mean_minor"])
    assert ordered["merchant_burst_24h"] == mixed["merchant_burst_24h"]


def test_the_usual_amount_forgets_what_is_256_transactions_ago() -> None:
    history = [at((n - 800) * HOUR, amount_minor=1_000 if n < 400 else 5_000) for n in range(800)]
    assert after(history[:400], at(0))["customer_mean_minor"] == 1_000
    # Of 500 transactions the blocks of 64 that are kept are those from 256 on: 144 old ones, 100 new.
    assert after(history[:500], at(0))["customer_mean_minor"] == (144 * 1_000 + 100 * 5_000) / 244
    assert after(history, at(0))["customer_mean_minor"] == 5_000


def test_large_amounts_have_a_spread_too() -> None:
    # Mean 3e12, population deviation 1e12: squares of 1e24 do not fit into 64 bits.
    history = [at(-n * DAY, amount_minor=a * 10**12) for n, a in ((1, 2), (2, 4), (3, 2), (4, 4))]
    assert after(history, at(0, amount_minor=5 * 10**12))["amount_zscore"] == pytest.approx(2.0)
