"""One transaction: complete in every state, decided from its foot, refused or missing in sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.domain.states import AlertStatus, LabelValue
from services.transactions import ScoringFailure
from tests.pages.conftest import Open, failed, text_of


def alert_id(desk: Any) -> str:
    found = desk.store.items.values()
    return next(t.transaction_id for t in found if t.alert and t.alert.status is AlertStatus.OPEN)


@pytest.mark.parametrize("role", ["analyst", "manager", "admin"])
def test_everything_known_is_shown_to_every_role(open_page: Open, desk: Any, role: str) -> None:
    identifier = alert_id(desk)
    t = desk.store.items[identifier]
    at = open_page(role, "transaction", id=identifier)
    assert failed(at) == []
    said = text_of(at)
    for part in (f"{t.score.value:.3f}", "model v7", t.card["last4"], t.customer_id, "Alert opened", "No verdict yet"):
        assert part in said
    assert at.code[0].value == identifier
    assert bool([b for b in at.button if b.key == "verdict-fraud"]) == (role == "analyst")


def test_every_shape_of_transaction_can_be_drawn(open_page: Open, desk: Any) -> None:
    """Approved, unscored, without device, without places, customer never seen: nothing is assumed to be there."""
    t = desk.store.items[alert_id(desk)]
    bare = replace(
        t, transaction_id="bare", score=None, alert=None, features={}, customer={}, device=None, attributes={},
        events=(), merchant={k: v for k, v in t.merchant.items() if k != "location"}, customer_id="cus_new",
        scoring_failure=ScoringFailure(datetime.now(UTC), "timeout", 3),
    )  # fmt: skip
    desk.store.items["bare"] = bare
    at = open_page("analyst", "transaction", id="bare")
    assert failed(at) == []
    assert "Not scored: the model did not answer" in text_of(at)


def test_an_unknown_id_is_a_designed_state_with_a_way_out(open_page: Open) -> None:
    at = open_page("analyst", "transaction", id="nobody")
    assert failed(at) == []
    assert "No transaction has this id" in text_of(at)
    assert any(link.label == "Go to the queue" for link in at.get("page_link"))


def test_without_an_id_the_page_asks_for_one(open_page: Open) -> None:
    at = open_page("analyst", "transaction")
    assert failed(at) == []
    assert "Which transaction?" in text_of(at)


def test_a_database_that_never_answered_is_named(open_page: Open, desk: Any) -> None:
    identifier = alert_id(desk)
    desk.faults.down = {"MongoDB"}
    at = open_page("analyst", "transaction", id=identifier)
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)


def test_a_verdict_can_be_given_and_changed_and_both_stay_on_record(open_page: Open, desk: Any) -> None:
    identifier = alert_id(desk)
    at = open_page("analyst", "transaction", id=identifier)
    at.text_area(key=f"note-{identifier}").set_value("first look").run()
    at.button(key="verdict-fraud").click().run()
    assert failed(at) == []
    at.text_area(key=f"note-{identifier}").set_value("customer confirmed").run()
    at.button(key="verdict-genuine").click().run()
    said = text_of(at)
    assert desk.store.items[identifier].label.value is LabelValue.GENUINE
    assert [e.label.value for e in desk.store.items[identifier].labels] == [LabelValue.FRAUD, LabelValue.GENUINE]
    assert "first look" in said
    assert "customer confirmed" in said
    assert "replaced" in said


def test_a_write_that_fails_keeps_the_note_and_says_so(open_page: Open, desk: Any) -> None:
    identifier = alert_id(desk)
    at = open_page("analyst", "transaction", id=identifier)
    at.text_area(key=f"note-{identifier}").set_value("worth keeping").run()
    desk.faults.down = {"MongoDB"}
    at.button(key="verdict-fraud").click().run()
    assert failed(at) == []
    assert desk.store.items[identifier].label is None
    assert at.text_area(key=f"note-{identifier}").value == "worth keeping"
    assert "MongoDB is not reachable" in text_of(at)
