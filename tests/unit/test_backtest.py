"""The walk-forward protocol and the report, on a small history of our own."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from services import backtest
from services.backtest_data import DAY_MS, portfolio
from services.backtest_engine import PlanEngine
from services.backtest_protocol import KNOWN_DAYS, Request, as_date, day_number, folds, test_rows, train_rows
from services.backtest_report import Report, as_text
from services.backtest_segments import amount_bands
from services.errors import InvalidData
from tests.unit import small_portfolio
from tests.unit.small_portfolio import small

test_rows.__test__ = False  # type: ignore[attr-defined]


def request(first: date = date(2024, 2, 12), last: date = date(2024, 2, 25), **given: object) -> Request:
    return Request(first, last, train_days=21, **given)  # type: ignore[arg-type]


def test_both_dates_are_tested_and_training_ends_a_delay_before() -> None:
    one, two = folds(request())
    assert (as_date(one.train_start), as_date(one.train_end)) == (date(2024, 1, 15), date(2024, 2, 5))
    assert (as_date(one.test_start), as_date(one.test_end)) == (date(2024, 2, 12), date(2024, 2, 19))
    assert as_date(two.test_end - 1) == date(2024, 2, 25)


def test_days_that_fill_no_window_are_left_out_and_counted() -> None:
    asked = request(last=date(2024, 2, 27))
    assert (len(folds(asked)), asked.left_over) == (2, 2)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"last": date(2024, 2, 1)}, "before the first"),
        ({"last": date(2024, 2, 13)}, "fewer than one test window"),
        ({"label_days": 0.0}, "own label"),
        ({"test_days": 0}, "Train on"),
        ({"most_ap": 1.5}, "plausible"),
    ],
)
def test_requests_that_make_no_protocol_are_refused_in_words(given: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidData, match=word):
        request(**given)  # type: ignore[arg-type]


def test_cards_known_to_be_defrauded_are_not_tested_day_by_day() -> None:
    """Against the handbook's rule, written out with sets."""
    data = small()
    (fold, *_) = folds(request())
    rows, dropped = test_rows(fold, data.days, data.labels, data.cards, delay_days=7)
    expected, left = [], 0
    for day in range(fold.test_start, fold.test_end):
        since = fold.train_end - KNOWN_DAYS
        known = {
            data.cards[i] for i in range(len(data)) if data.labels[i] == 1 and since <= data.days[i] <= day - 7 - 1
        }
        for i in range(len(data)):
            if data.days[i] == day:
                if data.cards[i] in known:
                    left += 1
                else:
                    expected.append(i)
    assert rows.tolist() == expected
    assert dropped == left > 0


def test_training_rows_are_the_days_of_training_with_a_known_label() -> None:
    data = small(days=40, a_day=20)
    labels = data.labels.copy()
    labels[::3] = -1
    (fold,) = folds(Request(date(2024, 2, 1), date(2024, 2, 7), train_days=10))
    rows = train_rows(fold, data.days, labels)
    assert data.days[rows].min() == day_number(date(2024, 1, 15))
    assert data.days[rows].max() == day_number(date(2024, 1, 24))
    assert (labels[rows] >= 0).all()


@pytest.fixture(scope="module")
def finished() -> tuple[Report, list[float]]:
    """Two folds of the small history, and the shares of progress that were told."""
    data, steps = small(), list[float]()
    report = backtest.run(
        data,
        PlanEngine(data.mapping),
        request(),
        source="small.csv",
        progress=lambda step, share: steps.append(share),
        threads=1,
        notes=("a note",),
    )
    return report, steps


def test_a_report_has_every_fold_its_mean_and_spread_and_is_believable(finished: tuple[Report, list[float]]) -> None:
    report, steps = finished
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert [fold["test_from"] for fold in told["folds"]] == ["2024-02-12", "2024-02-19"]
    assert told["mean"]["ap"] == pytest.approx(np.mean([fold["ap"] for fold in told["folds"]]), abs=1e-6)
    assert told["spread"]["auc"]["sd"] == pytest.approx(np.std([f["auc"] for f in told["folds"]], ddof=1), abs=1e-6)
    assert set(told["mean"]) == {"auc", "ap", "cp100", "value_detection_rate"}
    assert told["mean"]["ap"] > 3 * told["folds"][0]["prevalence"]
    assert told["believable"], told["checks"]
    assert {check["name"] for check in told["checks"]} == {
        "ids", "target", "columns", "single features", "plausible", "future rows", "shuffled labels"
    }  # fmt: skip
    assert told["warnings"][0] == "a note"
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    assert "mean" in as_text(report)


