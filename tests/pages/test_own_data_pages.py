"""Queue and transaction of data of one's own: headings and cells are the mapping's, never the demo's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.adapters.mongo.documents import queue_row
from services.domain.mapping import Mapping, read_mapping
from services.domain.own_columns import own_columns
from services.transactions import Facets, QueueFilter, Sort, Transactions
from tests import column_sets
from tests.pages.conftest import Open, failed, text_of
from tests.records import record
from ui import export, queue_filters

TERMINALS = read_mapping(
    'name = "x"\n[time]\ncolumn = "when"\n[amount]\ncolumn = "usd"\ncurrency = "USD"\n[entities]\n'
    'customer = "who"\ndevice = "phone"\nterminal = "till"\ngift_card = "gift"\n'
    '[features.age]\ncolumn = "age"\nkind = "number"\ntitle = "Age of the till"\nunit = "days"\n'
    '[features.kind]\ncolumn = "kind"\nkind = "category"\ntitle = "Sort of goods"\n'
)


def own_data(desk: Any, mapping: Mapping = TERMINALS) -> None:
    """The desk's payments without what the demo has, as payments of this mapping."""
    store = desk.store
    for key, t in store.items.items():
        attributes = {"gift_card": f"g-{key[-1]}", "kind": "toys", "age": 12.0, "spare": 1.5}
        store.items[key] = replace(
            t, card={"last4": None}, merchant={"name": None, "category": None, "country": None}, device=None,
            customer={}, terminal_id="till-7", channel=None, entry_mode=None, attributes=attributes,
        )  # fmt: skip
    asked, history = store.page, store.customer_history
    told = (("terminal", "till-7"), ("gift_card", "g-1"), ("kind", "toys"))
    store.page = lambda *a, **k: [replace(row, own=told) for row in asked(*a, **k)]
    store.customer_history = lambda *a, **k: [replace(row, own=told) for row in history(*a, **k)]
    profile = store.customer_profile
    store.customer_profile = lambda *a, **k: replace(profile(*a, **k), countries=())
    store.facets = lambda: Facets((), (), (), (("kind", ("cars", "toys")),))
    desk.transactions = Transactions(store, mapping)


def test_the_columns_of_a_mapping_are_its_entities_and_then_its_categories() -> None:
    found = [(c.key, c.title, c.path) for c in own_columns(TERMINALS)]
    assert found == [
        ("terminal", "Terminal", "terminal_id"), ("gift_card", "Gift card", "attributes.gift_card"),
        ("device", "Device", "device.id"), ("kind", "Sort of goods", "attributes.kind"),
    ]  # fmt: skip
    assert own_columns(None) == ()
    assert [c.title for c in own_columns(column_sets.mapping("ieee_cis"))][:2] == ["Card", "Product code"]


def test_a_queue_row_tells_what_its_document_has() -> None:
    document = {**record(), "_id": "t1", "version": 1, "terminal_id": "till-7", "attributes": {"kind": "toys"}}
    document |= {"received_at": document["event_time"], "device": None}
    assert queue_row(document, own_columns(TERMINALS)).own == (("terminal", "till-7"), ("kind", "toys"))
    assert queue_row(document).own == ()


@pytest.mark.parametrize("view", ["Open alerts", "All transactions"])
def test_the_queue_shows_the_mappings_columns_where_the_demo_has_the_merchant(
    open_page: Open, desk: Any, view: str
) -> None:
    own_data(desk)
    at = open_page("analyst", "queue", q_view=view)
    assert failed(at) == []
    grid = at.dataframe[0]
    order = list(grid.proto.column_order)
    assert order[:4] == ["score", "amount", "own-terminal", "reason"]
    assert {"own-gift_card", "own-kind", "customer"} <= set(order)
    assert not {"merchant", "country", "channel", "category", "card"} & set(order)
    assert set(grid.value["own-terminal"]) == {"till-7"}
    assert '"label": "Sort of goods"' in grid.proto.columns
    assert at.text_input(key="q_search").placeholder == "Id of anything"


def test_the_queue_is_filtered_by_the_mappings_categories(open_page: Open, desk: Any) -> None:
    own_data(desk)
    asked: list[Any] = []
    page = desk.store.page
    desk.store.page = lambda filters, **k: asked.append(filters) or page(filters, **k)
    at = open_page("analyst", "queue", q_own_kind="toys")
    assert failed(at) == []
    assert asked[-1].own == (("kind", ("toys",)),)
    assert queue_filters.face("Sort of goods", ["gmail.com"], str) == "Sort of goods: gmail.com"
    at.button(key="q_clear").click().run()
    assert asked[-1].own == ()


def test_the_panel_and_the_transaction_speak_the_mappings_words(open_page: Open, desk: Any) -> None:
    own_data(desk)
    identifier = next(key for key, t in desk.store.items.items() if t.alert)
    at = open_page("analyst", "transaction", id=identifier)
    assert failed(at) == []
    said = text_of(at).replace("\\", "")
    for part in ("· Terminal till-7", "Age of the till", "12 days", "Sort of goods", "Gift card", "Spare"):
        assert part in said
    assert "Merchant" not in said
    order = list(at.dataframe[0].proto.column_order)
    assert order == ["when", "amount", "currency", "terminal", "gift_card", "score", "verdict"]


def test_the_export_has_the_mappings_columns(desk: Any) -> None:
    own_data(desk)
    lines = export.queue_csv(desk.transactions, QueueFilter(), Sort.RISK).decode("utf-8-sig").splitlines()
    assert lines[0].endswith("model_version,terminal,gift_card,device,kind")
    assert lines[1].endswith(",till-7,g-1,,toys")


def test_many_columns_of_a_payment_are_unfolded_on_demand(open_page: Open, desk: Any) -> None:
    own_data(desk)
    identifier = next(iter(desk.store.items))
    many = {f"c{number}": float(number) for number in range(40)}
    desk.store.items[identifier] = replace(desk.store.items[identifier], attributes=many)
    at = open_page("analyst", "transaction", id=identifier)
    assert failed(at) == []
    assert "28 more" in [expander.label for expander in at.expander]
    assert "C39" in text_of(at)
