"""How much fraud is found, beside what was published on the same data under the same protocol.

Needs the transactions simulated for the Fraud Detection Handbook, which are not ours to ship: name the file (CSV or
Parquet with the handbook's columns) in FRAUD_DESK_HANDBOOK or with --data. Published rows are quoted, not run.
"""

from __future__ import annotations

import os
import time
from datetime import date, timedelta
from pathlib import Path

from bench import detection_book, detection_ceiling
from bench.report import Figure, figure
from services import backtest, backtest_source
from services.backtest_data import Portfolio
from services.backtest_engine import PlanEngine
from services.backtest_protocol import Request, as_date
from services.backtest_report import Report
from services.domain.mapping import read_mapping

VARIABLE = "FRAUD_DESK_HANDBOOK"
MAPPING = Path(__file__).resolve().parent.parent / "mappings" / "handbook.toml"
FIRST_WINDOW = date(2018, 8, 8)
MOST_WEEKS = 6
NAMES = {"auc": "AUC", "ap": "AP", "cp100": "CP@100"}
# The handbook, mean of four weekly folds that test 2018-08-08..09-04, 7 days of training.
PUBLISHED = {
    "decision tree": (0.797, 0.579, 0.284),
    "logistic regression": (0.868, 0.623, 0.297),
    "random forest": (0.870, 0.678, 0.299),
    "XGBoost": (0.869, 0.687, 0.303),
    "balanced bagging": (0.879, 0.680, 0.305),
    "feed-forward network": (0.876, 0.675, 0.303),
    "LSTM": (0.876, 0.665, 0.297),
}
# Its first window alone (training 2018-07-25..31): the best published, and the causal Bayes bound, which knows the
# generator, in expectation: single weeks lie on either side of it in AUC.
FIRST_PUBLISHED = {"auc": 0.871, "ap": 0.658, "cp100": 0.291}
FIRST_BOUND = {"auc": 0.894, "ap": 0.779, "cp100": 0.303}
BOOK = {"auc": 0.862, "ap": 0.639, "cp100": 0.273}
TOLERANCE = 0.003
FIRST_GOAL = {"ap": 0.755, "cp100": 0.30}
LATER_GOAL = {7.0: {"auc": 0.875, "ap": 0.74, "cp100": 0.315}, 1.0: {"ap": 0.90, "cp100": 0.385}}


def run(data: str | None = None) -> list[Figure]:
    path = _path(data)
    portfolio, _ = backtest_source.read_file(path, read_mapping(MAPPING))
    last = as_date(int(portfolio.days[-1]))
    figures = [
        figure(f"published: {name}, {NAMES[metric]}", value, "", peer="mean of four weeks, quoted", peer_value=None)
        for name, row in PUBLISHED.items()
        for metric, value in zip(NAMES, row, strict=True)
    ]
    figures += _book(portfolio)
    unseen = (last - FIRST_WINDOW).days - 6
    weeks = min(MOST_WEEKS, unseen // 7)
    for label_days in (7.0, 1.0):
        figures += _first(portfolio, label_days)
        # After the first window nothing was looked at when settings were chosen; before it, weeks were.
        start = FIRST_WINDOW + timedelta(days=7) if weeks else FIRST_WINDOW - timedelta(days=7 * MOST_WEEKS)
        figures += _weeks(portfolio, path, label_days, start, weeks or MOST_WEEKS, unseen=weeks > 0)
    return figures


def _path(named: str | None) -> Path:
    path = named or os.environ.get(VARIABLE)
    if not path or not Path(path).is_file():
        raise SystemExit(
            f"The handbook's transactions are not there. Name the file with --data or {VARIABLE}; it is published by "
            "the Fraud Detection Handbook and not part of this project."
        )
    return Path(path)


def _book(portfolio: Portfolio) -> list[Figure]:
    found = detection_book.reproduce(portfolio)
    return [
        figure(
            f"the book's XGBoost, first window, {NAMES[metric]}",
            value,
            "",
            peer="published",
            peer_value=BOOK[metric],
            goal=f"within {TOLERANCE}",
            holds=abs(value - BOOK[metric]) <= TOLERANCE,
        )
        for metric, value in found.items()
    ]


def _first(portfolio: Portfolio, label_days: float) -> list[Figure]:
    report, seconds = _backtest(portfolio, FIRST_WINDOW, 1, label_days)
    mean, late = report.mean(), label_days == 7
    out = []
    for metric, name in NAMES.items():
        value = mean[metric] or 0.0
        goal = FIRST_GOAL.get(metric) if late else None
        out.append(
            figure(
                f"first window, labels after {label_days:g} d, {name}",
                value,
                "",
                peer="best published" if late else "labels after 7 days are compared",
                peer_value=FIRST_PUBLISHED[metric] if late else None,
                goal=f">= {goal} (bound {FIRST_BOUND[metric]})" if goal else "",
                holds=value >= goal if goal else None,
            )
        )
    out.append(
        figure(f"first window, labels after {label_days:g} d, whole run", seconds, "s", peer="", peer_value=None)
    )
    return out


def _weeks(
    portfolio: Portfolio, path: Path, label_days: float, start: date, weeks: int, *, unseen: bool
) -> list[Figure]:
    report, _ = _backtest(portfolio, start, weeks, label_days)
    words = "later weeks" if unseen else "earlier weeks"
    out = [
        figure(
            f"{fold.test_from}, labels after {label_days:g} d, {NAMES[metric]}",
            getattr(fold, metric) or 0.0,
            "",
            peer=f"{fold.test_frauds} frauds of {fold.test_rows:,}",
            peer_value=None,
        )
        for fold in report.folds
        for metric in NAMES
    ]
    mean, spread = report.mean(), report.spread()
    for metric, name in NAMES.items():
        value, goal = mean[metric] or 0.0, LATER_GOAL[label_days].get(metric)
        deviation = (spread[metric] or {}).get("sd", 0.0)
        out.append(
            figure(
                f"{words}, labels after {label_days:g} d, mean {name}",
                value,
                "",
                peer=f"sd {deviation:.3f} over {len(report.folds)} folds",
                peer_value=None,
                # Weeks differ in how much fraud they have: the goal is one for the weeks after the first window.
                goal=f">= {goal}" if goal and unseen else "",
                holds=value >= goal if goal and unseen else None,
            )
        )
    ceiling = detection_ceiling.of_weeks(portfolio, path, report.request)
    for metric, most in (ceiling or {}).items():
        out.append(
            figure(
                f"{words}, labels after {label_days:g} d, {NAMES[metric]} of what can be seen coming",
                mean[metric] or 0.0,
                "",
                peer="all of it, told",
                peer_value=most,
            )
        )
    failed = [check.name for check in report.checks if check.holds is False]
    out.append(
        figure(
            f"{words}, labels after {label_days:g} d, failed checks",
            len(failed),
            "",
            peer=", ".join(failed) or "none",
            peer_value=None,
            goal="0",
            holds=not failed,
        )
    )
    return out


def _backtest(portfolio: Portfolio, first: date, weeks: int, label_days: float) -> tuple[Report, float]:
    request = Request(first, first + timedelta(days=7 * weeks - 1), label_days=label_days)
    began = time.monotonic()
    report = backtest.run(portfolio, PlanEngine(portfolio.mapping), request, source="handbook")
    return report, time.monotonic() - began
