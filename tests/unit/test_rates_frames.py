"""Frames of the fraud rates by hand-computed numbers: sums before rates, nothing lost in Other, periods aligned."""

from __future__ import annotations

import pandas as pd
import pytest

from ui.rates_frames import (
    OTHER,
    Folded,
    Measure,
    Rank,
    aligned,
    by_value,
    cells,
    fold,
    ranked,
    series,
    summed,
    totals,
    wilson,
)

W1, W2 = pd.Timestamp("2026-06-01", tz="UTC"), pd.Timestamp("2026-06-08", tz="UTC")


def frame(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Rows of (bucket, first, second, transactions, amount, alerted, fraud, fraud amount, matured)."""
    names = ["bucket", "first", "second", "transactions", "amount_minor", "alerted", "fraud", "fraud_amount_minor"]
    made = pd.DataFrame(rows, columns=[*names, "matured"])
    return made.merge(summed(made, ["bucket", "first", "second"]), on=list(made.columns), how="left")


TWO_WEEKS = frame(
    (W1, "pos", "all", 1_000, 50_000, 10, 20, 1_000, 1_000),
    (W1, "ecom", "all", 3_000, 90_000, 30, 10, 9_000, 3_000),
    (W2, "pos", "all", 2_000, 70_000, 20, 4, 500, 1_000),
    (W2, "ecom", "all", 4_000, 80_000, 40, 30, 4_000, 400),
)


def test_totals_are_sums_and_rates_are_of_the_sums() -> None:
    sums = totals(TWO_WEEKS)
    assert (sums.transactions, sums.fraud, sums.alerted) == (10_000, 64, 100)
    assert sums.bps_count == pytest.approx(64.0)
    assert sums.bps_value == pytest.approx(10_000 * 14_500 / 290_000)
    assert sums.alert_rate == pytest.approx(0.01)
    assert sums.matured_share == pytest.approx(0.54)


def test_totals_of_nothing_have_no_rates() -> None:
    sums = totals(TWO_WEEKS.head(0))
    assert (sums.transactions, sums.bps_count, sums.bps_value, sums.matured_share) == (0, None, None, None)


def test_values_rank_by_fraud_or_by_volume_of_the_measure() -> None:
    assert ranked(TWO_WEEKS, "first", Measure.COUNT, Rank.FRAUD) == ["ecom", "pos"]
    rows = frame((W1, "a", "all", 9, 90, 0, 1, 5, 9), (W1, "b", "all", 10, 20, 0, 2, 1, 10))
    assert ranked(rows, "first", Measure.VALUE, Rank.FRAUD) == ["a", "b"]
    assert ranked(rows, "first", Measure.COUNT, Rank.VOLUME) == ["b", "a"]
    assert ranked(rows, "first", Measure.VALUE, Rank.VOLUME) == ["a", "b"]


def test_amount_bands_keep_their_order_whatever_their_fraud() -> None:
    rows = [(W1, band, "all", 10, 10, 0, n, 1, 10) for n, band in enumerate([">=1000", "<10", "50-200"])]
    assert ranked(frame(*rows), "first", Measure.COUNT, Rank.FRAUD) == ["<10", "50-200", ">=1000"]


def test_at_most_five_lines_and_the_rest_is_summed_as_other() -> None:
    rows = frame(*((W1, f"c{n}", "all", 100 * n, 1_000, n, n, 10, 0) for n in range(1, 8)))
    folded = fold(rows, "first", Measure.COUNT, Rank.FRAUD)
    assert folded == Folded(("c7", "c6", "c5", "c4", OTHER), ("c3", "c2", "c1"))
    drawn = series(rows, folded)
    other = drawn[drawn["first"] == OTHER].iloc[0]
    assert (other["transactions"], other["fraud"]) == (600, 6)
    assert other["fraud_bps_count"] == pytest.approx(100.0)
    assert drawn["transactions"].sum() == rows["transactions"].sum()
    assert drawn["fraud_amount_minor"].sum() == rows["fraud_amount_minor"].sum()


def test_five_values_need_no_other() -> None:
    rows = frame(*((W1, f"c{n}", "all", 100, 1_000, 1, n, 10, 0) for n in range(5)))
    assert fold(rows, "first", Measure.COUNT, Rank.FRAUD).rest == ()


def test_a_value_that_is_called_other_joins_the_rest() -> None:
    rows = frame((W1, OTHER, "all", 10, 10, 0, 9, 1, 0), (W1, "pos", "all", 10, 10, 0, 1, 1, 0))
    assert fold(rows, "first", Measure.COUNT, Rank.FRAUD) == Folded(("pos", OTHER), (OTHER,))


def test_lines_kept_by_name_keep_the_figures_of_the_service() -> None:
    rows = frame(*((W1, f"c{n}", "all", 100, 1_000, 1, n, 10, 0) for n in range(7))).assign(bps_value_low=7.0)
    drawn = series(rows, fold(rows, "first", Measure.COUNT, Rank.FRAUD)).set_index("first")
    assert drawn.loc["c6", "bps_value_low"] == 7.0
    assert pd.isna(drawn.loc[OTHER, "bps_value_low"])


def test_pairs_are_summed_over_the_range_and_lose_nothing() -> None:
    rows = frame(
        *((week, a, b, 100, 1_000, 0, 3, 30, 50) for week in (W1, W2) for a in ("x", "y", "z") for b in ("p", "q"))
    )
    made = cells(rows, Folded(("x", OTHER), ("y", "z")), Folded(("p", "q"), ()))
    other = made[(made["first"] == OTHER) & (made["second"] == "p")].iloc[0]
    assert (other["transactions"], other["fraud"], other["fraud_bps_count"]) == (400, 12, 300.0)
    assert len(made) == 4
    assert made["transactions"].sum() == 1_200


def test_breakdown_gives_each_value_its_range_total_share_and_course() -> None:
    rows = by_value(TWO_WEEKS, ["first"], Measure.COUNT, Rank.FRAUD).set_index("first")
    assert list(rows.index) == ["ecom", "pos"]
    assert rows.loc["pos", "fraud_bps_count"] == pytest.approx(80.0)
    assert rows.loc["ecom", "share_of_fraud"] == pytest.approx(40 / 64)
    assert rows.loc["pos", "trend"] == pytest.approx([200.0, 20.0])


def test_a_sum_over_nothing_has_no_rate() -> None:
    rows = summed(frame((W1, "a", "all", 0, 0, 0, 0, 0, 0)), ["first"])
    assert rows[["fraud_bps_count", "fraud_bps_value", "matured_share", "bps_count_low"]].isna().all(axis=None)


def test_small_is_few_frauds_or_few_transactions() -> None:
    rows = frame(
        (W1, "a", "all", 5_000, 1, 0, 9, 1, 0),
        (W1, "b", "all", 5_000, 1, 0, 10, 1, 0),
        (W1, "c", "all", 999, 1, 0, 99, 1, 0),
    )
    assert rows["small"].tolist() == [True, False, True]


def test_the_former_period_is_laid_over_this_one_bucket_by_bucket() -> None:
    before = TWO_WEEKS.assign(bucket=TWO_WEEKS["bucket"] - pd.Timedelta(days=14))
    laid = aligned(TWO_WEEKS, before)
    assert laid["at"].tolist() == TWO_WEEKS["bucket"].tolist()
    longer = pd.concat([before, before.assign(bucket=W1 - pd.Timedelta(days=1))])
    assert len(aligned(TWO_WEEKS, longer)) == 4


def test_wilson_interval_of_ten_in_a_thousand() -> None:
    low, high = wilson(pd.Series([10]), pd.Series([1_000]))
    assert low[0] == pytest.approx(54.4, abs=0.1)
    assert high[0] == pytest.approx(183.1, abs=0.1)
