"""Rows too new for all their frauds to be known: only the last fit learns from them, and no figure changes by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from model.training_options import Failure
from tests.unit.test_training_job import channel, trained

YOUNG = channel(400, 3, labels=np.ones(400))


def told(folder: Path) -> tuple[dict[str, Any], str]:
    return json.loads((folder / "model/model_card.json").read_text()), (folder / "model/model_card.md").read_text()


@pytest.mark.parametrize("method", ["exact", "hist"])
def test_the_last_fit_learns_from_them_and_nothing_else_changes(tmp_path: Path, method: str) -> None:
    given = {"tree_method": method, "subsample": "0.8"}
    without, held = trained(tmp_path / "a", given), trained(tmp_path / "b", given, young=YOUNG)
    for part in ("metrics", "thresholds", "calibration", "suggested"):
        assert held[part] == without[part], part
    training = held["training"]
    assert (training["rows"], training["young"]) == (3_000, {"rows": 400, "positives": 400})
    assert (training["refit_rows"], training["refit_young"]) == (5_400, True)
    assert (without["training"]["refit_rows"], without["training"]["young"]) == (5_000, None)

    parts = (channel(3_000, 1), channel(2_000, 2), YOUNG)
    matrix, labels = np.concatenate([p.matrix for p in parts]), np.concatenate([p.labels for p in parts])
    names, threads = list(parts[0].names), training["threads"]
    if method == "hist":
        rows = xgb.QuantileDMatrix(matrix, labels, feature_names=names, max_bin=4096, nthread=threads)
    else:
        rows = xgb.DMatrix(matrix, labels, feature_names=names, nthread=threads)
    plain = xgb.train(training["parameters"] | {"seed": 7}, rows, num_boost_round=training["rounds"][0])
    assert plain.save_raw("ubj") == (tmp_path / "b/model/model.ubj").read_bytes()

    card, text = told(tmp_path / "b")
    assert card["data"]["young"] == {"rows": 400, "frauds": 400, "learned": True}
    assert "400 transactions, 400 of them fraud; only the last fit, on all rows, learned from them" in text
    assert "Too new" not in told(tmp_path / "a")[1]


def test_without_a_last_fit_they_are_left_out_and_the_card_says_so(tmp_path: Path) -> None:
    without = trained(tmp_path / "a", {"refit": "no"})
    held = trained(tmp_path / "b", {"refit": "no"}, young=YOUNG)
    assert held["booster_sha256"] == without["booster_sha256"]
    card, text = told(tmp_path / "b")
    assert card["data"]["young"] == {"rows": 400, "frauds": 400, "learned": False}
    assert "- Too new to measure on, though a verdict is known: 400 transactions, 400 of them fraud; left out\n" in text


def test_a_job_that_is_not_given_them_tells_of_those_its_training_set_has(tmp_path: Path) -> None:
    data = channel(3_000, 1, about={"young": {"rows": 12, "positives": 9}})
    trained(tmp_path, {}, train=data)
    assert told(tmp_path)[0]["data"]["young"] == {"rows": 12, "frauds": 9, "learned": False}


def test_other_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="'train' and 'young' do not have the same features in the same order"):
        trained(tmp_path, {}, young=channel(50, 3, names=("ratio", "noise", "frauds")))
