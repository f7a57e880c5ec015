"""Loop health: one verdict over six hops, and a page that stands whatever is down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.health import HopState
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip, healthy_hops
from ui import loop_reconciliation, loop_view, wiring

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
    assert [cell.replace(loop_view.NO_BREAK, " ") for cell in table["Behind"]] == [
        "–",
        "0.8 s",
        "4.1 s",
        "31 s",
        "–",
        "–",
    ]
    assert table["Rate"].tolist() == ["2.1/s", "2.1/s", "4.4/s", "4.3/s", "–", "–"]
    lake = table.iloc[3]
    assert [lake[name] for name in ("In", "Out", "Waiting", "Quarantined")] == ["6,480,122", "6,480,055", "64", "3"]
    assert "3 h ago" in table["Last error"].iloc[2]
    assert "31 s · 64 events".replace(" ", loop_view.NO_BREAK) in text_of(at)
    assert "v7 is serving." in text_of(at)


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
    paused = (replace(late[0], state=HopState.PAUSED), *late[1:])
    assert loop_view.verdict(paused).title == "The loop is paused at Lake"
    assert loop_view.verdict(()).state is HopState.DOWN


def test_an_error_is_cut_and_dated_and_not_repeated() -> None:
    hop = replace(healthy_hops(NOW)[0], last_error="x" * 300, last_error_at=NOW - timedelta(minutes=5))
    assert loop_view.last_error(hop, NOW).startswith(":small[5 min ago: xxx")
    assert len(loop_view.last_error(hop, NOW)) < 160
    assert loop_view.last_error(replace(hop, last_error=hop.sentence), NOW) == "–"


def test_rates_say_per_minute_below_one_a_second_and_nothing_they_do_not_know() -> None:
    shown = [loop_view.rate(value) for value in (None, 0.0, 0.2, 2.14, 640.0, 0.001)]
    assert shown == ["–", "0/min", "12/min", "2.1/s", "640/s", "<1/min"]


def test_an_admin_pauses_with_a_reason_everybody_sees_it_and_resumes(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "loop_health", loop_part="Connectors")
    assert failed(at) == []
    assert "1 running" in text_of(at)
    at.button(key="loop-pause-go-fraud-desk-stream").click().run()
    assert "Say in 1 to 500 characters why" in text_of(at)
    assert desk.loop.controls.audited == []
    at.text_area(key="loop-reason-fraud-desk-stream").set_value("The bucket moves").run()
    at.button(key="loop-pause-go-fraud-desk-stream").click().run()
    assert failed(at) == []
    assert "by Admin Person: The bucket moves" in text_of(at)
    assert [entry.outcome for entry in desk.loop.controls.audited] == ["requested", "done"]
    seen = open_page("manager", "loop_health", loop_part="Connectors")
    assert "The bucket moves" in text_of(seen)
    assert [button.key for button in seen.button if "loop-" in str(button.key)] == []
    at.button(key="loop-resume-fraud-desk-stream").click().run()
    assert desk.loop.api.connector.state.value == "RUNNING"
    assert "The bucket moves" not in text_of(at)


def test_without_connectors_the_page_says_what_to_set(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("admin", "loop_health", loop_part="Connectors")
    assert failed(at) == []
    assert "set FRAUD_DESK_CONNECTORS" in text_of(at)


def test_connectors_that_do_not_answer_are_named_and_the_hops_stand(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"connectors"}
    at = open_page("admin", "loop_health", loop_part="Connectors")
    assert failed(at) == []
    assert "connectors is not reachable" in text_of(at)
    assert "The loop is closed" in text_of(at)


def test_quarantine_shows_reasons_and_places_and_never_contents(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "loop_health", loop_part="Quarantine")
    assert failed(at) == []
    assert "3 records are in quarantine" in text_of(at)
    reasons, newest = (frame.value for frame in at.dataframe)
    assert reasons["Records"].tolist() == [3]
    assert list(newest.columns) == ["Reason", "Changed at (UTC)", "Raw object", "Line", "Offset"]
    equip(desk, empty=True)
    wiring.reads()._entries.clear()
    desk.health.shown = healthy_hops(NOW)
    at = open_page("manager", "loop_health", loop_part="Quarantine")
    assert "Nothing is in quarantine" in text_of(at)


def test_a_reconciliation_is_started_followed_and_read(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "loop_health", loop_part="Reconciliation")
    assert failed(at) == []
    assert "Nothing has been compared yet" in text_of(at)
    at.button(key="loop-compare").click().run()
    assert desk.reconciliation.wait(20) is not None
    at.run()
    assert failed(at) == []
    assert "MongoDB and the lake are the same" in text_of(at)
    days = at.dataframe[0].value
    assert (days["MongoDB rows"].tolist(), set(days["Same"])) == ([40] * 7, {"✓ same"})
    assert (days["MongoDB checksum"] == days["Lake checksum"]).all()
    desk.loop.rows.altered = 2
    at.button(key="loop-compare").click().run()
    run = desk.reconciliation.wait(20)
    at = open_page("manager", "loop_health", loop_part="Reconciliation")
    assert failed(at) == []
    assert "14 transactions differ" in text_of(at)
    assert at.dataframe[1].value["Field"].tolist() == ["amount_minor"] * 14
    assert [button.key for button in at.button if "loop-" in str(button.key)] == []
    lines = loop_reconciliation.csv(run, "differences").decode().splitlines()
    assert len(lines) == 15
    assert lines[1].split(",")[1:] == [f"{run.first}-000", "amount_minor", "0", "1"]
    assert len(loop_reconciliation.csv(run, "days").decode().splitlines()) == 8
