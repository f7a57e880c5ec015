"""Live scoring of data of one's own: the form, the example and what if follow the mapping."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.domain.mapping import Mapping, read_mapping
from services.domain.transaction_rules import check_transaction, rules_of
from services.features import plan_of
from services.live_scoring import LiveScoring
from tests.pages import fakes
from tests.pages.conftest import Open, failed, text_of
from ui import scoring_mapped


def send(at: Any) -> Any:
    return next(b for b in at.button if b.label == "Score").click().run()


def own_data(desk: Any) -> Mapping:
    """The desk with a mapping of its own."""
    mapping = read_mapping(
        'name = "x"\n[time]\ncolumn = "when"\n[amount]\ncolumn = "eur"\ncurrency = "EUR"\n[entities]\n'
        'customer = "who"\nshop = "shop"\n[features.age]\ncolumn = "age"\nkind = "number"\n'
        '[features.vip]\ncolumn = "vip"\nkind = "flag"\n[features.kind]\ncolumn = "kind"\nkind = "category"\n'
    )
    api = fakes.FakeScoringApi(desk.faults)
    desk.live_scoring = LiveScoring(api, api, api, rules=rules_of(mapping), plan=plan_of(mapping), mapping=mapping)
    return mapping


def test_with_data_of_ones_own_the_form_asks_for_its_columns(open_page: Open, desk: Any) -> None:
    own_data(desk)
    at = open_page("analyst", "live_scoring")
    assert failed(at) == []
    at.text_input(key="own-entity.shop").set_value("corner")
    at.number_input(key="own-feature.age").set_value(41.0)
    at.selectbox(key="own-feature.vip").set_value("yes")
    send(at)
    assert failed(at) == []
    assert "model v7" in text_of(at)
    record = at.session_state["live-one"][2]
    assert record["attributes"] == {"shop": "corner", "age": 41.0, "vip": True}
    assert record["customer_id"]
    assert "merchant" not in record


def test_the_example_of_pasted_json_is_a_payment_in_the_desks_own_columns(open_page: Open, desk: Any) -> None:
    own_data(desk)
    at = open_page("analyst", "live_scoring", live_input="Pasted JSON")
    next(b for b in at.button if b.label == "Example").click().run()
    assert "card" not in json.loads(at.text_area(key="live-json").value)
    send(at)
    assert failed(at) == []
    assert "in all: features" in text_of(at)


def test_what_if_with_data_of_ones_own_has_a_control_for_each_of_its_columns(open_page: Open, desk: Any) -> None:
    mapping = own_data(desk)
    start = next(iter(desk.store.items.values()))
    values = scoring_mapped.values_of(mapping, start) | {"feature.age": 41.0, "feature.kind": "a"}
    at = open_page("analyst", "live_scoring")
    for name, value in values.items():
        at.session_state[f"own-{name}"] = value
    at.segmented_control[0].set_value("if").run()
    assert failed(at) == []
    assert "Nothing is changed yet" in text_of(at)
    assert {s.key for s in at.slider} == {"what-if-amount", "what-if-time", "what-if-feature.age"}
    assert {"shop-1", "shop-2"} <= set(at.selectbox(key="what-if-entity.shop").options)
    at.slider(key="what-if-feature.age").set_value(82.0)
    at.slider(key="what-if-amount").set_value(at.slider(key="what-if-amount").max)
    at.selectbox(key="what-if-feature.vip").set_value("yes")
    at.selectbox(key="what-if-feature.kind").set_value("Not known")
    at.selectbox(key="what-if-entity.shop").set_value("shop-2").run()
    assert failed(at) == []
    assert "against as it is" in text_of(at)
    asked = json.loads(at.session_state["what-if-scores"][0])
    assert asked[0]["attributes"] == {"age": 41.0, "kind": "a"}
    assert asked[1]["attributes"] == {"shop": "shop-2", "age": 82.0, "vip": True}
    assert asked[1]["amount_minor"] > asked[0]["amount_minor"]
    at.button(key="what-if-reset").click().run()
    assert "Nothing is changed yet" in text_of(at)
    at.segmented_control[0].set_value("one").run()
    assert at.number_input(key="own-feature.age").value == 41.0


def test_places_are_those_of_the_payment_it_started_from_while_its_merchant_and_payer_are(desk: Any) -> None:
    mapping = read_mapping(Path(__file__).parents[2] / "mappings" / "sparkov.toml")
    start = replace(
        next(iter(desk.store.items.values())),
        merchant={"id": "shop", "location": {"lon": 4.0, "lat": 52.0}}, customer={"home": {"lon": 5.0, "lat": 51.0}},
    )  # fmt: skip
    values = scoring_mapped.values_of(mapping, start)
    now = datetime.now(UTC)
    for changed, places in (
        ({}, (start.merchant["location"], start.customer)),
        ({"entity.merchant": "other"}, (None, start.customer)),
        ({"entity.customer": "other"}, (start.merchant["location"], None)),
    ):
        record = scoring_mapped.record_of(mapping, values | changed, now=now, identifier="x", base=start)
        assert (record["merchant"].get("location"), record.get("customer")) == places
        document, problems = check_transaction(record, row=0, now=now, rules=rules_of(mapping))
        assert (problems, document is None) == ([], False)
