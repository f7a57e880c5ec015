"""Fraud rates: from S3 alone, every control in the address, one click clears, stale data keeps its sentence."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip
from ui import wiring


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


@pytest.mark.parametrize("role", ["manager", "admin"])
def test_headline_chart_and_table_answer_with_counts(open_page: Open, desk: Any, role: str) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page(role, "fraud_rates")
    assert failed(at) == []
    assert [m.label for m in at.metric] == ["Fraud by value", "Fraud by count", "Alert rate", "Labels matured"]
    assert "current to" in text_of(at)
    assert len(at.get("plotly_chart")) == 1
    table = at.dataframe[0].value
    assert list(table.columns[:2]) == ["bucket", "fraud_bps_value"]
    assert {"fraud", "transactions", "matured_share"} <= set(table.columns)


def test_an_analyst_is_refused(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "fraud_rates")
    assert "Your role does not open this page" in text_of(at)
    assert desk.rates.asked == []


def test_the_address_is_the_view(open_page: Open, desk: Any) -> None:
    address = {
        "rates_range": "30d", "rates_bucket": "Week", "rates_measure": "By count", "rates_by": "Category",
        "rates_channel": "Ecom",
    }  # fmt: skip
    at = open_page("manager", "fraud_rates", **address)
    assert failed(at) == []
    query = desk.rates.asked[-1]
    assert (query.end - query.start).days == 29
    assert (query.bucket, query.dimension, query.filters) == ("week", "category", {"channel": ("ecom",)})
    table = at.dataframe[0].value
    assert list(table.columns[:2]) == ["value", "fraud_bps_count"]
    assert len(table) == 8


def test_filters_clear_in_one_click(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_channel="Ecom", rates_country="DE")
    assert at.button(key="rates-clear").label == "Clear 2"
    at.button(key="rates-clear").click().run()
    assert failed(at) == []
    assert desk.rates.asked[-1].filters == {}
    assert "rates_channel" not in at.query_params


def test_custom_dates_are_days_of_utc_both_included(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="Custom")
    end = date.today() - timedelta(days=10)
    at.date_input(key="rates_dates").set_value((end - timedelta(days=4), end)).run()
    assert failed(at) == []
    query = desk.rates.asked[-1]
    assert (query.start, query.end, query.bucket) == (end - timedelta(days=4), end, "day")


def test_nonsense_in_the_address_is_ignored(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="9999d", rates_by="$where", rates_channel="<img>")
    assert failed(at) == []
    assert desk.rates.asked[-1].dimension is None


def test_an_empty_lake_says_what_to_expect(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("manager", "fraud_rates")
    assert failed(at) == []
    assert "The lake is empty so far" in text_of(at)
    assert not at.metric


def test_s3_that_never_answered_is_named_and_never_looks_like_no_fraud(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"S3"}
    at = open_page("manager", "fraud_rates")
    assert failed(at) == []
    assert "S3 is not reachable" in text_of(at)
    assert not at.metric


def test_s3_lost_keeps_the_last_figures_and_says_since_when(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates")
    desk.faults.down = {"S3"}
    for entry in wiring.reads()._entries.values():
        entry.fresh_until = float("-inf")
    at.run()
    assert failed(at) == []
    assert len(at.metric) == 4
    assert "S3 is not reachable since" in text_of(at)
    assert "stale" in text_of(at)
