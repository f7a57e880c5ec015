"""Profiles against plain Python: quantiles, skewness, AUC, PSI, leaks, duplicates."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pyarrow as pa
import pytest

from services.errors import InvalidData
from services.profile import profile
from services.profile_measures import auc, average_precision, psi, skewness
from services.profile_model import drift, quick_model
from services.training_data_import import duplicates, sample


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = random.Random(1)
    values = [rng.randrange(6) for _ in range(80)]
    labels = [int(rng.random() < 0.3) for _ in range(80)]
    pairs = [
        1.0 if f > g else 0.5 if f == g else 0.0
        for f, y in zip(values, labels, strict=True) if y
        for g, z in zip(values, labels, strict=True) if not z
    ]  # fmt: skip
    assert auc(np.array(values, float), np.array(labels, np.int8)) == pytest.approx(statistics.fmean(pairs))
    assert auc(np.array([1.0]), np.array([1], np.int8)) is None


def test_average_precision_treats_equal_scores_as_one_threshold() -> None:
    labels, scores = np.array([1, 0, 1, 0, 0], np.int8), np.array([0.9, 0.8, 0.8, 0.2, 0.1])
    assert average_precision(labels, scores) == pytest.approx(0.5 * 1.0 + 0.5 * (2 / 3))


def test_skewness_and_quantiles_of_a_column() -> None:
    rng = random.Random(2)
    values = [rng.expovariate(1) for _ in range(501)]
    mean = statistics.fmean(values)
    moment = {k: statistics.fmean((v - mean) ** k for v in values) for k in (2, 3)}
    assert skewness(np.array(values)) == pytest.approx(moment[3] / moment[2] ** 1.5)
    assert skewness(np.ones(5)) is None
    labels = np.zeros(501, np.int8)
    found = profile(pa.table({"v": values}), labels=labels, train=np.arange(501) < 400).columns[0]
    ordered = sorted(values)
    assert (found.minimum, found.lower, found.median) == pytest.approx((ordered[0], ordered[125], ordered[250]))
    far = 3 * (ordered[375] - ordered[125])
    assert found.outliers == sum(v > ordered[375] + far or v < ordered[125] - far for v in values)


def test_psi_follows_its_formula() -> None:
    reference, current = np.arange(100.0), np.concatenate([np.arange(50.0), np.full(50, np.nan)])
    edges = [9.9 * i for i in range(1, 10)]

    def shares(values: list[float]) -> list[float]:
        counts = [0.5] * 11
        for value in values:
            counts[10 if math.isnan(value) else sum(value >= edge for edge in edges)] += 1
        return [count / sum(counts) for count in counts]

    r, c = shares(reference.tolist()), shares(current.tolist())
    expected = sum((b - a) * math.log(b / a) for a, b in zip(r, c, strict=True))
    assert psi(reference, current) == pytest.approx(expected)
    assert psi(reference, reference) == pytest.approx(0.0)


def test_a_copy_of_the_label_and_a_telling_absence_are_leaks_and_noise_is_not() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(2_000) < 0.1).astype(np.int8)
    table = pa.table(
        {
            "copy": labels * 2.0 + rng.normal(0, 0.01, 2_000),
            "absent": pa.array([None if y else 1.0 for y in labels], pa.float64()),
            "told": pa.array(["chargeback" if y else "none" for y in labels]),
            "noise": rng.normal(size=2_000),
            "constant": np.ones(2_000),
            "empty": pa.nulls(2_000, pa.float64()),
        }
    )
    found = {c.name: c for c in profile(table, labels=labels, train=np.arange(2_000) < 1_500).columns}
    assert {name for name, c in found.items() if any("Leaks" in p for p in c.problems)} == {"copy", "absent", "told"}
    assert found["constant"].problems == ("Has the same value in every row.",)
    assert found["empty"].problems == ("Missing in every row.",)
    assert found["told"].top[0][0] == "none"


def test_duplicates_and_samples() -> None:
    matrix = np.array([[1, np.nan], [1, np.nan], [1, 2], [1, np.nan]], np.float32)
    assert duplicates(matrix, np.array([0, 0, 0, 1], np.int8)) == 1
    assert sample(10, 20).tolist() == list(range(10))
    assert sample(1_000, 50).tolist() == sorted(sample(1_000, 50).tolist())
    assert len(set(sample(1_000, 50).tolist())) == 50


def test_the_quick_model_finds_the_column_that_tells() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(3_000) < 0.1).astype(np.int8)
    matrix = np.column_stack([rng.normal(size=3_000), labels + rng.normal(0, 0.5, 3_000)]).astype(np.float32)
    train = np.arange(3_000) < 2_000
    made = quick_model(matrix, ["noise", "sign"], labels=labels, train=train)
    assert made.gains[0][0] == "sign"
    assert made.average_precision > 3 * made.prevalence
    with pytest.raises(InvalidData, match="earlier part"):
        quick_model(matrix, ["a", "b"], labels=np.zeros(3_000, np.int8), train=train)


def test_drift_compares_the_columns_both_sets_have() -> None:
    rng = np.random.default_rng(5)
    former = rng.normal(size=(2_000, 2)).astype(np.float32)
    current = np.column_stack([former[:, 1], former[:, 0] + 2]).astype(np.float32)
    found = drift(former, ["a", "b"], current, ["b", "a"])
    assert [(d.column, d.shifted) for d in found] == [("a", True), ("b", False)]
