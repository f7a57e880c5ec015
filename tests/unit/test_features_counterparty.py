"""Merchants, terminals and devices against numbers computed by hand; verdicts count from when they were known."""

from __future__ import annotations

import random
from math import isnan

import pytest

from services.features.counterparty import recent_frauds
from tests.unit.feature_events import DAY, HOUR, after, at, verdict


def test_a_device_counts_the_other_customers_of_thirty_days() -> None:
    used = [(-31, "x"), (-20, "y"), (-2, "c"), (-1, "z"), (-1, "y")]
    history = [at(day * DAY, customer_id=who, device_id="d", channel="ecom") for day, who in used]
    f = after(history, at(0, device_id="d", channel="ecom"), [verdict(history[3], -HOUR)])
    assert f["device_other_payers_30d"] == 2  # y, z
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
    known = after(frauds, at(0), labels[:3])
    assert known["terminal_fraud_rate_28d"] == known["merchant_fraud_rate_28d"] == pytest.approx(3 / (4 + 5))
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
    # The last of the run happened on day -3 and was known two days later: what happened on day -2 would be known, too.
    assert f["terminal_clean_since_fraud"] == 1
    assert f["terminal_frauds_28d"] == 5
    later = after([*normal, *run, dear], at(33 * DAY), labels)
    assert later["terminal_unexplained_run"] == 0
    assert isnan(later["terminal_run_age_days"])


def test_a_chargeback_after_an_analysts_verdict_is_the_same_fraud() -> None:
    fraud = at(-9 * DAY)
    f = after([fraud], at(0), [verdict(fraud, -8 * DAY), verdict(fraud, -1 * DAY)])
    assert f["terminal_frauds_28d"] == 1
    assert f["terminal_frauds_7d"] == 0  # it has been known for eight days


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


def test_a_changed_mind_clears_a_fraud_until_it_is_changed_again() -> None:
    fraud = at(-9 * DAY)
    labels = [verdict(fraud, -8 * DAY), verdict(fraud, -2 * DAY, "genuine")]
    assert after([fraud], at(0), labels[:1])["terminal_frauds_28d"] == 1
    cleared = after([fraud], at(0), labels)
    assert cleared["terminal_frauds_28d"] == cleared["terminal_fraud_rate_28d"] == 0
    assert cleared["terminal_unexplained_run"] == 0
    again = after([fraud], at(0), [*labels, verdict(fraud, -1 * DAY)])
    assert again["terminal_frauds_1d"] == again["terminal_unexplained_run"] == 1


def test_an_older_fraud_verdict_only_moves_the_moment_back() -> None:
    fraud = at(-9 * DAY)
    f = after([fraud], at(0), [verdict(fraud, -1 * DAY), verdict(fraud, -8 * DAY)])
    assert (f["terminal_frauds_7d"], f["terminal_frauds_28d"]) == (0, 1)
    assert f["terminal_fraud_rate_28d"] == pytest.approx(1 / (1 + 5))


@pytest.mark.parametrize("count", [0, 3, 24, 25, 64])
def test_frauds_are_counted_alike_however_many_are_known(count: int) -> None:
    r = random.Random(count)
    for _ in range(50):
        known = sorted(r.randrange(40) * DAY + r.choice([-1, 0, 0, 1]) for _ in range(count))
        at_ms = r.randrange(42) * DAY
        expected = tuple(sum(at_ms - days * DAY <= moment <= at_ms for moment in known) for days in (1, 7, 28))
        assert recent_frauds([["t", moment, 0, 1] for moment in known], at_ms) == expected
