"""KPIs: the answer for every role and state, chance and maturity said, S3 down leaves the figures standing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip
from ui import wiring


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


@pytest.mark.parametrize("role", ["manager", "admin"])
def test_both_periods_and_the_backlog_stand_with_counts_and_comparison(open_page: Open, role: str) -> None:
    at = open_page(role, "kpis")
    assert failed(at) == []
    assert [m.label for m in at.metric] == 2 * [
        "Fraud by value", "Fraud by count", "Alert rate", "Precision", "Prevented loss", "Volume",
    ]  # fmt: skip
    text = text_of(at)
    assert "changes against the 30 days before" in text
    assert "changes against yesterday until" in text
    assert "630,000 transactions" in text
    assert "of the labels of the last 30 days have matured" in text
    assert "214 :gray[open]" in text
    assert len(at.get("plotly_chart")) == 2


def test_every_tile_states_its_formula_and_the_compared_period(open_page: Open) -> None:
    at = open_page("manager", "kpis")
    helps = [m.help for m in at.metric]
    assert all("÷" in text or "Amount of" in text for text in helps)
    assert all("yesterday until" in text for text in helps[:6])
    assert all("the 30 days before" in text for text in helps[6:])
    assert list(at.table[0].value["Figure"]) == [m.label for m in at.metric[:6]]


def test_an_analyst_is_refused_and_nothing_is_read(open_page: Open, desk: Any) -> None:
    desk.kpis = None
    at = open_page("analyst", "kpis")
    assert failed(at) == []
    assert "Your role does not open this page" in text_of(at)
    assert not at.metric


def test_no_transactions_say_so(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("manager", "kpis")
    assert failed(at) == []
    assert "No transactions in the last 60 days" in text_of(at)
    assert not at.metric


def test_a_database_that_never_answered_is_named(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page("manager", "kpis")
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)
    assert at.title[0].value
    assert not at.metric


def test_an_outage_keeps_the_figures_with_their_age(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "kpis")
    desk.faults.down = {"MongoDB"}
    wiring.forget("kpis.summary")
    wiring.reads()._entries[("kpis.summary",)].fresh_until = float("-inf")
    at.run()
    assert failed(at) == []
    assert len(at.metric) == 12
    assert "MongoDB is not reachable since" in text_of(at)


def test_s3_down_leaves_the_figures_and_names_what_is_missing(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"S3"}
    at = open_page("manager", "kpis")
    assert failed(at) == []
    assert len(at.metric) == 12
    assert not at.get("plotly_chart")
    assert "daily course" in text_of(at)
    assert "S3 is not reachable" in text_of(at)
