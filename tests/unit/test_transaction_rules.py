from __future__ import annotations

import json
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
        (10**400, "is larger than"),
        pytest.param(-(10**5000), "must not be negative", id="5000 digits"),
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
    assert "4111" not in problems(channel=4111111111111111)["channel"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"account": 4111111111111111},
        {"account": 4111111111111111.0},
        {"4111 1111 1111 1111": 1},
        {"41-11111111111111": 1},
    ],
)
def test_card_numbers_are_found_as_numbers_and_as_names(attributes):
    _, found = check_transaction(record(attributes=attributes), row=0, now=NOW)
    assert len(found) == 1
    assert "card" in found[0].message
    assert "1111" not in found[0].field + found[0].message


def test_times_in_milliseconds_are_not_mistaken_for_card_numbers():
    moments = {f"at_{second}": 1_767_225_600_000 + second for second in range(50)}
    assert problems(attributes=moments) == {}


def test_a_card_number_in_the_name_of_an_unknown_field_is_masked():
    _, found = check_transaction(record(**{"4111111111111111": 1}), row=0, now=NOW)
    assert [p.field for p in found] == ["[card number]"]


@pytest.mark.parametrize("exponent", [2.0, True, "2", [2], 2**63])
def test_an_exponent_is_a_whole_number(exponent):
    assert "must be 0, 2 or 3" in problems(exponent=exponent)["exponent"]


@pytest.mark.parametrize("number", [10**400, math.inf, math.nan, pytest.param(-(10**5000), id="5000 digits")])
def test_numbers_that_no_double_holds_are_problems_not_crashes(number):
    found = problems(attributes={"n": number}, merchant=record()["merchant"] | {"location": {"lon": number, "lat": 1}})
    assert set(found) == {"attributes.n", "merchant.location.lon"}


def test_half_a_surrogate_pair_is_refused_where_text_is_kept():
    bad = record(attributes={"a": "\udfff"}, merchant=record()["merchant"] | {"name": "Caf\ud800"})
    bad["\ud800"] = 1
    bad["channel"] = "\ud800"
    _, found = check_transaction(bad, row=0, now=NOW)
    assert {p.field for p in found} == {"attributes.a", "merchant.name", "?", "channel"}


def test_values_nested_too_deep_to_print_are_named_by_their_kind():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert problems(currency=deep)["currency"].endswith("got a list")


@pytest.mark.parametrize("thing", [None, 3, "text", [], [record()]])
def test_a_record_that_is_no_object_is_one_problem(thing):
    document, found = check_transaction(thing, row=2, now=NOW)
    assert document is None
    assert len(found) == 1
    assert found[0].row == 2


texts = st.text(st.characters(codec=None), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*record(), "extra", "device"]), json_values))
def test_whatever_is_sent_is_either_a_document_or_a_list_of_problems(changes):
    document, found = check_transaction(record() | changes, row=0, now=NOW)
    assert (document is None) == bool(found)
    # What is kept and what is said can be written as UTF-8: a lone surrogate cannot.
    json.dumps([document, [(p.field, p.message) for p in found]], default=str, ensure_ascii=False).encode()


def test_luhn_by_hand():
    assert luhn_holds("4111111111111111")
    assert not luhn_holds("4111111111111112")
    assert holds_card_number("card 5500-0000-0000-0004.")
    assert not holds_card_number("order 1234567890123456")
    assert mask_card_numbers("x 4111111111111111 y") == "x [card number] y"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("4111 1111 1111 1111 123", "[card number] 123"),
        ("4111111111111111 12/27", "[card number] 12/27"),
        ("20 4111-1111-1111-1111", "20 [card number]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[card number]"),
        ("4111111111111111 and 5500000000000004", "[card number] and [card number]"),
        ("order 1234567890123456, 0000 0000 0000 0000", "order 1234567890123456, 0000 0000 0000 0000"),
        ("d3a4111111111111111f00aabbccdd1e", "d3a4111111111111111f00aabbccdd1e"),  # a hash of 128 bits
        ("d3af00aabbccdd1effffffffffff4111 1111 1111 1111", "d3af00aabbccdd1effffffffffff[card number]"),
        ("a4111111111111111f", "a[card number]f"),
    ],
)
def test_a_number_beside_the_card_number_hides_nothing(text, masked):
    assert mask_card_numbers(text) == masked
    assert holds_card_number(text) == (text != masked)
