"""What the model would have found, week after week, had it been trained and used as it is in production.

Features once for the whole portfolio, because each row's are those of its own moment; then a model per fold, trained on
the days before the delay and asked about the days after it. Checks look for leaks on the first fold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services import backtest_checks as checks
from services import backtest_protocol as protocol
from services.backtest_data import DAY_MS, Engine, Portfolio, known_moments
from services.backtest_model import SETTINGS, fit
from services.backtest_protocol import CARDS_A_DAY, Fold, Request
from services.backtest_report import Check, FoldResult, Report, number
from services.backtest_segments import Tested, segments
from services.detection_metrics import auc_roc, average_precision, card_precision, value_detection_rate
from services.errors import InvalidData

# Called with the step in words and the share done, 0 to 1; may raise to end the run.
Progress = Callable[[str, float], None]
# A real portfolio has an average precision near .1 (Worldline: .09 to .11); this much is only seen on simulated ones.
SIMULATED_AP = 0.5


@dataclass(slots=True)
class _Run:
    request: Request
    data: Portfolio
    engine: Engine
    progress: Progress
    threads: int
    matrix: NDArray[np.float32] = field(init=False)
    offset: int = 0
    tested: list[Tested] = field(default_factory=list)
    gains: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    data: Portfolio,
    engine: Engine,
    request: Request,
    *,
    source: str,
    progress: Progress = lambda step, share: None,
    threads: int = 0,
    notes: tuple[str, ...] = (),
) -> Report:
    """Raises InvalidData where the data do not reach as far as the request, or a fold has nothing to learn from.

    `notes` are put before the report's own warnings. `threads` 0: all cores.
    """
    began = time.monotonic()
    folds = protocol.folds(request)
    _check_reach(data, folds, request)
    now = _Run(request, data, engine, progress, threads)
    progress("Features", 0.0)
    start_ms = folds[0].train_start * DAY_MS
    now.offset = int(np.searchsorted(data.times, start_ms, side="left"))
    whole = engine.matrix(data.table, data.labels, known_moments(data, request.known_after))
    now.matrix = whole[now.offset :]
    now.seconds["features"] = round(time.monotonic() - began, 1)
    results = []
    for fold in folds:
        progress(f"Fold {fold.number} of {len(folds)}", 0.4 + 0.35 * (fold.number - 1) / len(folds))
        results.append(_fold(now, fold))
    found = _checks(now, folds, results)
    total = sum(now.gains.values()) or 1.0
    progress("Segments", 0.98)
    report = Report(
        request=request,
        source=source,
        features_version=engine.version,
        features=engine.names,
        model=SETTINGS,
        rows=len(data),
        frauds=int((data.labels == 1).sum()),
        folds=tuple(results),
        segments=segments(data, now.tested, k=CARDS_A_DAY),
        gains=tuple(sorted(((n, g / total) for n, g in now.gains.items()), key=lambda pair: -pair[1])),
        checks=found,
        warnings=(*notes, *_warnings(data, folds, results, request)),
        seconds=now.seconds | {"total": round(time.monotonic() - began, 1)},
    )
    progress("Done", 1.0)
    return report


def _check_reach(data: Portfolio, folds: tuple[Fold, ...], request: Request) -> None:
    first, last = int(data.days[0]), int(data.days[-1])
    reach = f"the transactions are of {protocol.as_date(first)} to {protocol.as_date(last)}"
    if folds[0].train_start < first:
        earliest = protocol.as_date(first + request.train_days + request.delay_days)
        raise InvalidData(
            f"The first fold trains from {protocol.as_date(folds[0].train_start)}, but {reach}. Test from {earliest} "
            "at the earliest, or train on fewer days."
        )
    if folds[-1].test_end - 1 > last:
        raise InvalidData(f"The last day tested is {protocol.as_date(folds[-1].test_end - 1)}, but {reach}.")


def _fold(now: _Run, fold: Fold) -> FoldResult:
    began, data = time.monotonic(), now.data
    train = protocol.train_rows(fold, data.days, data.labels)
    test, dropped = protocol.test_rows(fold, data.days, data.labels, data.cards, delay_days=now.request.delay_days)
    if not len(test):
        raise InvalidData(f"Nothing is left to test from {protocol.as_date(fold.test_start)} on.")
    model = fit(
        now.matrix[train - now.offset],
        data.labels[train],
        data.times[train],
        now.engine.names,
        seed=now.request.seed,
        threads=now.threads,
    )
    scores = model.scores(now.matrix[test - now.offset])
    now.tested.append(Tested(test, scores))
    for name, share in model.gains:
        now.gains[name] = now.gains.get(name, 0.0) + share
    frauds, cards, days = data.labels[test] == 1, data.cards[test], data.days[test]
    seconds = round(time.monotonic() - began, 2)
    now.seconds["models"] = round(now.seconds.get("models", 0.0) + seconds, 2)
    return FoldResult(
        fold=fold.number,
        train_from=protocol.as_date(fold.train_start).isoformat(),
        train_to=protocol.as_date(fold.train_end - 1).isoformat(),
        test_from=protocol.as_date(fold.test_start).isoformat(),
        test_to=protocol.as_date(fold.test_end - 1).isoformat(),
        train_rows=len(train),
        train_frauds=int(data.labels[train].sum()),
        test_rows=len(test),
        test_frauds=int(frauds.sum()),
        dropped_rows=dropped,
        trees=model.trees,
        prevalence=float(frauds.mean()),
        auc=number(auc_roc(frauds, scores)),
        ap=number(average_precision(frauds, scores)),
        cp100=number(card_precision(frauds, scores, cards, days, k=CARDS_A_DAY)) if frauds.any() else None,
        value_detection_rate=number(
            value_detection_rate(frauds, scores, cards, days, data.amounts[test], k=CARDS_A_DAY)
        ),
        seconds=seconds,
    )


def _checks(now: _Run, folds: tuple[Fold, ...], results: list[FoldResult]) -> tuple[Check, ...]:
    began, data, request, first = time.monotonic(), now.data, now.request, folds[0]
    now.progress("Checks for leaks", 0.75)
    trained = [protocol.train_rows(fold, data.days, data.labels) for fold in folds]
    parts = [(train, tested.rows) for train, tested in zip(trained, now.tested, strict=True)]
    precisions = [result.ap for result in results if result.ap is not None]
    prevalence = float(np.mean([result.prevalence for result in results]))
    out = [
        checks.ids(data, parts),
        checks.label_among_features(data, now.engine.names),
        checks.source_columns(data, *parts[0]),
        checks.single_features(
            now.matrix[trained[0] - now.offset], data.labels[trained[0]] == 1, now.engine.names, seed=request.seed
        ),
        checks.implausible(float(np.mean(precisions)) if precisions else None, prevalence, request, data.mapping),
    ]
    now.progress("Check: without the future", 0.8)
    out.append(checks.future_rows(data, now.engine, now.matrix, now.offset, first, request))
    now.progress("Check: shuffled labels", 0.9)
    out.append(checks.shuffled_labels(data, now.engine, first, request, threads=now.threads))
    now.seconds["checks"] = round(time.monotonic() - began, 1)
    return tuple(out)


def _warnings(data: Portfolio, folds: tuple[Fold, ...], results: list[FoldResult], request: Request) -> tuple[str, ...]:
    out: list[str] = []
    if request.left_over:
        out.append(f"The last {request.left_over} days are no whole test window and were not tested.")
    history = folds[0].train_start - int(data.days[0])
    if history < checks.HISTORY_DAYS:
        out.append(
            f"There are only {history} days before the first training window; features look back further than that."
        )
    few = [result.fold for result in results if result.test_frauds < 30]
    if few:
        named = ", ".join(str(number) for number in few)
        out.append(f"Fewer than 30 frauds were tested in fold {named}: such figures are mostly chance.")
    precisions: list[Any] = [result.ap for result in results if result.ap is not None]
    if precisions and float(np.mean(precisions)) > SIMULATED_AP:
        out.append(
            "An average precision above .5 is common in simulated portfolios; real ones have about .1. If this one is "
            "real, look for a column that is written after the verdict."
        )
    return tuple(out)
