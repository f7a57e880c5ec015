"""Fraud rates: from S3 alone, every control in the address, what is behind a point, stale data keeps its sentence."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from services.rates import RatesQuery
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip
from ui import rates_choice, rates_export, rates_table, wiring
from ui.rates_choice import Choice
from ui.rates_frames import Measure


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


def alt(at: Any) -> str:
    return str(at.get("plotly_chart")[0].proto.alt)


@pytest.mark.parametrize("role", ["manager", "admin"])
def test_headline_chart_and_table_answer_with_counts(open_page: Open, desk: Any, role: str) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page(role, "fraud_rates")
    assert failed(at) == []
    assert [m.label for m in at.metric] == ["Fraud by value", "Fraud by count", "Alert rate", "Labels matured"]
    assert "current to" in text_of(at)
    assert "Fraud by value per week" in alt(at)
    table = at.dataframe[0].value
    assert list(table.columns[:2]) == ["bucket", "fraud_bps_value"]
    assert {"fraud", "transactions", "matured_share"} <= set(table.columns)
    held = desk.rates.table(desk.rates.asked[-1])
    assert at.metric[1].value == f"{held.total.fraud_bps_count:,.1f} bps"
    assert at.metric[0].value == f"{held.total.fraud_bps_value:,.1f} bps"


def test_an_analyst_is_refused(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "fraud_rates")
    assert "Your role does not open this page" in text_of(at)
    assert desk.rates.asked == []


def test_the_address_is_the_view(open_page: Open, desk: Any) -> None:
    address = {
        "rates_range": "30d", "rates_bucket": "Week", "rates_measure": "By count", "rates_by": "Category",
        "rates_zone": "Asia/Kolkata", "only_channel": "Ecom", "rates_band": "false",
    }  # fmt: skip
    at = open_page("manager", "fraud_rates", **address)
    assert failed(at) == []
    query = desk.rates.asked[-1]
    assert query.end - query.start == timedelta(days=30)
    assert query.start.strftime("%H:%M") == "18:30"
    assert (query.bucket, query.zone, query.dimensions) == ("week", "Asia/Kolkata", ("category",))
    assert query.filters == {"channel": ("ecom",)}
    table = at.dataframe[0].value
    assert list(table.columns[:2]) == ["first", "fraud_bps_count"]
    assert len(table) == 8
    assert "Other: 4 more by category" in text_of(at)
    assert not at.toggle(key="rates_band").value


def test_the_zone_is_always_in_the_address(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates")
    assert at.query_params["rates_zone"] == ["UTC"] or at.query_params["rates_zone"] == "UTC"
    at.selectbox(key="rates-zone").set_value("Asia/Tokyo").run()
    assert failed(at) == []
    assert desk.rates.asked[-1].zone == "Asia/Tokyo"
    assert "Asia/Tokyo" in at.query_params["rates_zone"]


def test_two_dimensions_are_a_table_of_pairs(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_by="Merchant country", rates_and="Channel", rates_measure="By count")
    assert failed(at) == []
    assert desk.rates.asked[-1].dimensions == ("country", "channel")
    assert "Fraud by count by merchant country and channel" in alt(at)
    assert list(at.dataframe[0].value.columns[:3]) == ["first", "second", "fraud_bps_count"]
    assert len(at.dataframe[0].value) == 28


def test_the_former_period_is_named_and_signed(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="30d", rates_compare="true")
    assert failed(at) == []
    before, query = sorted(desk.rates.asked[-2:], key=lambda asked: asked.start)
    assert before.end == query.start
    assert before.end - before.start == timedelta(days=30)
    last = before.end - timedelta(days=1)
    assert at.metric[1].delta.endswith(f" to {last.day} {last:%b}")
    assert at.metric[1].delta[0] in "+−±"
    assert "bps vs " in at.metric[1].delta
    assert "Dashed: the former period" in text_of(at)
    assert "change" in at.dataframe[0].value.columns


def test_filters_clear_in_one_click(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", only_channel="Ecom", only_country="DE")
    assert at.button(key="rates-clear").label == "Clear 2"
    at.button(key="rates-clear").click().run()
    assert failed(at) == []
    assert desk.rates.asked[-1].filters == {}


def test_custom_dates_are_local_days_both_included(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="Custom", rates_zone="Europe/Berlin")
    end = datetime.now(UTC).date() - timedelta(days=10)
    at.date_input(key="rates_dates").set_value((end - timedelta(days=4), end)).run()
    assert failed(at) == []
    query = desk.rates.asked[-1]
    assert (query.start, query.end) == rates_choice.between(end - timedelta(days=4), end, zone="Europe/Berlin")


def test_what_a_link_asks_for_in_vain_is_said_once_and_the_usual_view_shown(open_page: Open, desk: Any) -> None:
    at = open_page(
        "manager", "fraud_rates", rates_range="9999d", rates_by="$where", only_channel="<img>", rates_point="x"
    )
    assert failed(at) == []
    assert desk.rates.asked[-1].dimensions == ()
    assert desk.rates.asked[-1].filters == {}
    said = text_of(at)
    assert "range “9999d”, breakdown “$where”, channel “<img>” and a point in the chart, which do not exist" in said
    assert desk.rates.drilled == []
    at.segmented_control(key="rates_range").set_value("7d").run()
    assert "This link asks for" not in text_of(at)


def test_a_point_in_the_address_shows_its_transactions(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_by="Channel", rates_range="30d")
    row = desk.rates.table(desk.rates.asked[-1]).frame.query("first == 'ecom' and fraud > 0").iloc[-1]
    point = [f"{row['bucket']:%Y-%m-%dT%H:%MZ}", "ecom", "all"]
    at.query_params["rates_point"] = point
    at.run()
    assert failed(at) == []
    query, only_fraud = desk.rates.drilled[-1]
    assert (query.start, query.filters, only_fraud) == (row["bucket"], {"channel": ("ecom",)}, False)
    shown = at.dataframe[0].value
    assert len(shown) == min(row["transactions"], 100)
    assert shown["open"].str.startswith("/transaction?id=txn_").all()
    at.toggle(key="rates_fraud").set_value(True).run()
    assert len(at.dataframe[0].value) == row["fraud"]
    assert set(at.dataframe[0].value["label"]) == {"Fraud"}
    at.button(key="rates-drill-close").click().run()
    assert "rates_point" not in at.query_params
    assert list(at.dataframe[0].value.columns[:1]) == ["first"]


def test_many_transactions_are_read_a_page_at_a_time(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="30d", rates_point=["range", "all", "all"])
    first = list(at.dataframe[0].value["open"])
    assert at.button(key="rates-drill-previous").disabled
    at.button(key="rates-drill-next").click().run()
    assert failed(at) == []
    second = list(at.dataframe[0].value["open"])
    assert len(second) == 100
    assert not set(first) & set(second)
    assert "101 to 200 of " in text_of(at)
    at.button(key="rates-drill-previous").click().run()
    assert list(at.dataframe[0].value["open"]) == first


def test_a_point_that_the_view_does_not_have_any_more_is_closed(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_by="Channel", rates_point=["range", "ecom", "all"])
    assert len(desk.rates.drilled) == 1
    at.selectbox(key="rates_by").set_value("none").run()
    assert failed(at) == []
    assert "rates_point" not in at.query_params
    assert len(desk.rates.drilled) == 1


def test_other_opens_exactly_the_values_it_sums(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_by="Category", rates_point=["range", "Other", "all"])
    assert failed(at) == []
    query, _ = desk.rates.drilled[-1]
    assert len(query.filters["category"]) == 4
    table = at.dataframe[1].value.set_index("first")
    rest = [name for name in table.index if name.lower().replace(" ", "_") in query.filters["category"]]
    found = desk.rates.transactions(query, limit=1).matching
    assert found == table.loc[rest, "transactions"].sum()


def test_a_row_of_the_table_opens_its_transactions(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="7d")
    points = at.session_state["rates-table-points"]
    assert rates_table.points_of(desk.rates.table(desk.rates.asked[-1]).frame.iloc[::-1], _choice(desk)) == points
    at.query_params["rates_point"] = points[0].to_address()
    at.run()
    assert at.session_state["rates-table"]["selection"]["rows"] == [0]


def _choice(desk: Any) -> Choice:
    query: RatesQuery = desk.rates.asked[-1]
    return Choice(query.start, query.end, query.bucket, query.zone, Measure.VALUE, query.dimensions)


def test_too_many_points_become_coarser_and_say_so(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="90d", rates_bucket="Hour")
    assert failed(at) == []
    assert desk.rates.asked[-1].bucket == "day"
    assert "By the hour this range has too many points to read" in text_of(at)


def test_immature_labels_and_small_numbers_are_explained(open_page: Open, desk: Any) -> None:
    at = open_page("manager", "fraud_rates", rates_range="7d")
    assert "Hatched and lighter: labels are still arriving" in text_of(at)
    assert "Hollow points rest on fewer than 10 frauds or 1,000 payments" in text_of(at)


def test_exports_carry_every_value_before_folding_and_quote_formulas(desk: Any) -> None:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    query = RatesQuery(end - timedelta(days=30), end, dimensions=("category",))
    choice = Choice(query.start, query.end, "day", "UTC", Measure.VALUE, ("category",))
    frame = rates_export.table_of(desk.rates.table(query).frame, choice)
    assert set(frame["category"]) == set(desk.rates.values("category"))
    lines = list(csv.DictReader(io.StringIO(rates_export.rows_csv(frame).decode("utf-8-sig"))))
    assert len(lines) == len(frame)
    assert sum(int(line["transactions"]) for line in lines) == frame["transactions"].sum()
    again = pq.read_table(io.BytesIO(rates_export.to_parquet(frame))).to_pandas()
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)
    assert rates_export.name_of(choice).endswith("-by-category-day")

    rows = rates_export.every_row(lambda cursor, limit: desk.rates.transactions(query, limit=limit, cursor=cursor))
    assert len(rows) == desk.rates.transactions(query).matching > 1_000
    named = [
        line["merchant_name"] for line in csv.DictReader(io.StringIO(rates_export.rows_csv(rows).decode("utf-8-sig")))
    ]
    assert "'=HYPERLINK(1)" in named
    assert not any(name.startswith("=") for name in named)


def test_an_empty_lake_says_what_to_expect(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("manager", "fraud_rates")
    assert failed(at) == []
    assert "The lake is empty so far" in text_of(at)
    assert not at.metric


def test_filters_that_leave_nothing_say_so(open_page: Open, desk: Any) -> None:
    at = open_page(
        "manager", "fraud_rates", rates_range="24h", only_country="IE", only_category="Jewellery", only_channel="Moto"
    )
    assert failed(at) == []
    assert at.metric[0].value == "–"


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
