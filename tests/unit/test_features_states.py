"""What is remembered of entities, how large it gets, and where it comes from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import bson
import pyarrow as pa
import pytest

from services.features import (
    DEMO,
    State,
    event_from_document,
    from_lake,
    label_from_document,
    lake_columns,
    needs_transaction,
)
from services.features.columns import read_transactions
from services.features.memory import FRAUDS_MAX, RECENT_MAX, SEEN_MAX
from services.lake_schema import TRANSACTIONS
from tests.unit.feature_events import DAY, HOUR, MONDAY, at, verdict


def test_something_far_too_late_is_left_out_and_breaks_nothing() -> None:
    states: dict[str, State] = {}
    for n in range(200):
        DEMO.observe(at(n * HOUR), states)
    before = list(states["customer:c"]["times"])
    DEMO.observe(at(-400 * DAY), states)
    assert states["customer:c"]["times"] == before == sorted(before)
    assert states["merchant:m"]["days"] == sorted(states["merchant:m"]["days"])


def test_an_unknown_kind_of_entity_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        DEMO.new_state("card:1")


def test_entities_are_those_the_event_touches() -> None:
    assert DEMO.entity_keys(at(0)) == ("customer:c", "merchant:m", "terminal:T")
    online = at(0, terminal_id=None, device_id="d")
    assert DEMO.entity_keys(online) == ("customer:c", "merchant:m", "device:d")
    assert DEMO.label_keys(verdict(online, 0)) == ("customer:c", "merchant:m", "device:d")


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
        "channel": "pos",
        "entry_mode": "keyed",
        "device": {"id": "d1"},
    }
    row = {
        "transaction_id": "t1",
        "event_time": moment,
        "amount_minor": 4_120,
        "customer_id": "c1",
        "home_country": None,
        "received_at": None,
        "home_lon": 13.4,
        "home_lat": 52.5,
        "issuer_country": "DE",
        "merchant_id": "m1",
        "category": "travel",
        "merchant_country": "FR",
        "merchant_lon": 2.3,
        "merchant_lat": 48.9,
        "terminal_id": "T1",
        "channel": "pos",
        "entry_mode": "keyed",
        "device_id": "d1",
    }
    event = event_from_document(DEMO, document)
    assert event.names == ("c1", "m1", "T1", "d1", "FR", "travel")
    assert event.numbers == (1.0, 0.0, 0.0, 1.0)
    assert (event.place, event.home) == ((2.3, 48.9), (13.4, 52.5))
    assert event.at_ms == 1_780_317_000_123
    schema = pa.schema([(f.name, f.type) for f in TRANSACTIONS if f.name in lake_columns(DEMO)])
    rows = read_transactions(DEMO, from_lake(DEMO, pa.Table.from_pylist([row], schema)))
    assert replace(rows.event(0), transaction_id="t1") == event
    document.pop("device")
    document["transaction_id"] = document.pop("_id")
    assert event_from_document(DEMO, document).names == ("c1", "m1", "T1", None, "FR", "travel")


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
    label = label_from_document(DEMO, document)
    assert DEMO.label_keys(label) == ("customer:c", "merchant:m", "terminal:T")
    assert (label.value, label.event_ms, label.labelled_ms) == ("fraud", MONDAY, MONDAY)
    assert not needs_transaction(DEMO)


def test_states_stay_bounded_in_length_and_in_bytes() -> None:
    states: dict[str, State] = {}
    for n in range(2_000):
        # The longest id that the front door takes.
        event = at(
            n * HOUR, merchant_id=f"{n % 150:064}", device_id=f"{n:064}", transaction_id=f"{n:064}", country=f"{n}"
        )
        DEMO.observe(event, states)
        DEMO.observe(at(n * HOUR, customer_id=f"{n:064}", device_id="shared"), states)
        DEMO.observe_label(verdict(event, n * HOUR), states)
    customer, shared, terminal = states["customer:c"], states["device:shared"], states["terminal:T"]
    assert len(customer["times"]) == len(customer["amounts"]) < RECENT_MAX
    assert [len(customer["seen"][kind]["names"]) for kind in ("merchant", "device", "country")] == [SEEN_MAX] * 3
    assert len(shared["payers"]["names"]) == len(shared["payers"]["used"]) == SEEN_MAX
    assert len(terminal["frauds"]) <= FRAUDS_MAX
    assert len(terminal["days"]) == 31 == len(terminal["fraud_days"])
    # A payer of the desk's own plan remembers five kinds of others; ids are of 64 characters at most.
    assert max(len(bson.encode(state)) for key, state in states.items() if key.startswith("customer:")) < 36_000
    assert max(len(bson.encode(state)) for key, state in states.items() if not key.startswith("customer:")) < 16_000
