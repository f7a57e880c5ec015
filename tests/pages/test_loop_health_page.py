"""Loop health: one verdict over six hops, and a page that stands whatever is down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.health import HopState
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip, healthy_hops
from ui import loop_view, wiring

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


@pytest.mark.parametrize("role", ["manager", "admin"])
def test_every_hop_has_state_lag_counts_and_last_error(open_page: Open, role: str) -> None:
    at = open_page(role, "loop_health")
    assert failed(at) == []
    assert "The loop is closed" in text_of(at)
    table = at.table[0].value
    assert len(table) == 6
    assert "Working" in table["State"].iloc[0]
    assert table["Behind"].tolist() == ["–", "0.8 s", "4.1 s", "31 s", "–", "–"]
    assert "3 h ago" in table["Last error"].iloc[2]


def test_an_analyst_is_refused(open_page: Open) -> None:
    at = open_page("analyst", "loop_health")
    assert "Your role does not open this page" in text_of(at)
    assert not at.table


def test_a_broken_hop_is_the_verdict(open_page: Open, desk: Any) -> None:
    hops = list(desk.health.shown)
    hops[2] = replace(hops[2], state=HopState.DOWN, sentence="The stream to S3 stopped at 14:05:11 UTC.")
    desk.health.shown = tuple(hops)
    at = open_page("manager", "loop_health")
    assert failed(at) == []
    assert "The loop is broken at Stream to S3" in text_of(at)
    assert "Down" in at.table[0].value["State"].iloc[2]


def test_no_report_yet_says_what_to_expect(open_page: Open, desk: Any) -> None:
    desk.health.shown = ()
    at = open_page("manager", "loop_health")
    assert failed(at) == []
    assert "No hop has reported yet" in text_of(at)


def test_health_that_cannot_be_read_is_named_and_then_kept_stale(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"health"}
    at = open_page("manager", "loop_health")
    assert failed(at) == []
    assert "health is not reachable" in text_of(at)
    desk.faults.down = set()
    at = open_page("manager", "loop_health")
    assert len(at.table[0].value) == 6
    desk.faults.down = {"health"}
    wiring.reads()._entries[("health.hops",)].fresh_until = float("-inf")
    at.run()
    assert len(at.table[0].value) == 6
    assert "health is not reachable since" in text_of(at)


def test_verdict_weighs_down_over_lagging_and_forgives_idle() -> None:
    hops = healthy_hops(NOW)
    assert loop_view.verdict(hops).state is HopState.OK
    late = (replace(hops[3], state=HopState.LAGGING), *hops[:3], *hops[4:])
    assert loop_view.verdict(late).title == "Lake lags behind"
    down = (*late[:-1], replace(hops[5], state=HopState.DOWN))
    found = loop_view.verdict(down)
    assert (found.title, found.sentence) == ("The loop is broken at Endpoint", "4 of 6 hops work.")
    assert loop_view.verdict(()).state is HopState.DOWN


def test_an_error_is_cut_and_dated_and_not_repeated() -> None:
    hop = replace(healthy_hops(NOW)[0], last_error="x" * 300, last_error_at=NOW - timedelta(minutes=5))
    assert loop_view.last_error(hop, NOW).startswith(":small[5 min ago: xxx")
    assert len(loop_view.last_error(hop, NOW)) < 160
    assert loop_view.last_error(replace(hop, last_error=hop.sentence), NOW) == "–"
