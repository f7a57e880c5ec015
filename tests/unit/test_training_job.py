"""What happens inside a training job: settings, odd data, fitting, and that the same job gives the same model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from model import model_card, onnx_packaging, training_fit
from model import train as job
from model.training_channels import Channel, Segment, read_channel
from model.training_options import DEFAULTS, Failure, hyperparameters
from services.hyperparameters import CHOICES, HYPERPARAMETERS, MONOTONE, wrong_hyperparameter

NAMES = ("ratio", "frauds", "noise")


def channel(rows: int, seed: int, **changes: Any) -> Channel:
    r = np.random.default_rng(seed)
    ratio, frauds, noise = r.lognormal(0, 1, rows), r.poisson(0.3, rows), r.normal(0, 1, rows)
    labels = (r.random(rows) < 1 / (1 + np.exp(-(ratio + 1.5 * frauds - 4)))).astype(float)
    matrix = np.column_stack([ratio, frauds, noise]).astype(np.float32)
    matrix[r.random(matrix.shape) < 0.03] = np.nan
    made = Channel(labels, matrix, NAMES, "7", r.integers(100, 90_000, rows).astype(float))
    return replace(made, **changes)


def settings(**given: Any) -> dict[str, Any]:
    return hyperparameters({"num_round": "20", "max_depth": "3", **{k: str(v) for k, v in given.items()}})


def write(base: Path, given: dict[str, str], **channels: Channel) -> Path:
    (base / "input/config").mkdir(parents=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(given))
    (base / "input/config/inputdataconfig.json").write_text(json.dumps({name: {} for name in channels}))
    for name, data in channels.items():
        (base / "input/data" / name).mkdir(parents=True)
        pq.write_table(as_table(data), base / "input/data" / name / "part-00000.parquet")
    return base


def texts(held: Segment) -> list[str]:
    return [held.names[code] for code in held.codes]


def as_table(data: Channel) -> pa.Table:
    columns: dict[str, Any] = {"label": data.labels.astype(np.int8)}
    if data.amounts is not None:
        columns["__amount_minor"] = data.amounts.astype(np.int64)
    for name, codes in (("__card", data.cards), ("__day", data.days)):
        if codes is not None:
            columns[name] = codes.astype(np.int32)
    columns |= {f"__segment.{key}": texts(held) for key, held in data.segments.items()}
    columns |= {name: data.matrix[:, place] for place, name in enumerate(data.names)}
    metadata = {"features_version": data.features_version, "training_set": json.dumps(data.about)}
    return pa.table(columns).replace_schema_metadata(metadata)


def trained(tmp_path: Path, given: dict[str, str], **channels: Channel) -> dict[str, Any]:
    channels = {"train": channel(3_000, 1), "validation": channel(2_000, 2), **channels}
    job.train(write(tmp_path, {"num_round": "20", "max_depth": "3", **given}, **channels))
    metadata: dict[str, Any] = json.loads((tmp_path / "model/metadata.json").read_text())
    return metadata


def test_what_the_desk_lets_through_is_what_the_job_understands() -> None:
    assert {*HYPERPARAMETERS, *CHOICES, MONOTONE} == {*DEFAULTS} - {"features_version"}
    for name, (low, high, _) in HYPERPARAMETERS.items():
        for bound in (low, high):
            assert wrong_hyperparameter(name, bound) is None
            assert hyperparameters({name: f"{bound:g}" if bound != 2**31 - 1 else str(bound)})[name] == bound
    for name, known in CHOICES.items():
        for value in known:
            assert wrong_hyperparameter(name, value) is None
            assert hyperparameters({name: value})[name] == value
    assert wrong_hyperparameter("tree_method", "approx") == "tree_method must be one of: auto, exact, hist."
    assert wrong_hyperparameter(MONOTONE, '{"a": 1, "b": -1}') is None
    for wrong in ("[1]", "{", '{"a": true}', '{"a": 2}', 1.0):
        assert wrong_hyperparameter(MONOTONE, wrong)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"eta": "nan"}, "The hyperparameter eta must be a number, got 'nan'."),
        ({"eta": "0"}, "The hyperparameter eta must be above 0 and at most 1"),
        ({"subsample": "1.5"}, "The hyperparameter subsample must be above 0 and at most 1"),
        ({"scale_pos_weight": "-1"}, "The hyperparameter scale_pos_weight must be above 0"),
        ({"seeds": "0"}, "The hyperparameter seeds must be at least 1"),
        ({"threads": "-1"}, "The hyperparameter threads must be at least 0"),
        ({"max_bin": "2"}, "The hyperparameter max_bin must be at least 16"),
        ({"class_weight": "heavy"}, "The hyperparameter class_weight must be none or balanced, got 'heavy'."),
        ({"class_weight": "balanced", "scale_pos_weight": "9"}, "Set either the hyperparameter class_weight or"),
        ({"cost_review_minor": "inf"}, "The hyperparameter cost_review_minor must be at least 0"),
        ({"recovered_share": "1.1"}, "The hyperparameter recovered_share must be at most 1"),
        ({"monotone_constraints": "frauds=1"}, "The hyperparameter monotone_constraints must be JSON like"),
        ({"monotone_constraints": '{"frauds": 2}'}, "The hyperparameter monotone_constraints must be JSON like"),
    ],
)
def test_a_wrong_setting_is_one_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(Failure) as refused:
        hyperparameters(given)
    assert str(refused.value).startswith(sentence)


def test_channels_of_several_files_and_kinds_of_numbers_are_one_float32_matrix(tmp_path: Path) -> None:
    first = pa.table(
        {
            "label": pa.array([0, 1, 0], pa.int64()),
            "__amount_minor": [5, 6, 7],
            "__segment.channel": ["pos", None, "ecom"],
            "__later": ["not", "known", "yet"],
            "count": pa.array([1, None, 3], pa.int32()),
            "flag": pa.array([True, False, None]),
            "share": pa.array([0.5, float("nan"), None]),
        }
    )
    pq.write_table(first, tmp_path / "b.parquet")
    pq.write_table(first.slice(1), tmp_path / "a.parquet")
    read = read_channel(tmp_path, "train")
    assert read.names == ("count", "flag", "share")
    assert read.matrix.dtype == np.float32
    expected = [[np.nan, 0, np.nan], [3, np.nan, np.nan], [1, 1, 0.5], [np.nan, 0, np.nan], [3, np.nan, np.nan]]
    np.testing.assert_array_equal(read.matrix, np.array(expected, dtype=np.float32))
    assert read.labels.tolist() == [1, 0, 0, 1, 0]
    assert read.amounts is not None
    assert read.amounts.tolist() == [6, 7, 5, 6, 7]
    assert read.segments["channel"].names == ("ecom", "pos", "unknown")
    assert texts(read.segments["channel"]) == ["unknown", "ecom", "pos", "unknown", "ecom"]
    assert (read.cards, read.days) == (None, None)


def test_the_same_job_gives_the_same_booster_and_a_seed_another(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / name, {"subsample": "0.7", "tree_method": "hist", "seed": seed})
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    digests = [run["booster_sha256"] for run in runs]
    assert digests[0] == digests[1] != digests[2]
    assert runs[0]["training"]["code_sha256"] == job.code_sha256(Path(job.__file__).parent)


@pytest.mark.parametrize("method", ["exact", "hist"])
def test_a_constraint_holds_in_the_model(method: str) -> None:
    # Frauds lower the risk here, so that the unconstrained model breaks the constraint.
    data = channel(3_000, 1)
    odd = replace(data, matrix=data.matrix * np.float32([1, -1, 1]))
    free = training_fit.fit(odd, odd, settings(tree_method=method)).booster
    bound = training_fit.fit(odd, odd, settings(tree_method=method, monotone_constraints='{"frauds": 1}')).booster
    rows = np.array([[1.0, frauds, 0.0] for frauds in (-4, -2, -1, 0)], dtype=np.float32)
    assert (np.diff(training_fit.log_odds(free, rows)) < 0).any()
    assert (np.diff(training_fit.log_odds(bound, rows)) >= 0).all()
    with pytest.raises(Failure, match="did not keep the constraint on 'frauds'"):
        training_fit._check_monotone(free, odd, {"frauds": 1})


def test_a_constraint_on_a_feature_that_is_not_there_is_refused() -> None:
    data = channel(500, 1)
    with pytest.raises(Failure, match="names no feature of the training set: depth"):
        training_fit.fit(data, data, settings(monotone_constraints='{"depth": 1}'))


def test_several_seeds_are_the_mean_of_their_boosters() -> None:
    data, tuning = channel(2_000, 1), channel(1_000, 2)
    single = [
        training_fit.fit(data, tuning, settings(subsample=0.6, seed=seed, tree_method="hist")).booster
        for seed in (4, 5, 6)
    ]
    fitted = training_fit.fit(data, tuning, settings(subsample=0.6, seed=4, seeds=3, tree_method="hist"))
    mean = np.mean([training_fit.log_odds(booster, tuning.matrix) for booster in single], axis=0)
    np.testing.assert_allclose(training_fit.log_odds(fitted.booster, tuning.matrix), mean, atol=1e-5)
    assert fitted.training["seeds"] == [4, 5, 6]


def test_several_seeds_are_packaged_and_explained_as_one(tmp_path: Path) -> None:
    held = trained(tmp_path, {"seeds": "2", "subsample": "0.5"})
    assert held["parity"]["max_abs_difference"] <= onnx_packaging.TOLERANCE
    booster = xgb.Booster(model_file=tmp_path / "model/model.ubj")
    rows = xgb.DMatrix(channel(50, 3).matrix, feature_names=list(NAMES))
    shares = booster.predict(rows, pred_contribs=True)
    np.testing.assert_allclose(shares.sum(axis=1), booster.predict(rows, output_margin=True), atol=1e-4)


def test_balanced_weight_is_the_ratio_of_the_classes() -> None:
    data = channel(2_000, 1)
    fitted = training_fit.fit(data, data, settings(class_weight="balanced"))
    frauds = data.labels.sum()
    assert fitted.training["parameters"]["scale_pos_weight"] == pytest.approx((2_000 - frauds) / frauds)


def test_both_methods_are_tried_only_where_that_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    data = channel(2_000, 1)
    tried = training_fit.fit(data, data, settings()).training
    assert tried["tree_method_because"].startswith("tried on the last quarter of the training rows")
    monkeypatch.setattr(training_fit, "TRIAL_CELLS", 5_999)
    large = training_fit.fit(data, data, settings()).training
    assert large["tree_method"] == "hist"
    assert large["tree_method_because"] == "6,000 values, more than the 5,999 up to which both are tried."


def test_what_is_kept_has_learned_from_all_rows_and_the_figures_are_of_the_model_before(tmp_path: Path) -> None:
    once = trained(tmp_path / "once", {"refit": "no", "tree_method": "hist"})
    again = trained(tmp_path / "again", {"tree_method": "hist"})
    assert once["training"]["refit_rows"] is None
    assert again["training"]["refit_rows"] == 5_000
    for figures in ("metrics", "thresholds", "calibration"):
        assert once[figures] == again[figures]
    assert once["booster_sha256"] != again["booster_sha256"]
    booster = xgb.Booster(model_file=tmp_path / "again/model/model.ubj")
    parts = [channel(3_000, 1), channel(2_000, 2)]
    matrix, labels = np.concatenate([c.matrix for c in parts]), np.concatenate([c.labels for c in parts])
    data = xgb.QuantileDMatrix(matrix, label=labels, max_bin=4096, feature_names=list(NAMES))
    rounds = again["training"]["rounds"][0]
    same = xgb.train(again["training"]["parameters"] | {"seed": 7}, data, num_boost_round=rounds)
    rows = channel(100, 3).matrix
    np.testing.assert_array_equal(training_fit.log_odds(booster, rows), training_fit.log_odds(same, rows))
    assert "Afterwards trained again on all 5,000 rows" in (tmp_path / "again/model/model_card.md").read_text()


def test_an_empty_column_and_a_huge_weight_are_no_obstacle(tmp_path: Path) -> None:
    def odd(seed: int, rows: int) -> Channel:
        data = channel(rows, seed)
        data.matrix[:, 2] = np.nan
        return data

    given = {"scale_pos_weight": "10000", "target_alert_rate": "0.5"}
    held = trained(tmp_path, given, train=odd(1, 3_000), validation=odd(2, 2_000))
    assert held["training"]["constant_features"] == ["noise"]
    assert held["parity"]["max_abs_difference"] <= onnx_packaging.TOLERANCE
    # The weight inflates every score; calibration takes that back.
    assert held["calibration"]["quality"]["ece"] < held["calibration"]["uncalibrated"]["ece"] / 5


def test_a_validation_part_too_small_for_halves_is_used_whole_and_that_is_said(tmp_path: Path) -> None:
    held = trained(tmp_path, {}, validation=channel(40, 2))
    assert held["training"]["measured_apart"] is False
    assert held["training"]["tuning"] == held["training"]["measured"]
    assert held["calibration"]["kind"] == "none"
    assert "frauds among 40 transactions; 20 of each kind are needed" in held["calibration"]["reason"]
    card = (tmp_path / "model/model_card.md").read_text()
    assert "Too few frauds to measure apart" in card


def test_a_package_that_answers_otherwise_fails_the_job_and_leaves_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_packaging, "TOLERANCE", -1.0)
    base = write(tmp_path, {"num_round": "5"}, train=channel(500, 1), validation=channel(500, 2))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))
    assert job.main() == 1
    assert (base / "output/failure").read_text().startswith("The ONNX model differs from the booster by ")
    assert not (base / "model/metadata.json").exists()


def test_the_card_tells_where_the_model_is_from_and_what_it_is_worth(tmp_path: Path) -> None:
    about = {
        "experiment_id": "exp-20261122-1415-ab12",
        "snapshot_id": 77,
        "labels_snapshot_id": 78,
        "window_start": "2026-08-01T00:00:00+00:00",
        "window_end": "2026-10-01T00:00:00+00:00",
        "label_cutoff": "2026-11-01T00:00:00+00:00",
        "features": {"ratio": {"title": "Amount against the usual", "unit": "ratio"}},
        "segments": {"channel": "Way of paying"},
    }
    codes = np.random.default_rng(1).permutation(np.r_[np.zeros(1_200, int), np.ones(790, int), np.full(10, 2)])
    validation = channel(2_000, 2, segments={"channel": Segment(codes, ("ecom", "pos", "atm"))})
    held = trained(tmp_path, {}, train=channel(3_000, 1, about=about), validation=validation)
    card = json.loads((tmp_path / "model/model_card.json").read_text())
    assert card == json.loads(json.dumps(model_card.card(held)))
    assert card["data"]["snapshot_id"] == 77
    assert card["features"][0] == {"name": "ratio", "title": "Amount against the usual", "unit": "ratio"}
    assert card["metrics"] == held["metrics"]
    assert [line["value"] for line in card["by_segment"]["channel"]] == ["ecom", "pos", "other"]
    assert sum(line["rows"] for line in card["by_segment"]["channel"]) == 1_000
    assert ["average_precision" in line for line in card["by_segment"]["channel"]] == [True, True, False]
    text = (tmp_path / "model/model_card.md").read_text()
    assert text.startswith("# Model card: exp-20261122-1415-ab12\n")
    assert "\n## By way of paying\n" in text
    assert "`python -m services reproduce exp-20261122-1415-ab12`" in text
    assert held["thresholds"]["kind"] == "cost"


def test_without_amounts_thresholds_follow_the_alert_rate(tmp_path: Path) -> None:
    parts = {"train": channel(3_000, 1, amounts=None), "validation": channel(2_000, 2, amounts=None)}
    held = trained(tmp_path, {"target_alert_rate": "0.1"}, **parts)
    assert held["thresholds"]["kind"] == "alert_rate"
    assert "cost_per_1000_minor" not in held["metrics"]
    assert held["metrics"]["alert_rate"] == pytest.approx(0.1, abs=0.05)
