"""The queue in a browser while rows arrive."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import expect

from services.transactions import QueueFilter, QueueView, Sort
from tests.e2e.alerts import an_open_alert


def selected_id(page: Any) -> str:
    text = page.get_by_text(re.compile("Customer .*Id ", re.S)).first.inner_text()
    return str(re.search(r"Id (\S+)", text).group(1))  # type: ignore[union-attr]


def test_the_selected_row_stays_the_same_transaction_while_rows_arrive(desk: Any, signed_in: Any, stack: Any) -> None:
    page = signed_in("analyst")
    page.goto(f"{desk.url}/queue")
    page.get_by_role("radio", name="All transactions").click()
    page.locator(".st-key-panel-start button").first.click()
    first = selected_id(page)
    since = datetime.now(UTC)
    for _ in range(4):
        page.wait_for_timeout(2500)
        assert selected_id(page) == first
    arrived = stack.transactions.newer(QueueFilter(view=QueueView.ALL), since=since - timedelta(seconds=1))
    assert arrived >= 3, "live traffic arrived meanwhile"
    page.locator(".st-key-queue-new button").first.click()
    page.wait_for_timeout(2500)
    assert selected_id(page) == first
    page.locator(".st-key-panel-Next button").first.click()
    page.wait_for_timeout(1500)
    assert selected_id(page) != first


def test_filters_live_in_the_url_and_survive_a_reload(desk: Any, signed_in: Any, stack: Any) -> None:
    page = signed_in("analyst")
    page.goto(f"{desk.url}/queue")
    page.get_by_role("radio", name="All transactions").click()
    page.wait_for_url(re.compile("q_view"))
    rows = stack.transactions.page(QueueFilter(view=QueueView.ALL), sort=Sort.NEWEST, limit=1).rows
    search = page.get_by_placeholder(re.compile("Id of anything"))
    search.fill(rows[0].customer_id)
    search.press("Enter")
    page.wait_for_url(re.compile(rows[0].customer_id))
    shared = page.url
    page.goto(shared)
    expect(page.get_by_placeholder(re.compile("Id of anything"))).to_have_value(rows[0].customer_id)


def test_two_analysts_on_one_alert_the_second_is_told(desk: Any, signed_in: Any, stack: Any) -> None:
    alert = an_open_alert(stack)
    first, second = signed_in("analyst"), signed_in("analyst")
    for page in (first, second):
        page.goto(f"{desk.url}/transaction?id={alert}")
        page.locator(".st-key-verdict-genuine button").first.wait_for()
    first.locator(".st-key-verdict-genuine button").first.click()
    deadline = time.monotonic() + 10
    while stack.transactions.get(alert).label is None and time.monotonic() < deadline:
        time.sleep(0.2)
    note = second.get_by_role("textbox", name="Note")
    note.fill("my own view")
    note.press("Control+Enter")
    second.locator(".st-key-verdict-fraud button").first.click()
    expect(second.get_by_text(re.compile("Ana Ruiz decided genuine at"))).to_be_visible()
    expect(second.get_by_role("textbox", name="Note")).to_have_value("my own view")
    assert stack.transactions.get(alert).label.value == "genuine"