def test_segments_add_up_and_say_when_frauds_are_few(finished: tuple[Report, list[float]]) -> None:
    report, _ = finished
    for dimension in ("Amount", "Kind of shop"):
        mine = [segment for segment in report.segments if segment.dimension == dimension]
        assert sum(segment.frauds for segment in mine) == sum(fold.test_frauds for fold in report.folds)
        assert sum(segment.rows for segment in mine) == sum(fold.test_rows for fold in report.folds)
        assert all(segment.few == (segment.frauds < 30) for segment in mine)


def test_the_same_backtest_twice_gives_the_same_figures() -> None:
    data = small(days=24, a_day=60)
    asked = Request(date(2024, 1, 18), date(2024, 1, 24), train_days=10)
    one, two = (backtest.run(data, PlanEngine(data.mapping), asked, source="x", threads=1).as_dict() for _ in "12")
    assert one["mean"] == two["mean"]
    assert one["checks"] == two["checks"]


def test_data_that_do_not_reach_are_refused_with_the_dates_they_have() -> None:
    data = small(days=30, a_day=30)
    with pytest.raises(
        InvalidData, match="trains from 2023-12-11, but the transactions are of 2024-01-01 to 2024-01-30"
    ):
        backtest.run(data, PlanEngine(data.mapping), Request(date(2024, 1, 15), date(2024, 1, 21)), source="x")
    asked = Request(date(2024, 1, 29), date(2024, 2, 4), train_days=7)
    with pytest.raises(InvalidData, match="last day tested is 2024-02-04"):
        backtest.run(data, PlanEngine(data.mapping), asked, source="x")


def test_a_training_window_without_frauds_is_a_sentence() -> None:
    data = small(days=45)
    labels = data.labels.copy()
    labels[data.days < day_number(date(2024, 2, 1))] = 0
    asked = Request(date(2024, 2, 5), date(2024, 2, 11), train_days=21)
    with pytest.raises(InvalidData, match="The training window holds 0 known frauds"):
        backtest.run(data.labelled(labels), PlanEngine(data.mapping), asked, source="x", threads=1)


def test_portfolios_that_cannot_be_tested_are_refused() -> None:
    whole = small_portfolio.table(small_portfolio.columns(days=2, a_day=10))
    place = whole.column_names.index("label")
    with pytest.raises(InvalidData, match="no transactions"):
        portfolio(whole.slice(0, 0), None)
    with pytest.raises(InvalidData, match="No transaction has a label"):
        portfolio(whole.set_column(place, "label", pa.nulls(len(whole), pa.int8())), None)
    with pytest.raises(InvalidData, match="labelled fraud"):
        portfolio(whole.set_column(place, "label", pa.array([0] * len(whole), pa.int8())), None)
    currencies = pa.array(["EUR", "USD"] * 10)
    with pytest.raises(InvalidData, match="2 currencies"):
        portfolio(whole.set_column(whole.column_names.index("currency"), "currency", currencies), None)


def test_what_is_cut_off_is_gone() -> None:
    data = small(days=10, a_day=10)
    cut = (day_number(date(2024, 1, 1)) + 4) * DAY_MS
    assert data.before(cut).days.max() == data.days.min() + 3
    assert data.since(cut).days.min() == data.days.min() + 4
    assert len(data.before(cut)) + len(data.since(cut)) == len(data)


def test_amounts_fall_into_the_desks_bands() -> None:
    assert amount_bands(np.array([0, 999, 1_000, 99_999, 100_000])).tolist() == [
        "<10", "<10", "10-50", "200-1000", ">=1000"
    ]  # fmt: skip
