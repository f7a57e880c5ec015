"""Fraud rates: sums folded by hand-computed numbers, maturity and small samples drawn differently, nothing invented."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pandas as pd
import pytest

from ui import charts, charts_rates, rates_bar
from ui.rates_frames import (
    OTHER,
    Measure,
    Range,
    by_bucket,
    by_value,
    folded,
    last_days,
    named,
    ranked,
    totals,
    usual_bucket,
    wilson,
)

COLUMNS = [
    "bucket", "value", "transactions", "amount_minor", "alerted", "fraud", "fraud_amount_minor", "fraud_bps_count",
    "fraud_bps_value", "matured_share",
]  # fmt: skip
W1, W2 = date(2026, 6, 1), date(2026, 6, 8)


def frame(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Rows of (bucket, value, transactions, amount, alerted, fraud, fraud amount, matured share)."""
    made = []
    for bucket, value, n, amount, alerted, fraud, fraud_amount, matured in rows:
        by_count = 10_000 * fraud / n if n else None  # type: ignore[operator]
        by_amount = 10_000 * fraud_amount / amount if amount else None  # type: ignore[operator]
        made.append((bucket, value, n, amount, alerted, fraud, fraud_amount, by_count, by_amount, matured))
    return pd.DataFrame(made, columns=COLUMNS)


TWO_WEEKS = frame(
    (W1, "pos", 1_000, 50_000, 10, 20, 1_000, 1.0),
    (W1, "ecom", 3_000, 90_000, 30, 10, 9_000, 1.0),
    (W2, "pos", 2_000, 70_000, 20, 4, 500, 0.5),
    (W2, "ecom", 4_000, 80_000, 40, 30, 4_000, 0.1),
)


def test_totals_are_sums_and_rates_are_of_the_sums() -> None:
    sums = totals(TWO_WEEKS)
    assert (sums.transactions, sums.fraud, sums.alerted) == (10_000, 64, 100)
    assert sums.bps_count == pytest.approx(64.0)
    assert sums.bps_value == pytest.approx(10_000 * 14_500 / 290_000)
    assert sums.alert_rate == pytest.approx(0.01)
    assert sums.matured_share == pytest.approx((1_000 + 3_000 + 1_000 + 400) / 10_000)


def test_totals_of_nothing_have_no_rates() -> None:
    sums = totals(TWO_WEEKS.head(0))
    assert (sums.transactions, sums.bps_count, sums.bps_value, sums.matured_share) == (0, None, None, None)


def test_values_rank_by_fraud_of_the_measure() -> None:
    assert ranked(TWO_WEEKS, Measure.COUNT) == ["ecom", "pos"]
    assert ranked(frame((W1, "a", 9, 9, 0, 1, 5, 1.0), (W1, "b", 9, 9, 0, 2, 1, 1.0)), Measure.VALUE) == ["a", "b"]


def test_amount_bands_keep_their_order_whatever_their_fraud() -> None:
    rows = [(W1, band, 10, 10, 0, n, 1, 1.0) for n, band in enumerate([">=1000", "<10", "50-200"])]
    assert ranked(frame(*rows), Measure.COUNT) == ["<10", "50-200", ">=1000"]


def test_small_groups_fold_into_other_from_their_sums() -> None:
    rows = [(W1, f"c{n}", 100 * n, 1_000, n, n, 10, 1.0) for n in range(1, 8)]
    made, names = folded(frame(*rows), Measure.COUNT)
    assert names == ["c7", "c6", "c5", "c4", "c3", OTHER]
    other = made[made["value"] == OTHER].iloc[0]
    assert (other["transactions"], other["fraud"]) == (300, 3)
    assert other["fraud_bps_count"] == pytest.approx(100.0)
    assert made["transactions"].sum() == 2_800


def test_five_values_are_shown_without_other() -> None:
    rows = [(W1, f"c{n}", 100, 1_000, 1, n, 10, 1.0) for n in range(5)]
    assert len(folded(frame(*rows), Measure.COUNT)[1]) == 5


def test_breakdown_gives_each_value_its_range_total_and_share() -> None:
    rows = by_value(TWO_WEEKS, Measure.COUNT).set_index("value")
    assert list(rows.index) == ["ecom", "pos"]
    assert rows.loc["pos", "fraud_bps_count"] == pytest.approx(80.0)
    assert rows.loc["ecom", "share_of_fraud"] == pytest.approx(40 / 64)
    assert rows.loc["pos", "trend"] == pytest.approx([200.0, 20.0])


def test_buckets_are_newest_first() -> None:
    rows = by_bucket(TWO_WEEKS)
    assert list(rows["bucket"]) == [W2, W1]
    assert rows.loc[0, "matured_share"] == pytest.approx(1_400 / 6_000)


def test_a_bucket_without_transactions_has_no_rate() -> None:
    rows = by_bucket(frame((W1, "all", 0, 0, 0, 0, 0, None)))
    assert rows["fraud_bps_count"].isna().all()


def test_a_missing_dimension_value_has_a_name() -> None:
    assert list(named(frame((W1, None, 1, 1, 0, 0, 0, 1.0)))["value"]) == ["Unknown"]


