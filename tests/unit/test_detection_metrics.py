"""Detection metrics by hand and against oracles in plain Python."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from services.detection_metrics import auc_roc, average_precision, card_days, card_precision, value_detection_rate

Row = tuple[int, float, int, int, int]  # fraud, score, card, day, amount


def arrays(rows: list[Row]) -> tuple[Any, ...]:
    fraud, score, card, day, amount = zip(*rows, strict=True)
    return np.array(fraud), np.array(score), np.array(card), np.array(day), np.array(amount)


def naive_cards(rows: list[Row], k: int) -> tuple[float, float]:
    """(card precision, value detection rate), day by day as the definition says."""
    gone: set[int] = set()
    precisions, caught, lost = [], 0, 0
    for day in sorted({row[3] for row in rows}):
        risk: dict[int, float] = {}
        hit: set[int] = set()
        today = [row for row in rows if row[3] == day and row[2] not in gone]
        for fraud, score, card, _, amount in today:
            risk[card] = max(risk.get(card, -math.inf), score)
            if fraud:
                hit.add(card)
                lost += amount
        looked = sorted(risk, key=lambda card: (-risk[card], card))[:k]
        caught += sum(row[4] for row in today if row[0] and row[2] in looked)
        precisions.append(len(hit & set(looked)) / k)
        gone |= hit & set(looked)
    return sum(precisions) / len(precisions), caught / lost if lost else math.nan


def naive_average_precision(fraud: list[int], score: list[float]) -> float:
    total, former = 0.0, 0.0
    for cut in sorted(set(score), reverse=True):
        chosen = [f for f, s in zip(fraud, score, strict=True) if s >= cut]
        total += (sum(chosen) / sum(fraud) - former) * sum(chosen) / len(chosen)
        former = sum(chosen) / sum(fraud)
    return total


def naive_auc(fraud: list[int], score: list[float]) -> float:
    pairs = [
        (f, g) for f, yf in zip(score, fraud, strict=True) if yf for g, yg in zip(score, fraud, strict=True) if not yg
    ]
    return sum((f > g) + 0.5 * (f == g) for f, g in pairs) / len(pairs)


def random_rows(r: random.Random, count: int) -> list[Row]:
    return [
        (int(r.random() < 0.2), r.choice([0.1, 0.5, r.random()]), r.randrange(12), r.randrange(4), r.randrange(900))
        for _ in range(count)
    ]


def test_every_metric_agrees_with_its_oracle() -> None:
    r = random.Random(3)
    for _ in range(40):
        rows = [(1, 0.4, 1, 0, 10), (0, 0.4, 2, 0, 10), *random_rows(r, 60)]
        fraud, score, card, day, amount = arrays(rows)
        assert auc_roc(fraud, score) == pytest.approx(naive_auc(list(fraud), list(score)))
        assert average_precision(fraud, score) == pytest.approx(naive_average_precision(list(fraud), list(score)))
        k = r.choice([1, 3, 5])
        precision, value = naive_cards(rows, k)
        assert card_precision(fraud, score, card, day, k=k) == pytest.approx(precision)
        assert value_detection_rate(fraud, score, card, day, amount, k=k) == pytest.approx(value)


def test_a_found_card_is_gone_on_the_days_after() -> None:
    # Card 1 is found on day 0; on day 1 the one place goes to card 2, whose fraud is found.
    rows: list[Row] = [(1, 0.9, 1, 0, 100), (0, 0.8, 2, 0, 5), (1, 0.95, 1, 1, 400), (1, 0.5, 2, 1, 50)]
    fraud, score, card, day, amount = arrays(rows)
    assert card_precision(fraud, score, card, day, k=1) == 1.0
    assert value_detection_rate(fraud, score, card, day, amount, k=1) == 1.0


def test_a_card_that_was_looked_at_in_vain_comes_back() -> None:
    rows: list[Row] = [(0, 0.9, 1, 0, 100), (1, 0.9, 1, 1, 400), (0, 0.1, 2, 1, 50)]
    fraud, score, card, day, amount = arrays(rows)
    assert card_precision(fraud, score, card, day, k=1) == 0.5
    assert value_detection_rate(fraud, score, card, day, amount, k=1) == 1.0


def test_a_card_counts_by_its_riskiest_transaction_and_equal_ones_by_their_code() -> None:
    rows: list[Row] = [(0, 0.1, 3, 0, 1), (1, 0.7, 3, 0, 1), (0, 0.7, 5, 0, 1)]
    fraud, score, card, day, _ = arrays(rows)
    (only,) = card_days(fraud, score, card, day, k=1)
    assert set(only.looked_at) == {0, 1}
    assert (only.found, only.cards_with_fraud) == (1, 1)


def test_days_with_fewer_cards_than_the_budget_divide_by_the_budget() -> None:
    fraud, score, card, day, _ = arrays([(1, 0.9, 1, 0, 1)])
    assert card_precision(fraud, score, card, day, k=100) == pytest.approx(0.01)


def test_nothing_to_measure_is_nan() -> None:
    fraud, score, card, day, amount = arrays([(0, 0.9, 1, 0, 1), (0, 0.5, 2, 0, 1)])
    assert math.isnan(auc_roc(fraud, score))
    assert math.isnan(average_precision(fraud, score))
    assert math.isnan(value_detection_rate(fraud, score, card, day, amount, k=1))
