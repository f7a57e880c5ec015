"""Each family of features against numbers computed by hand. Times are offsets from a Monday midnight, UTC."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from math import isnan, pi, sqrt

import pytest

from services.features import (
    FEATURES,
    Event,
    LabelEvent,
    State,
    compute,
    entity_keys,
    epoch_ms,
    event_from_document,
    event_from_lake_row,
    label_from_document,
    label_keys,
    new_state,
    observe,
    observe_label,
    step,
)
from services.features.families import kilometres
from services.features.state import FRAUDS_MAX, RECENT_MAX, SEEN_MAX, add_verdict

MONDAY = epoch_ms(datetime(2026, 6, 1, tzinfo=UTC))
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NAMES = [spec.name for spec in FEATURES]

BASE = Event(
    transaction_id="t",
    at_ms=MONDAY,
    amount_minor=1_000,
    customer_id="c",
    merchant_id="m",
    terminal_id="T",
    device_id=None,
    channel="pos",
    entry_mode="chip",
    category="grocery",
    country="DE",
    home_country="DE",
    lon=None,
    lat=None,
    home_lon=None,
    home_lat=None,
)


def at(offset_ms: int, **changes: object) -> Event:
    return replace(BASE, at_ms=MONDAY + offset_ms, **changes)  # type: ignore[arg-type]


def after(history: list[Event], event: Event, labels: list[LabelEvent] = []) -> dict[str, float]:  # noqa: B006
    states: dict[str, State] = {}
    for former in history:
        observe(former, states)
    for label in labels:
        observe_label(label, states)
    return dict(zip(NAMES, compute(event, states), strict=True))


def verdict(of: Event, known_ms: int, value: str = "fraud") -> LabelEvent:
    return LabelEvent(
        transaction_id=of.transaction_id,
        customer_id=of.customer_id,
        merchant_id=of.merchant_id,
        terminal_id=of.terminal_id,
        device_id=of.device_id,
        event_ms=of.at_ms,
        amount_minor=of.amount_minor,
        value=value,
        labelled_ms=MONDAY + known_ms,
    )


def test_the_vector_has_one_value_for_each_feature_and_names_are_unique() -> None:
    assert len(compute(BASE, {})) == len(FEATURES) == len(set(NAMES))
    assert len(step(replace(BASE, device_id="d"), {})) == len(FEATURES)


def test_an_unknown_customer_has_no_normal() -> None:
    f = after([], BASE)
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
    assert kilometres(0, 0, 1, 0) == pytest.approx(2 * pi * 6371 / 360)
    assert kilometres(10, 50, 10, 50) == 0.0
    assert kilometres(0, 90, 123, -90) == pytest.approx(pi * 6371)


def test_speed_is_from_the_last_place_the_card_was_present() -> None:
    degree = 2 * pi * 6371 / 360
    history = [
        at(-2 * HOUR, lon=0.0, lat=0.0),
        at(-1 * HOUR, lon=90.0, lat=0.0, channel="ecom"),  # says nothing about where the customer is
    ]
    f = after(history, at(0, lon=1.0, lat=0.0, home_lon=3.0, home_lat=0.0))
    assert f["travel_kmh"] == pytest.approx(degree / 2)
    assert f["home_distance_km"] == pytest.approx(2 * degree)
    online = after(history, at(0, lon=1.0, lat=0.0, home_lon=3.0, home_lat=0.0, channel="ecom"))
    assert isnan(online["travel_kmh"])
    assert isnan(online["home_distance_km"])


def test_two_readings_within_five_minutes_are_taken_as_five_minutes_apart() -> None:
    f = after([at(0, lon=0.0, lat=0.0)], at(0, lon=1.0, lat=0.0))
    assert f["travel_kmh"] == pytest.approx(12 * 2 * pi * 6371 / 360)


def test_foreign_needs_both_countries() -> None:
    assert after([], at(0, country="FR"))["foreign"] == 1.0
    assert after([], at(0))["foreign"] == 0.0
    assert isnan(after([], at(0, home_country=None))["foreign"])


def test_a_device_counts_the_other_customers_of_thirty_days() -> None:
    used = [(-31, "x"), (-20, "y"), (-2, "c"), (-1, "z"), (-1, "y")]
    history = [at(day * DAY, customer_id=who, device_id="d", channel="ecom") for day, who in used]
    f = after(history, at(0, device_id="d", channel="ecom"), [verdict(history[3], -HOUR)])
    assert f["device_other_customers_30d"] == 2  # y, z
    assert f["device_age_days"] == 30.0
    assert f["device_frauds_28d"] == 1
    assert isnan(after(history, at(0))["device_age_days"])
    assert after([], at(0, device_id="d"))["device_age_days"] == 0.0


def test_known_frauds_count_from_the_moment_they_became_known() -> None:
    frauds = [at(-20 * DAY - n, transaction_id=f"f{n}", customer_id="other") for n in range(4)]
    labels = [
        verdict(frauds[0], -20 * DAY),
        verdict(frauds[1], -5 * DAY),
        verdict(frauds[2], 0),
        verdict(frauds[3], 1),  # known a millisecond after the event
    ]
    f = after(frauds, at(0), labels)
    assert [f[f"terminal_frauds_{w}"] for w in ("1d", "7d", "28d")] == [1, 2, 3]
    assert f["merchant_frauds_7d"] == 2
    # 4 transactions in 30 days at both; the rate adds 5 to its denominator.
    assert f["terminal_fraud_rate_28d"] == f["merchant_fraud_rate_28d"] == pytest.approx(3 / (4 + 5))
    assert f["customer_frauds_28d"] == 0


def test_a_terminal_without_an_id_has_no_features() -> None:
    assert all(isnan(v) for n, v in after([], at(0, terminal_id=None)).items() if n.startswith("terminal_"))


def test_a_run_is_the_latest_series_of_frauds_that_amount_does_not_explain() -> None:
    normal = [at((n - 40) * DAY, transaction_id=f"n{n}", terminal_id="U") for n in range(20)]  # mean 1000
    run = [at(day * DAY, transaction_id=f"r{day}") for day in (-20, -10, -6, -3)]
    dear = at(-2 * DAY, transaction_id="dear", amount_minor=50_000)
    labels = [*(verdict(e, -DAY) for e in run), verdict(dear, -DAY)]
    f = after([*normal, *run, dear], at(0), labels)
    # -20 is more than 7 days before -10; the dear one (50,000 > 3 x 2,960) is explained by its amount.
    assert f["terminal_unexplained_run"] == 3
    assert f["terminal_run_age_days"] == 10.0
    assert f["terminal_frauds_28d"] == 5
    later = after([*normal, *run, dear], at(33 * DAY), labels)
    assert later["terminal_unexplained_run"] == 0
    assert isnan(later["terminal_run_age_days"])


def test_a_chargeback_after_an_analysts_verdict_is_the_same_fraud() -> None:
    fraud = at(-9 * DAY)
    f = after([fraud], at(0), [verdict(fraud, -8 * DAY), verdict(fraud, -1 * DAY)])
    assert f["terminal_frauds_28d"] == 1
    assert f["terminal_frauds_7d"] == 0  # it has been known for eight days


def test_a_changed_mind_clears_a_fraud_from_then_on_only() -> None:
    fraud = at(-9 * DAY)
    labels = [verdict(fraud, -8 * DAY), verdict(fraud, -2 * DAY, "genuine")]
    assert after([fraud], at(0), labels)["terminal_frauds_28d"] == 0
    assert after([fraud], at(-3 * DAY), labels)["terminal_frauds_28d"] == 1
    again = [*labels, verdict(fraud, -1 * DAY)]
    assert after([fraud], at(0), again)["terminal_frauds_1d"] == 1


def test_genuine_and_inconclusive_verdicts_are_no_frauds() -> None:
    one, two = at(-2 * DAY, transaction_id="1"), at(-DAY, transaction_id="2")
    f = after([one, two], at(0), [verdict(one, -HOUR, "genuine"), verdict(two, -HOUR, "inconclusive")])
    assert f["terminal_frauds_28d"] == f["customer_frauds_28d"] == 0


def test_an_amount_is_compared_with_the_merchants_own() -> None:
    history = [
        at(-31 * DAY, customer_id="a", amount_minor=90_000),
        at(-5 * DAY, customer_id="a", amount_minor=3_000),
        at(-4 * DAY, customer_id="b", amount_minor=1_000),
    ]
    assert after(history, at(0, amount_minor=5_000))["amount_to_merchant_mean"] == 2.5


def test_a_merchants_burst_takes_yesterday_in_part() -> None:
    # Noon: all 6 of today and half of yesterday's 4; 12 transactions in the 3.5 days since the first day began.
    history = [at(-3 * DAY)] * 2 + [at(-DAY)] * 4 + [at(HOUR)] * 6
    assert after(history, at(12 * HOUR))["merchant_burst_24h"] == pytest.approx((6 + 2) / (12 / 3.5))


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


def test_something_far_too_late_is_left_out_and_breaks_nothing() -> None:
    states: dict[str, State] = {}
    for n in range(200):
        observe(at(n * HOUR), states)
    before = list(states["customer:c"]["times"])
    observe(at(-400 * DAY), states)
    assert states["customer:c"]["times"] == before == sorted(before)
    assert states["merchant:m"]["days"] == sorted(states["merchant:m"]["days"])


def test_states_stay_bounded() -> None:
    states: dict[str, State] = {}
    for n in range(2_000):
        event = at(n * HOUR, merchant_id=f"m{n % 150}", device_id=f"d{n}", transaction_id=f"t{n}", country=f"{n}")
        observe(event, states)
        observe(replace(event, customer_id=f"c{n}", device_id="shared"), states)
        observe_label(verdict(event, n * HOUR), states)
    customer = states["customer:c"]
    assert len(customer["times"]) == len(customer["amounts"]) < RECENT_MAX
    assert len(customer["merchants"]) == len(customer["devices"]) == len(customer["countries"]) == SEEN_MAX
    assert len(states["device:shared"]["users"]) == len(states["device:shared"]["used"]) == SEEN_MAX
    assert len(states["terminal:T"]["frauds"]) <= FRAUDS_MAX
    assert len(states["terminal:T"]["days"]) == 31


def test_the_mean_follows_a_customer_whose_habits_change() -> None:
    states: dict[str, State] = {}
    for n in range(1_000):
        observe(at(n * HOUR, amount_minor=1_000 if n < 400 else 5_000), states)
    # After 600 of the new, each weighing 1/200, the old weighs (1 - 1/200)^600.
    assert states["customer:c"]["mean"] == pytest.approx(5_000 - 4_000 * (1 - 1 / 200) ** 600)
    assert 0 < states["customer:c"]["var"] < 4_000**2


def test_an_unknown_kind_of_entity_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        new_state("card")


def test_entities_are_those_the_event_touches() -> None:
    assert entity_keys(BASE) == ("customer:c", "merchant:m", "terminal:T")
    online = replace(BASE, terminal_id=None, device_id="d")
    assert entity_keys(online) == ("customer:c", "merchant:m", "device:d")
    assert label_keys(verdict(online, 0)) == ("customer:c", "merchant:m", "device:d")


def test_a_document_and_a_lake_row_of_one_transaction_are_the_same_event() -> None:
    moment = datetime(2026, 6, 1, 12, 30, 0, 123_000, tzinfo=UTC)
    document = {
        "_id": "t1",
        "event_time": moment,
        "amount_minor": 4_120,
        "currency": "EUR",
        "customer_id": "c1",
        "customer": {"home": {"lon": 13.4, "lat": 52.5}},
        "card": {"issuer_country": "DE"},
        "merchant": {"id": "m1", "category": "travel", "country": "FR", "location": {"lon": 2.3, "lat": 48.9}},
        "terminal_id": "T1",
        "channel": "ecom",
        "entry_mode": "stored",
        "device": {"id": "d1"},
    }
    row = {
        "transaction_id": "t1",
        "event_time": moment,
        "amount_minor": 4_120,
        "customer_id": "c1",
        "home_country": None,
        "home_lon": 13.4,
        "home_lat": 52.5,
        "issuer_country": "DE",
        "merchant_id": "m1",
        "category": "travel",
        "merchant_country": "FR",
        "merchant_lon": 2.3,
        "merchant_lat": 48.9,
        "terminal_id": "T1",
        "channel": "ecom",
        "entry_mode": "stored",
        "device_id": "d1",
    }
    event = event_from_document(document)
    assert event == event_from_lake_row(row)
    assert event.home_country == "DE"
    assert event.at_ms == 1_780_317_000_123
    document.pop("device")
    document["transaction_id"] = document.pop("_id")
    assert event_from_document(document) == replace(event, device_id=None)


def test_a_label_document_names_the_entities_that_learn_from_it() -> None:
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    document = {
        "transaction_id": "t",
        "customer_id": "c",
        "merchant_id": "m",
        "terminal_id": "T",
        "event_time": moment,
        "amount_minor": 1_000,
        "value": "fraud",
        "labelled_at": moment,
    }
    assert label_from_document(document) == verdict(BASE, 0)


def test_an_older_fraud_verdict_only_moves_the_moment_back() -> None:
    frauds: list[list[object]] = []
    for known, value in ((10, "fraud"), (5, "fraud"), (20, "genuine"), (15, "fraud")):
        add_verdict(frauds, "t", value=value, known_ms=known, event_ms=1, unexplained=True)
    assert frauds == [["t", 5, 20, 1, 1]]
