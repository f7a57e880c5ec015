"""What an analyst reads."""

from __future__ import annotations

from functools import partial
from math import inf, isnan, nan

import pytest

from services.features import DEMO
from services.features import reasons as reasons_of
from services.features.wording import duration, times

PLACE = {name: place for place, name in enumerate(DEMO.names)}
reasons = partial(reasons_of, plan=DEMO)


def vector(**values: float) -> list[float]:
    out = [nan] * len(DEMO.names)
    for name, value in values.items():
        out[PLACE[name]] = value
    return out


def contributions(**values: float) -> list[float]:
    return [values.get(name, 0.0) for name in DEMO.names]


def test_an_amount_reads_against_the_customers_own() -> None:
    v = vector(amount_minor=41_200, amount_to_mean=41_200 / 6_540, customer_mean_minor=6_540)
    (reason,) = reasons(v, contributions(amount_to_mean=1.25))
    assert reason.text == "Amount EUR 412.00 is 6.3x this customer's usual EUR 65.40"
    assert (reason.feature, reason.normal, reason.contribution) == ("amount_to_mean", 1.0, 1.25)
    assert reason.value == pytest.approx(6.2997, abs=1e-4)


def test_the_currency_and_its_exponent_are_the_callers() -> None:
    v = vector(amount_minor=41_200, amount_to_mean=2.0)
    (reason,) = reasons(v, contributions(amount_to_mean=1), currency="JPY", exponent=0)
    assert reason.text == "Amount JPY 41,200 is 2.0x this customer's usual JPY 20,600"


def test_a_capped_ratio_does_not_pretend_to_know_the_usual_amount() -> None:
    (reason,) = reasons(vector(amount_minor=41_200, amount_to_mean=50.0), contributions(amount_to_mean=1))
    assert reason.text == "Amount EUR 412.00 is 50x or more this customer's usual"


def test_what_raises_the_risk_comes_first_each_by_strength() -> None:
    v = vector(ecom=1, atm=0, foreign=1, merchant_new=1, weak_entry=0)
    given = contributions(ecom=-3.0, atm=0.1, foreign=2.0, merchant_new=0.5, weak_entry=-0.2)
    assert [r.feature for r in reasons(v, given)] == ["foreign", "merchant_new", "atm", "ecom"]
    assert [r.feature for r in reasons(v, given, limit=2)] == ["foreign", "merchant_new"]
    assert reasons(v, contributions()) == ()


def test_a_missing_value_says_so() -> None:
    (reason,) = reasons(vector(), contributions(travel_kmh=0.3))
    assert reason.text == "Speed since the last known place: not known"
    assert reason.value is None
    assert reason.normal is None


def test_counts_agree_in_number() -> None:
    texts = [reasons(vector(terminal_frauds_7d=n), contributions(terminal_frauds_7d=1))[0].text for n in (0, 1, 3, 20)]
    assert texts == [
        "No frauds at this terminal became known in the last 7 days",
        "1 fraud at this terminal became known in the last 7 days",
        "3 frauds at this terminal became known in the last 7 days",
        "20 or more frauds at this terminal became known in the last 7 days",
    ]


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0, 12.0, 700_000.0])
def test_every_feature_has_words_for_every_value(value: float) -> None:
    v = [value] * len(DEMO.names)
    for reason in reasons(v, [1.0] * len(DEMO.names), limit=len(DEMO.names)):
        assert reason.text[0].isupper() or reason.text[0].isdigit()
        assert "nan" not in reason.text
        assert str(inf) not in reason.text
        assert reason.normal is None or not isnan(reason.normal)
        assert len(reason.text) < 120


def test_a_vector_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        reasons([1.0], [1.0])


def test_durations_and_multiples_read_well() -> None:
    assert [duration(s) for s in (1, 59, 60, 7_200, 86_400, 200_000)] == [
        "1 second",
        "59 seconds",
        "1 minute",
        "2 hours",
        "1 day",
        "2 days",
    ]
    assert [times(v) for v in (0.04, 9.94, 9.96, 49.0, 50.0)] == ["0.0x", "9.9x", "10x", "49x", "50x or more"]
