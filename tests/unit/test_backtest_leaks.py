"""Each leak is planted, and the check that looks for it must fail loudly."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from services import backtest
from services.backtest_checks import most_ap
from services.backtest_data import Portfolio, known_moments, portfolio
from services.backtest_engine import PlanEngine
from services.backtest_protocol import Request
from services.backtest_report import Check, Report
from tests.unit import small_portfolio
from tests.unit.small_portfolio import small

ASKED = Request(date(2024, 2, 12), date(2024, 2, 18), train_days=21)


class Peeking(PlanEngine):
    """The real engine with one more feature, which `peek` makes of the table, the labels and their moments."""

    def __init__(self, data: Portfolio, peek: Any) -> None:
        super().__init__(data.mapping)
        self._peek = peek

    @property
    def names(self) -> tuple[str, ...]:
        return (*super().names, "peek")

    def matrix(self, table: pa.Table, labels: Any, known_ms: Any) -> Any:
        honest = super().matrix(table, labels, known_ms)
        return np.column_stack((honest, self._peek(table, labels, known_ms).astype(np.float32)))


def run(data: Portfolio, engine: Any = None, asked: Request = ASKED) -> Report:
    return backtest.run(data, engine or PlanEngine(data.mapping), asked, source="small.csv", threads=1)


def check(report: Report, name: str) -> Check:
    (found,) = (one for one in report.checks if one.name == name)
    return found


def test_a_feature_of_the_rows_own_label_is_found_by_shuffling() -> None:
    data = small()
    noise = np.random.default_rng(2)

    def peek(table: pa.Table, labels: Any, known_ms: Any) -> Any:
        return np.where(noise.random(len(labels)) < 0.5, labels, 0)

    report = run(data, Peeking(data, peek))
    assert check(report, "shuffled labels").holds is False
    assert "own label" in check(report, "shuffled labels").sentence
    assert not report.believable


def test_a_feature_that_counts_what_comes_later_is_found_by_cutting_the_future_off() -> None:
    data = small()

    def peek(table: pa.Table, labels: Any, known_ms: Any) -> Any:
        """How often the terminal is used in the whole of the data."""
        where = np.asarray(table.column("entity.terminal").to_pylist())
        _, place, count = np.unique(where, return_inverse=True, return_counts=True)
        return count[place]

    report = run(data, Peeking(data, peek))
    assert check(report, "future rows").holds is False
    assert "peek" in check(report, "future rows").sentence
    assert check(report, "shuffled labels").holds


def test_labels_used_before_they_are_known_are_found_by_cutting_the_future_off() -> None:
    data = small()

    def peek(table: pa.Table, labels: Any, known_ms: Any) -> Any:
        """Whether the transaction before was fraud, though nobody knew it yet."""
        return np.concatenate(([0], labels[:-1] == 1))

    assert check(run(data, Peeking(data, peek)), "future rows").holds is False


def test_a_single_feature_that_knows_the_answer_is_named() -> None:
    data = small()
    report = run(data, Peeking(data, lambda table, labels, known: labels))
    found = check(report, "single features")
    assert found.holds is False
    assert "peek" in found.sentence
    assert found.value == pytest.approx(1.0)
    assert check(report, "plausible").holds is False


def test_a_column_written_after_the_verdict_is_named() -> None:
    made = small_portfolio.columns()
    r = np.random.default_rng(5)
    # Three of four frauds have their case number; by AUC alone that is .87.
    late = [float(fraud and r.random() < 0.75) for fraud in made["fraud"]]
    more = '[features.case]\ncolumn = "case"\nkind = "number"\n'
    table = small_portfolio.table(made).append_column("feature.case", pa.array(late))
    report = run(portfolio(table, small_portfolio.mapping(more)))
    assert check(report, "columns").holds is False
    assert "case" in check(report, "columns").sentence
    assert check(report, "single features").holds


def test_a_category_written_after_the_verdict_is_named() -> None:
    made = small_portfolio.columns()
    made["kind"] = ["chargeback" if fraud else kind for fraud, kind in zip(made["fraud"], made["kind"], strict=True)]
    report = run(portfolio(small_portfolio.table(made), small_portfolio.mapping()))
    assert check(report, "columns").holds is False


def test_the_same_transaction_in_training_and_in_test_is_found() -> None:
    made = small_portfolio.columns()
    made["id"][-50] = made["id"][3_500]
    assert made["at"][3_500][:10] < "2024-02-05"
    made["id"][43 * 120] = made["id"][3_500]
    report = run(portfolio(small_portfolio.table(made), small_portfolio.mapping()))
    assert check(report, "ids").holds is False
    assert check(report, "ids").value == 1


def test_the_label_among_the_features_is_found_by_its_name() -> None:
    data = small(days=45)

    class Named(PlanEngine):
        @property
        def names(self) -> tuple[str, ...]:
            return (*super().names[:-1], "fraud")

    report = run(data, Named(data.mapping), Request(date(2024, 2, 5), date(2024, 2, 11), train_days=21))
    assert check(report, "target").holds is False


def test_a_mean_precision_above_the_stated_bound_is_implausible() -> None:
    data = small()
    report = run(data, asked=Request(ASKED.first, ASKED.last, train_days=21, most_ap=0.01))
    assert check(report, "plausible").holds is False
    assert "implausibly high" in check(report, "plausible").sentence


def test_a_mapping_that_knows_its_data_says_what_is_implausible() -> None:
    stated = small_portfolio.mapping("[label.most_ap]\n7 = 0.5\n1 = 0.6\n")
    late, early = Request(ASKED.first, ASKED.last), Request(ASKED.first, ASKED.last, label_days=2)
    assert (most_ap(late, stated), most_ap(early, stated)) == (0.5, 0.6)
    assert most_ap(Request(ASKED.first, ASKED.last, most_ap=0.4), stated) == 0.4
    # Of labels earlier than it speaks of it says nothing, and neither does a mapping without the table.
    immediate = Request(ASKED.first, ASKED.last, label_days=0.5)
    assert most_ap(immediate, stated) == most_ap(immediate, small_portfolio.mapping()) == 0.97
    assert most_ap(late, small_portfolio.mapping()) == most_ap(late, None) == 0.85
    data = small()
    told = portfolio(data.table, stated)
    assert check(run(told, PlanEngine(stated)), "plausible").bound == 0.5


def test_labels_are_known_when_the_delay_is_over() -> None:
    data = small(days=2, a_day=5)
    assert (known_moments(data, 1.5) - data.times == 129_600_000).all()
