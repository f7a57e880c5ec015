"""The ONNX package answers as the booster does, or there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from model import onnx_packaging
from model.onnx_packaging import TOLERANCE, PackagingFailed, export_onnx, open_session

WIDTH = 3


def boosted(seed: int, rounds: int = 20, *, rows: int = 400, **parameters: Any) -> xgb.Booster:
    r = np.random.default_rng(seed)
    matrix = r.normal(size=(rows, WIDTH)).astype(np.float32)
    labels = (r.random(rows) < 1 / (1 + np.exp(-2 * matrix[:, 0] + matrix[:, 1] * matrix[:, 2]))).astype(int)
    matrix[r.random(matrix.shape) < 0.2] = np.nan
    settings = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4, "seed": seed, **parameters}
    return xgb.train(settings, xgb.DMatrix(matrix, label=labels, nthread=1), rounds)


def rows_of(seed: int, count: int = 300) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def by_onnx(folder: Path, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    log_odds = open_session(folder / "model.onnx").run(None, {"rows": rows})[0][:, 0]
    return 1 / (1 + np.exp(-log_odds.astype(np.float64)))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"base_score": 0.5, "tree_method": "exact"},
        {"base_score": 0.02},
        {"tree_method": "hist", "max_bin": 4096, "scale_pos_weight": 30.0},
        {"grow_policy": "lossguide", "max_leaves": 7},
        {"num_parallel_tree": 3, "subsample": 0.6},
        {"monotone_constraints": (1, 0, -1)},
        {"min_child_weight": 1e6},  # every tree is a single leaf
    ],
)
def test_whatever_the_settings_the_package_answers_as_the_booster(parameters: dict[str, Any], tmp_path: Path) -> None:
    booster = boosted(3, **parameters)
    rows = rows_of(4)
    parity = export_onnx(booster, tmp_path, rows)
    assert parity["max_abs_difference"] <= TOLERANCE
    assert parity["rows"] > len(rows)
    np.testing.assert_allclose(by_onnx(tmp_path, rows), booster.inplace_predict(rows), atol=TOLERANCE)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[xgb.Booster, Any, list[float]]:
    folder, booster = tmp_path_factory.mktemp("onnx"), boosted(5, 40)
    export_onnx(booster, folder, rows_of(6))
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    nodes = [pair for t in trees for pair in zip(t["split_conditions"], t["left_children"], strict=True)]
    edges = [threshold for threshold, left in nodes if left != -1]
    return booster, open_session(folder / "model.onnx"), edges


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_row_scores_the_same_missing_values_and_thresholds_included(
    packaged: tuple[xgb.Booster, Any, list[float]], data: st.DataObject
) -> None:
    booster, session, edges = packaged
    # Thresholds as float64 too: between a float32 threshold and its neighbours lie numbers that must round alike.
    near = st.sampled_from(edges).flatmap(lambda e: st.sampled_from([e, np.nextafter(e, -9.0), np.nextafter(e, 9.0)]))
    cell = st.one_of(st.just(float("nan")), near, st.floats(width=32, allow_infinity=False))
    rows = data.draw(hnp.arrays(np.float64, (data.draw(st.integers(1, 5)), WIDTH), elements=cell)).astype(np.float32)
    log_odds = session.run(None, {"rows": rows})[0][:, 0].astype(np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), booster.inplace_predict(rows), atol=TOLERANCE, rtol=0)


def test_a_package_that_answers_otherwise_is_refused_and_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"of a former booster")
    right = onnx_packaging._base_log_odds
    monkeypatch.setattr(onnx_packaging, "_base_log_odds", lambda model: right(model) + 1e-3)
    with pytest.raises(PackagingFailed, match=r"differs from the booster by 0\.0002"):
        export_onnx(boosted(1), tmp_path, rows_of(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"objective": "reg:squarederror"}, "not gbtree of reg:squarederror"),
        ({"booster": "dart"}, "not dart of binary:logistic"),
    ],
)
def test_boosters_the_operator_cannot_say_are_refused(
    parameters: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(PackagingFailed, match=sentence):
        export_onnx(boosted(1, 2, **parameters), tmp_path, rows_of(2))


def test_categorical_splits_are_refused(tmp_path: Path) -> None:
    r = np.random.default_rng(1)
    codes = r.integers(0, 5, size=(200, 1)).astype(np.float32)
    data = xgb.DMatrix(codes, label=(codes[:, 0] % 2).astype(int), feature_types=["c"], enable_categorical=True)
    with pytest.raises(PackagingFailed, match="categorical splits"):
        export_onnx(xgb.train({"objective": "binary:logistic", "nthread": 1}, data, 2), tmp_path, codes)


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackagingFailed, match="must have 3 features"):
        export_onnx(boosted(1, 2), tmp_path, rows_of(2)[:, :2])


def test_without_the_runtime_the_packaging_says_that_the_booster_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"of a former booster")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = export_onnx(boosted(1, 2), tmp_path, rows_of(2))
    assert said["max_abs_difference"] is None
    assert "the booster itself serves" in said["note"]
    assert list(tmp_path.iterdir()) == []