def test_wilson_interval_of_ten_in_a_thousand() -> None:
    low, high = wilson(pd.Series([10]), pd.Series([1_000]))
    assert low[0] == pytest.approx(54.4, abs=0.1)
    assert high[0] == pytest.approx(183.1, abs=0.1)


def drawn(data: pd.DataFrame, measure: Measure = Measure.VALUE, bucket: str = "week") -> object:
    made, names = folded(data, measure)
    return charts_rates.rates(made, names, measure=measure, bucket=bucket, colors=charts.LIGHT)


def test_immature_buckets_are_dashed_from_the_last_mature_one() -> None:
    figure = drawn(TWO_WEEKS)
    pos = [trace for trace in figure.data if trace.name == "pos"]  # type: ignore[attr-defined]
    assert [trace.line.dash for trace in pos] == ["solid", "4px,3px"]
    assert list(pos[0].x) == ["2026-06-01"]
    assert list(pos[1].x) == ["2026-06-01", "2026-06-08"]
    assert any("Labels still arriving" in a.text for a in figure.layout.annotations)  # type: ignore[attr-defined]


def test_a_mature_range_has_no_dashes_and_no_grey() -> None:
    figure = drawn(TWO_WEEKS.assign(matured_share=1.0))
    assert {trace.line.dash for trace in figure.data} == {"solid"}  # type: ignore[attr-defined]
    assert not figure.layout.shapes  # type: ignore[attr-defined]


def test_points_on_few_frauds_are_hollow_and_say_so() -> None:
    figure = drawn(frame((W1, "all", 1_000, 10_000, 5, 3, 100, 1.0), (W2, "all", 1_000, 10_000, 5, 12, 100, 1.0)))
    trace = figure.data[0]  # type: ignore[attr-defined]
    assert list(trace.marker.color) == [charts.LIGHT.background, charts.LIGHT.accent]
    assert "Few frauds" in trace.hovertext[0]
    assert "12 frauds of 1,000 transactions" in trace.hovertext[1]


def test_only_a_single_count_rate_carries_its_interval() -> None:
    one = frame((W1, "all", 1_000, 10_000, 5, 30, 100, 1.0))
    assert "95 % interval" in {t.name for t in drawn(one, Measure.COUNT).data}  # type: ignore[attr-defined]
    assert "95 % interval" not in {t.name for t in drawn(one, Measure.VALUE).data}  # type: ignore[attr-defined]


def test_axis_carries_the_unit_of_the_measure() -> None:
    assert drawn(TWO_WEEKS).layout.yaxis.title.text == "Fraud (bps of amount)"  # type: ignore[attr-defined]
    by_count = drawn(TWO_WEEKS, Measure.COUNT)
    assert by_count.layout.yaxis.title.text == "Fraud (bps of transactions)"  # type: ignore[attr-defined]


def test_direct_labels_never_overlap() -> None:
    rows = [(W1, f"c{n}", 1_000, 10_000, 5, 20 + n, 100 + n, 1.0) for n in range(7)]
    places = sorted(a.y for a in drawn(frame(*rows)).layout.annotations if a.xref == "paper")  # type: ignore[attr-defined]
    assert len(places) == 6
    assert min(b - a for a, b in pairwise(places)) >= 0.069
    assert places[0] >= 0
    assert places[-1] <= 1


def test_names_from_data_stay_inert_in_the_figure() -> None:
    figure = drawn(frame((W1, "<b>x</b>", 10, 10, 0, 1, 1, 1.0), (W1, "y", 10, 10, 0, 1, 1, 1.0)))
    assert "<b>x" not in str([a.text for a in figure.layout.annotations])  # type: ignore[attr-defined]
    assert "&lt;b&gt;x" in str([t.hovertext for t in figure.data])  # type: ignore[attr-defined]


def test_no_rows_draw_a_labelled_empty_figure() -> None:
    figure = charts_rates.rates(TWO_WEEKS.head(0), [], measure=Measure.VALUE, bucket="day", colors=charts.DARK)
    assert "No transactions" in figure.layout.annotations[0].text


def test_ranges_include_both_ends() -> None:
    week = last_days(7, today=date(2026, 6, 7))
    assert (week.start, week.days) == (date(2026, 6, 1), 7)


@pytest.mark.parametrize(("days", "bucket"), [(7, "day"), (31, "day"), (32, "week"), (200, "week"), (201, "month")])
def test_usual_bucket_gives_a_readable_number_of_points(days: int, bucket: str) -> None:
    assert usual_bucket(days) == bucket


def test_custom_range_accepts_half_a_choice_and_bounds_its_length() -> None:
    usual = Range(date(2026, 1, 1), date(2026, 1, 30))
    assert rates_bar.bounded((), usual=usual) == usual
    assert rates_bar.bounded((date(2026, 5, 1),), usual=usual).days == 1
    assert rates_bar.bounded((date(2020, 1, 1), date(2026, 1, 1)), usual=usual).days == rates_bar.MAX_DAYS
