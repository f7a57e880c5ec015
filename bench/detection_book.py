"""The Fraud Detection Handbook's own baseline (Le Borgne et al., ULB), to show that our protocol is the book's.

Its fifteen features, as the book's chapter 3 defines them, and its XGBoost on its first window. Windows reach from a
row back, the row included and the far end not; of one second, rows count in the order of their ids.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from services import backtest_protocol as protocol
from services.backtest_data import Portfolio, codes
from services.backtest_protocol import Request
from services.detection_metrics import auc_roc, average_precision, card_precision

Floats = NDArray[np.float64]
DAY_MS = 86_400_000
WINDOWS = (1, 7, 30)
DELAY_DAYS = 7
# Trained on 2018-07-25..07-31, tested on 2018-08-08..14.
FIRST = Request(date(2018, 8, 8), date(2018, 8, 14), train_days=7)
SETTINGS: dict[str, Any] = {
    "objective": "binary:logistic", "tree_method": "exact", "base_score": 0.5, "max_depth": 6, "eta": 0.3,
}  # fmt: skip
ROUNDS = 100


def features(data: Portfolio) -> Floats:
    """[n, 15]: amount, weekend, night; the customer's count and mean amount; the terminal's count and risk, delayed."""
    amount = data.amounts / 100.0
    hour = data.times // 3_600_000 % 24
    # 1970-01-01 was a Thursday, day 3 of a week that begins on Monday.
    weekend = (data.days + 3) % 7 >= 5
    columns = [amount, weekend.astype(float), (hour <= 6).astype(float)]
    for days in WINDOWS:
        count, total = _rolling(data.cards, data.times, amount, days)
        columns += [count, total / count]
    terminal, frauds = codes(data.table.column("entity.terminal")), (data.labels == 1).astype(float)
    late_count, late_frauds = _rolling(terminal, data.times, frauds, DELAY_DAYS)
    for days in WINDOWS:
        count, found = _rolling(terminal, data.times, frauds, DELAY_DAYS + days)
        count, found = count - late_count, found - late_frauds
        columns += [count, np.divide(found, count, out=np.zeros_like(found), where=count > 0)]
    return np.column_stack(columns)


def _rolling(keys: NDArray[np.int64], times: NDArray[np.int64], values: Floats, days: int) -> tuple[Floats, Floats]:
    """(count, sum of values) of the rows of the same key in (time - days, time], up to and including each row."""
    order = np.lexsort((np.arange(len(keys)), times, keys))
    key, time = keys[order], times[order]
    whole = np.concatenate(([0.0], np.cumsum(values[order])))
    span = int(times.max() - times.min()) + 2 * days * DAY_MS
    line = key * span + (time - times.min())
    start = np.searchsorted(line, line - days * DAY_MS, side="right")
    start = np.maximum(start, np.searchsorted(key, key, side="left"))
    end = np.arange(len(key)) + 1
    count, total = np.empty(len(key)), np.empty(len(key))
    count[order], total[order] = end - start, whole[end] - whole[start]
    return count, total


def reproduce(data: Portfolio, *, threads: int = 0) -> dict[str, float]:
    """auc, ap and cp100 of the book's XGBoost on its first window."""
    matrix = features(data)
    (fold,) = protocol.folds(FIRST)
    train = protocol.train_rows(fold, data.days, data.labels)
    test, _ = protocol.test_rows(fold, data.days, data.labels, data.cards, delay_days=FIRST.delay_days)
    learned = xgb.DMatrix(matrix[train], label=data.labels[train])
    booster = xgb.train(SETTINGS | {"nthread": threads}, learned, ROUNDS)
    scores, frauds = booster.predict(xgb.DMatrix(matrix[test])), data.labels[test] == 1
    return {
        "auc": auc_roc(frauds, scores),
        "ap": average_precision(frauds, scores),
        "cp100": card_precision(frauds, scores, data.cards[test], data.days[test]),
    }
