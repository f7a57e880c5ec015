"""A manager follows a rise in the fraud rate down to the transactions, and sends somebody else the link."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from bench.screenshots import settle

POINT = ".st-key-rates-chart .scatterlayer .trace .points path"
LABEL = ".st-key-rates-chart .hoverlayer .hovertext"


def headline(panel: Any) -> str:
    """What the panel says above its table; the buttons below may still be on their way."""
    return panel.inner_text().partition("newest first")[0]


def test_a_click_on_a_point_opens_its_transactions_and_the_link_opens_the_same_view(desk: Any, signed_in: Any) -> None:
    page = signed_in("manager")
    page.goto(f"{desk.url}/fraud_rates?rates_by=Channel&rates_measure=By+count&rates_compare=true")
    expect(page.get_by_text("Fraud by count").first).to_be_visible()
    settle(page)
    panel = page.locator(".st-key-rates-drill")
    for n in range(6):  # a chart that is being drawn anew at this moment takes no click: a person clicks again
        page.locator(POINT).nth(n).hover(force=True)
        with suppress(PlaywrightTimeout):
            page.locator(LABEL).first.wait_for(timeout=3_000)
        page.mouse.down()
        page.mouse.up()
        with suppress(PlaywrightTimeout):
            panel.wait_for(timeout=5_000)
            break
    expect(panel.get_by_text(re.compile(r"^1 to \d+ of [\d,]+, newest first$"))).to_be_visible()
    said = headline(panel)
    assert "rates_point=" in page.url
    assert "rates_zone=" in page.url

    page.get_by_role("button", name="Export").first.click()
    menu = page.get_by_test_id("stPopoverBody")
    with page.expect_download() as csv:
        menu.get_by_role("button", name="CSV").click()
    assert csv.value.suggested_filename.endswith("-by-channel-week.csv")
    with page.expect_download() as png:
        menu.get_by_role("button", name="PNG").click()
    assert png.value.suggested_filename.endswith("-by-channel-week.png")

    other = signed_in("admin", timezone_id="Asia/Tokyo")
    other.goto(page.url)
    settle(other)
    expect(other.locator(".st-key-rates-drill").get_by_text(re.compile("newest first"))).to_be_visible()
    assert headline(other.locator(".st-key-rates-drill")) == said
