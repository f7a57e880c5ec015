from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.money import holds_card_number, luhn_holds, mask_card_numbers
from services.domain.transaction_rules import check_transaction
from tests.records import NOW, record


def problems(**changes):
    document, found = check_transaction(record(**changes), row=3, now=NOW)
    assert (document is None) == bool(found)
    return {p.field: p.message for p in found}


def test_a_good_record_becomes_a_document_with_id_times_and_version():
    document, found = check_transaction(record("t-9"), row=0, now=NOW)
    assert found == []
    assert document["_id"] == "t-9"
    assert "transaction_id" not in document
    assert document["event_time"] == datetime(2026, 6, 1, 11, 59, tzinfo=UTC)
    assert document["received_at"] == NOW
    assert document["version"] == 1


def test_every_problem_is_reported_with_its_row():
    bad = record(amount_minor=-5, currency="euro", channel="carrier pigeon", customer_id=None)
    bad["surprise"] = 1
    _, found = check_transaction(bad, row=7, now=NOW)
    assert {p.row for p in found} == {7}
    assert {p.field for p in found} == {"amount_minor", "currency", "channel", "customer_id", "surprise"}


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (math.nan, "must be a number"),
        (math.inf, "must be a number"),
        (-1, "must not be negative"),
        ("12", "not text"),
        (True, "not true/false"),
        (12.5, "without a fraction"),
        (10**13, "is larger than"),
        ([1], "not a list"),
    ],
)
def test_amounts_that_are_refused(amount, words):
    assert words in problems(amount_minor=amount)["amount_minor"]


def test_amount_zero_is_allowed():
    assert problems(amount_minor=0) == {}


@pytest.mark.parametrize(
    "field", ["event_time", "amount_minor", "currency", "customer_id", "card", "merchant", "channel"]
)
def test_each_required_field_is_missed(field):
    assert problems(**{field: None}) == {field: "is missing"}


def test_future_beyond_clock_skew_is_refused_and_within_it_is_kept():
    late, soon = NOW + timedelta(minutes=6), NOW + timedelta(minutes=4)
    assert "in the future" in problems(event_time=late.isoformat())["event_time"]
    assert problems(event_time=soon.isoformat()) == {}


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-01-01T00:00:00", 12345, "9999-12-31T23:59:59-23:59", "1999-01-01T00:00:00Z"]
)
def test_times_that_are_refused(moment):
    assert "event_time" in problems(event_time=moment)


def test_a_megabyte_of_text_is_refused_in_a_short_message():
    bad = record(attributes={"note": "x" * 1_000_000})
    bad["merchant"] = bad["merchant"] | {"name": "y" * 1_000_000}
    _, found = check_transaction(bad, row=0, now=NOW)
    assert {p.field for p in found} == {"attributes.note", "merchant.name"}
    assert all(len(p.message) < 200 for p in found)


def test_operator_keys_and_dotted_keys_are_refused_anywhere():
    bad = record(attributes={"$where": "1", "a.b": 2}, customer={"$gt": "", "home_country": "NL"})
    bad["$set"] = {"x": 1}
    _, found = check_transaction(bad, row=0, now=NOW)
    assert {p.field for p in found} == {"$set", "customer.$gt", "attributes.$where", "attributes.a.b"}


def test_operators_in_place_of_values_are_refused():
    assert "customer_id" in problems(customer_id={"$ne": ""})


def test_card_numbers_and_security_codes_never_come_in_nor_appear_in_a_message():
    number = "4111 1111 1111 1111"
    bad = record(attributes={"memo": f"paid with {number}", "cvv": "123"}, channel=number)
    bad["pan"] = number
    _, found = check_transaction(bad, row=0, now=NOW)
    assert {p.field for p in found} == {"pan", "attributes.memo", "attributes.cvv", "channel"}
    assert not any("4111" in p.message for p in found)


@pytest.mark.parametrize("thing", [None, 3, "text", [], [record()]])
def test_a_record_that_is_no_object_is_one_problem(thing):
    document, found = check_transaction(thing, row=2, now=NOW)
    assert document is None
    assert len(found) == 1
    assert found[0].row == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*record(), "extra", "device"]), json_values))
def test_whatever_is_sent_is_either_a_document_or_a_list_of_problems(changes):
    document, found = check_transaction(record() | changes, row=0, now=NOW)
    assert (document is None) == bool(found)


def test_luhn_by_hand():
    assert luhn_holds("4111111111111111")
    assert not luhn_holds("4111111111111112")
    assert holds_card_number("card 5500-0000-0000-0004.")
    assert not holds_card_number("order 1234567890123456")
    assert mask_card_numbers("x 4111111111111111 y") == "x [card number] y"
