"""Documents of the simulator keep to docs/contracts.md and pass the front door's own rules."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta

import pytest

from embedded.simulator.documents import address, moment, unix_ms
from embedded.simulator.history import generate
from services.domain.transaction_rules import check_transaction

UNTIL = datetime(2026, 11, 5, 9, 30, tzinfo=UTC)
DOCUMENTATION = [
    ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
FIELDS = {
    *("_id", "event_time", "received_at", "amount_minor", "currency", "exponent", "customer_id", "customer", "card"),
    *("merchant", "terminal_id", "channel", "entry_mode", "attributes", "version"),
}


@pytest.fixture(scope="module")
def documents() -> list[dict]:
    return generate(transactions=6_000, seed=3, until=UNTIL).documents(0, 6_000)


def test_every_document_passes_the_front_door(documents: list[dict]) -> None:
    for row, document in enumerate(documents):
        record = {k: v for k, v in document.items() if k not in ("_id", "received_at", "version")}
        kept, problems = check_transaction(record | {"transaction_id": document["_id"]}, row=row, now=UNTIL)
        assert problems == []
        assert kept == document | {"received_at": UNTIL}


def test_every_document_has_the_fields_of_the_contract(documents: list[dict]) -> None:
    for document in documents:
        web = document["channel"] == "ecom"
        assert document.keys() == FIELDS | ({"device"} if web else set())
        assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", document["_id"])
        assert isinstance(document["amount_minor"], int)
        assert document["amount_minor"] > 0
        assert document["event_time"].utcoffset() == timedelta(0)
        assert document["event_time"].microsecond % 1000 == 0
        assert timedelta(0) < document["received_at"] - document["event_time"] < timedelta(seconds=1)
    assert len({document["_id"] for document in documents}) == len(documents)


def test_no_text_holds_a_run_of_digits_as_long_as_a_card_number(documents: list[dict]) -> None:
    for document in documents:
        text = repr({k: v for k, v in document.items() if k not in ("event_time", "received_at")})
        assert not re.search(r"\d{12,}", text)


def test_addresses_come_from_the_documentation_ranges() -> None:
    for number in range(5_000):
        found = ipaddress.ip_address(address(number))
        assert any(found in network for network in DOCUMENTATION)


def test_a_millisecond_survives_the_way_to_a_datetime_and_back() -> None:
    for value in (0, 1, 1_780_000_000_123, 1_999_999_999_999):
        assert unix_ms(moment(value)) == value
