"""The queue: what each role sees in each state, selection, verdicts, newcomers, addresses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.domain.states import AlertStatus, LabelValue
from services.health import Warning
from tests.pages.conftest import Open, failed, text_of
from ui import queue_state


def rows(at: Any) -> Any:
    return at.dataframe[0].value


def select(at: Any, position: int) -> Any:
    """What a click on a row does: the grid's state, then its callback, then a run."""
    identifier = at.session_state["queue-drawn"][position]
    at.session_state["queue-selected"] = identifier
    at.run()
    return identifier


@pytest.mark.parametrize("role", ["analyst", "manager", "admin"])
def test_open_alerts_are_shown_riskiest_first_to_every_role(open_page: Open, desk: Any, role: str) -> None:
    at = open_page(role, "queue")
    assert failed(at) == []
    scores = list(rows(at)["score"])
    assert len(scores) == 50
    assert scores == sorted(scores, reverse=True)
    said = text_of(at)
    for name in ("open alerts", "at risk", "overdue", "not scored"):
        assert name in said


def test_an_empty_desk_says_so_and_what_to_expect(open_page: Open, desk: Any) -> None:
    desk.store.items.clear()
    at = open_page("analyst", "queue")
    assert failed(at) == []
    assert "No open alerts" in text_of(at)
    assert not at.dataframe


def test_filters_that_match_nothing_say_how_to_get_out(open_page: Open) -> None:
    at = open_page("analyst", "queue", q_search="nobody")
    assert "Nothing matches these filters" in text_of(at)
    at.button(key="q_clear").click().run()
    assert len(rows(at)) == 50
    assert "q_search" not in at.query_params


def test_a_database_that_never_answered_is_named_instead_of_an_empty_list(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page("analyst", "queue")
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)
    assert "No open alerts" not in text_of(at)


def test_an_outage_keeps_rows_and_note_and_stops_verdicts(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "queue")
    identifier = select(at, 0)
    at.text_area(key=f"note-{identifier}").set_value("called the customer").run()
    desk.faults.down = {"MongoDB"}
    from ui import wiring

    wiring.forget()
    at.run()
    assert failed(at) == []
    assert len(rows(at)) == 50
    said = text_of(at)
    assert "MongoDB is not reachable since" in said
    assert "decisions cannot be saved, your text is kept" in said
    assert at.text_area(key=f"note-{identifier}").value == "called the customer"
    assert all(at.button(key=f"verdict-{value}").disabled for value in LabelValue)


def test_a_warning_says_its_time_once(open_page: Open, desk: Any) -> None:
    sentence = "Scoring waits since 11:55:00 UTC (S3 is not reachable): new transactions arrive but wait unscored."
    desk.health.shown = (Warning("scorer", sentence, datetime(2026, 6, 1, 11, 55, tzinfo=UTC)),)
    at = open_page("analyst", "queue")
    assert [w.value.replace("\\", "") for w in at.warning] == [sentence]


def test_an_address_restores_view_filters_and_order(open_page: Open) -> None:
    at = open_page("analyst", "queue", q_view="All transactions", q_sort="Largest first", q_channel="Atm")
    assert failed(at) == []
    amounts = list(rows(at)["amount"])
    assert amounts == sorted(amounts, reverse=True)
    assert set(rows(at)["channel"]) == {"atm"}


def test_pages_follow_each_other_without_overlap_and_the_cursor_is_in_the_address(open_page: Open) -> None:
    at = open_page("analyst", "queue")
    first = set(at.session_state["queue-drawn"])
    at.button(key="queue-next").click().run()
    second = set(at.session_state["queue-drawn"])
    assert second
    assert not first & second
    assert at.query_params["cursor"]
    at.button(key="queue-previous").click().run()
    assert set(at.session_state["queue-drawn"]) == first
    assert "cursor" not in at.query_params


def test_newcomers_wait_behind_a_button(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "queue")
    before = at.session_state["queue-drawn"]
    newcomer = desk.store.arrive(score=0.9999)
    from ui import wiring

    wiring.reads()._entries.clear()
    at.run()
    assert at.session_state["queue-drawn"] == before
    assert at.button(key="queue-new").label == "1 new"
    at.button(key="queue-new").click().run()
    assert at.session_state["queue-drawn"][0] == newcomer


def test_a_verdict_is_saved_and_the_next_open_alert_opens(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "queue")
    first = select(at, 0)
    at.text_area(key=f"note-{first}").set_value("card was stolen").run()
    at.button(key="verdict-fraud").click().run()
    assert failed(at) == []
    stored = desk.store.items[first]
    assert stored.label.value is LabelValue.FRAUD
    assert stored.alert.status is AlertStatus.CLOSED
    assert stored.labels[0].note == "card was stolen"
    drawn = at.session_state["queue-drawn"]
    assert drawn[0] == first, "the decided row keeps its place"
    assert at.session_state["queue-selected"] == drawn[1]
    assert rows(at)["state"][0] == "Fraud"


def test_the_second_of_two_analysts_is_told_who_was_first_and_keeps_the_text(open_page: Open, desk: Any) -> None:
    from services.access import Actor, Role

    at = open_page("analyst", "queue")
    first = select(at, 0)
    at.text_area(key=f"note-{first}").set_value("looks genuine").run()
    bob = Actor("s-bob", "Bob", Role.ANALYST)
    version = desk.store.items[first].version
    desk.cases.decide(first, LabelValue.FRAUD, note="", expected_version=version, actor=bob)
    at.button(key="verdict-genuine").click().run()
    said = text_of(at)
    assert "Bob decided fraud" in said
    assert "not saved" in said
    assert at.text_area(key=f"note-{first}").value == "looks genuine"
    assert desk.store.items[first].label.value is LabelValue.FRAUD


@pytest.mark.parametrize("role", ["manager", "admin"])
def test_roles_that_do_not_decide_see_no_verdict_buttons(open_page: Open, role: str) -> None:
    at = open_page(role, "queue")
    select(at, 0)
    assert "analysts give them" in text_of(at)
    assert not [b for b in at.button if b.key and b.key.startswith("verdict-")]


def test_a_selected_row_that_left_the_list_stays_open_with_a_note(open_page: Open) -> None:
    at = open_page("analyst", "queue")
    identifier = select(at, 0)
    at.text_input(key="q_search").set_value("cus_00003").run()
    assert identifier not in at.session_state["queue-drawn"]
    assert at.session_state[queue_state._SELECTED] == identifier
    assert "No longer among the rows shown" in text_of(at)


def test_hostile_names_stay_text(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "queue")
    names = list(rows(at)["merchant"])
    select(at, next(i for i, name in enumerate(names) if name.startswith("<img")))
    shown = [m.value for m in at.markdown if "img src" in m.value]
    assert shown
    assert all("\\<img" in value for value in shown)
    assert not any(m.allow_html for m in at.markdown)
