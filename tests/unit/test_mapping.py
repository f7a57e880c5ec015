"""The mapping file: what it says is read exactly, and everything that is wrong with it is said at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.domain.dimensions import DEFAULT, parse
from services.domain.mapping import desk_mapping, label_word, read_mapping, totals_currency
from services.domain.transaction_rules import check_transaction, rules_of
from services.errors import InvalidData
from tests.records import NOW, record

SHIPPED = sorted((Path(__file__).parents[2] / "mappings").glob("*.toml"))
SMALL = """
[time]
column = "when"
[amount]
column = "much"
currency = "EUR"
[entities]
customer = "who"
"""


def problems_of(text):
    with pytest.raises(InvalidData) as caught:
        read_mapping(text)
    return [problem.message for problem in caught.value.problems]


def test_the_least_that_must_be_said():
    mapping = read_mapping(SMALL)
    assert mapping.columns == ("when", "much", "who")
    assert (mapping.id, mapping.label, mapping.features, mapping.time.kind) == (None, None, (), "datetime")
    assert [dimension.key for dimension in mapping.dimensions] == ["amount_band"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_mapping_can_be_read_and_has_a_label_that_is_no_feature(path):
    mapping = read_mapping(path)
    assert mapping.label is not None
    assert mapping.label.column not in {feature.column for feature in mapping.features}
    assert not {"TX_FRAUD_SCENARIO", "isFlaggedFraud"} & set(mapping.columns)


def test_card_numbers_of_sparkov_are_tokenised():
    mapping = read_mapping(next(path for path in SHIPPED if path.stem == "sparkov"))
    assert mapping.tokenise == ("cc_num",)
    assert not {"first", "last", "street", "dob", "job"} & set(mapping.columns)


def test_every_problem_is_listed():
    assert problems_of(
        "colour = 1\n[time]\ncolum = 'x'\nkind = 'year'\n[amount]\ncolumn = 'a'\ncurrency = 'euro'\nexponent = 5\n"
        "[entities]\nmerchant = 'm'\n[label]\ncolumn = 'f'\nfraud = []\nknown_at = 'k'\ndelay_days = 7\n"
        "[features.Foot]\ncolumn = 'x'\n[features.size]\nkind = 'big'\n"
    ) == [
        "[time] column is missing",
        "[time] kind must be one of datetime, number",
        "[time] 'colum' is not known here",
        "[amount] currency must be three capital letters, not 'euro'",
        "[amount] exponent must be 0, 2 or 3",
        "[entities] customer is missing: name the column of who pays",
        "[label] fraud must list the values that mean fraud, as in [1]",
        "[label] either known_at or delay_days can be given, not both",
        "[features] 'Foot' cannot be a name (small letters, digits and _, at most 40)",
        "[features.size] column is missing",
        "[features.size] kind must be one of number, category, flag, text",
        "'colour' is not known here",
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[label]\ncolumn = 'f'\n[features.f]\ncolumn = 'f'\nkind = 'flag'", "give the answer away"),
        ("[features.shop]\ncolumn = 's'\nkind = 'text'\n", "both an entity and a feature"),
        ("[places]\nmerchant = ['x']", "two columns"),
        ("[label]\ncolumn = 'f'\n[label.most_ap]\nsoon = 0.5", "'soon' must be whole days"),
        ("[label]\ncolumn = 'f'\n[label.most_ap]\n7 = 1.5", "'7' must be whole days"),
    ],
)
def test_sections_are_checked_against_each_other(more, said):
    text = SMALL.replace('customer = "who"', 'customer = "who"\nshop = "s"')
    assert any(said in problem for problem in problems_of(text + more))


def test_tokenise_must_name_a_column_that_is_a_name():
    assert "nothing else reads" in problems_of('tokenise = ["x"]' + SMALL)[0]
    assert "no id, entity or category" in problems_of('tokenise = ["much"]' + SMALL)[0]


@pytest.mark.parametrize("text", ["[time", "a = 1\na = 2", "x" * 10])
def test_what_is_no_toml_is_said(text):
    with pytest.raises(InvalidData, match="not valid TOML"):
        read_mapping(text)


def test_a_local_origin_is_taken_in_the_mappings_zone():
    text = SMALL.replace('"when"', '"when"\nkind = "number"\nunit = "d"\norigin = 2024-07-01\nzone = "Europe/Berlin"')
    assert read_mapping(text).time.origin == datetime(2024, 6, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        ("1.0", "1"),
        (True, "1"),
        ("TRUE", "1"),
        ("Yes", "yes"),
        (0.5, "0.5"),
        ("false", "0"),
    ],
)
def test_label_values_are_compared_as_words(value, word):
    assert label_word(value) == word


def test_a_file_that_only_names_dimensions_maps_no_data(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text("[dimensions]\nmcc = {column = 'mcc'}")
    assert desk_mapping(path) is None
    assert desk_mapping(None) is None
    path.write_text(SMALL)
    assert desk_mapping(path) == read_mapping(SMALL)
    with pytest.raises(InvalidData, match=r"gone.toml cannot be read"):
        desk_mapping(tmp_path / "gone.toml")


def test_rates_of_mapped_data_are_broken_down_by_its_categories():
    text = SMALL + "[features.kind_of_shop]\ncolumn = 'k'\nkind = 'category'\n"
    assert parse(text) == read_mapping(text).dimensions
    assert [d.column for d in parse(text)] == ["attributes.kind_of_shop", "amount_band"]
    assert parse("") == DEFAULT


def test_without_a_mapping_the_front_door_is_as_strict_as_ever():
    for field in ("card", "merchant", "channel", "entry_mode"):
        document, problems = check_transaction(record(**{field: None}), row=0, now=NOW, rules=rules_of(None))
        assert document is None
        assert [problem.field for problem in problems] == [field]


def test_with_a_mapping_only_what_it_names_is_required():
    mapping = read_mapping(SMALL)
    bare = record(card=None, merchant=None, channel=None, entry_mode=None)
    assert check_transaction(bare, row=0, now=NOW, rules=rules_of(mapping))[1] == []
    named = replace(mapping, entities={"customer": ("who",), "merchant": ("shop",)})
    assert [p.field for p in check_transaction(bare, row=0, now=NOW, rules=rules_of(named))[1]] == ["merchant"]
    assert check_transaction(bare | {"merchant": {"id": "m"}}, row=0, now=NOW, rules=rules_of(named))[1] == []


def test_with_a_mapping_what_is_there_is_checked_as_strictly():
    wrong = record(channel="fax", card={"token": "t", "last4": "12"}, attributes={"note": "4111 1111 1111 1111"})
    _, problems = check_transaction(wrong, row=0, now=NOW, rules=rules_of(read_mapping(SMALL)))
    assert [problem.field for problem in problems] == ["card.last4", "channel", "attributes.note"]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ('currency = "USD"', ("USD", 2)),
        ('currency = "JPY"', ("JPY", 0)),
        ('currency = "JPY"\nexponent = 2', ("JPY", 2)),
        ('currency_column = "cur"', ("", 2)),
    ],
)
def test_totals_are_in_the_currency_of_the_data(amount, expected):
    text = f'name = "x"\n[time]\ncolumn = "t"\n[amount]\ncolumn = "a"\n{amount}\n[entities]\ncustomer = "c"\n'
    assert totals_currency(read_mapping(text)) == expected
    assert totals_currency(None) == ("EUR", 2)
