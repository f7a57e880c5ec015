"""Training inside the container: Parquet channels in, a booster with its metadata out.

Reads `input/config` and `input/data/<channel>` under SAGEMAKER_BASE_DIR (default /opt/ml), channels `train` and
`validation`; the first column is `label` (0 or 1), the others are the features, missing as nan or null. The split is
by time and was made by whoever wrote the channels. A failure leaves one sentence in `output/failure` and exits 1.
Runs as a script, on its own or in the XGBoost framework image; command-line arguments are ignored.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb
from numpy.typing import NDArray

if __package__:
    from model import measures, onnx_packaging
else:
    import measures  # type: ignore[no-redef]
    import onnx_packaging  # type: ignore[no-redef]

# Every hyperparameter with its default; anything else is refused, so that a misspelt one is not silently unused.
DEFAULTS: dict[str, Any] = {
    "num_round": 200,
    "max_depth": 5,
    "eta": 0.1,
    "min_child_weight": 1.0,
    "gamma": 0.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
    "scale_pos_weight": 1.0,
    "early_stopping_rounds": 30,
    "tree_method": "auto",
    "seed": 7,
    # The share of transactions analysts can look at.
    "target_alert_rate": 0.01,
    "precision_floor": 0.1,
    "decline_precision": 0.9,
    # Only where the Parquet files do not say it themselves.
    "features_version": "",
}
# Exact splits are worth their time up to here; beyond, 4096 bins lose little (the default 256 lose a lot).
EXACT_CELLS = 600_000
HIST_BINS = 4096


class Failure(Exception):
    """The training set or its settings cannot be used; the message is for the person who started the job."""


@dataclass(frozen=True)
class Channel:
    """labels [n] of 0.0 and 1.0; matrix [n, f] float32 with nan for missing; names of the f features in order."""

    labels: NDArray[np.float64]
    matrix: NDArray[np.float32]
    names: tuple[str, ...]
    features_version: str


def hyperparameters(given: dict[str, str]) -> dict[str, Any]:
    """The defaults overlaid with what was given (texts). Names starting with sagemaker_ belong to the platform."""
    out = dict(DEFAULTS)
    for name, text in given.items():
        if name.startswith("sagemaker_"):
            continue
        if name not in DEFAULTS:
            raise Failure(f"The hyperparameter '{name}' is not known; known are {', '.join(sorted(DEFAULTS))}.")
        kind, value = type(DEFAULTS[name]), str(text).strip().strip('"')
        try:
            out[name] = kind(value)
        except ValueError:
            raise Failure(f"The hyperparameter {name} must be a {_KINDS[kind]}, got '{value[:40]}'.") from None
    for name in ("num_round", "max_depth", "early_stopping_rounds"):
        if out[name] < 1:
            raise Failure(f"The hyperparameter {name} must be at least 1, got {out[name]}.")
    for name in ("target_alert_rate", "precision_floor", "decline_precision"):
        if not 0.0 < out[name] < 1.0:
            raise Failure(f"The hyperparameter {name} must lie between 0 and 1, got {out[name]}.")
    if out["tree_method"] not in ("auto", "exact", "hist"):
        raise Failure(f"The hyperparameter tree_method must be auto, exact or hist, got '{out['tree_method']}'.")
    return out


_KINDS = {int: "whole number", float: "number", str: "text"}


def read_channel(folder: Path, channel: str) -> Channel:
    """Every Parquet file of a channel, in the order of their names. Raises Failure where it cannot be learned from."""
    files = sorted(folder.glob("**/*.parquet"))
    if not files:
        raise Failure(f"The channel '{channel}' has no Parquet files.")
    try:
        tables = [pq.read_table(file, partitioning=None) for file in files]
        # Two underscores: what belongs to a row without being learned from.
        tables = [t.select([name for name in t.column_names if not name.startswith("__")]) for t in tables]
    except (pa.ArrowInvalid, OSError) as error:
        raise Failure(f"A file of the channel '{channel}' is not readable as Parquet: {error}") from error
    names = tuple(tables[0].column_names)
    if any(tuple(table.column_names) != names for table in tables):
        raise Failure(f"The files of the channel '{channel}' do not have the same columns in the same order.")
    if not names or names[0] != "label" or len(names) < 2:
        raise Failure(f"The channel '{channel}' must have the column 'label' first and at least one feature after it.")
    version = (tables[0].schema.metadata or {}).get(b"features_version", b"").decode()
    table = pa.concat_tables(tables)
    try:
        matrix = np.column_stack([_numbers(table, name, np.float32) for name in names[1:]])
        labels = _numbers(table, "label", np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, TypeError) as error:
        raise Failure(f"The channel '{channel}' has a column that is not numeric: {error}") from error
    if not len(labels):
        raise Failure(f"The channel '{channel}' has no rows.")
    if np.isnan(labels).any():
        raise Failure(f"The channel '{channel}' has {int(np.isnan(labels).sum()):,} rows without a label.")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise Failure(f"The labels of the channel '{channel}' must be 0 or 1.")
    if len(np.unique(labels)) < 2:
        raise Failure(f"The channel '{channel}' has only {'frauds' if labels[0] else 'genuine transactions'}.")
    if np.isinf(matrix).any():
        column = names[1 + int(np.flatnonzero(np.isinf(matrix).any(axis=0))[0])]
        raise Failure(f"The feature '{column}' of the channel '{channel}' holds an infinite value.")
    return Channel(labels, matrix, names[1:], version)


def _numbers(table: pa.Table, name: str, kind: Any) -> NDArray[Any]:
    column = table.column(name).to_numpy(zero_copy_only=False)
    if column.dtype.kind not in "fiub":
        raise ValueError(name)
    numbers: NDArray[Any] = column.astype(kind)
    return numbers


def constant_features(data: Channel) -> list[str]:
    """Names of the features that never change; all-missing counts as constant."""
    first = data.matrix[0]
    same = (data.matrix == first) | (np.isnan(data.matrix) & np.isnan(first))
    return [name for name, constant in zip(data.names, same.all(axis=0), strict=True) if constant]


class _MetricLines(xgb.callback.TrainingCallback):
    """Prints one line a round in the form the job's metric definitions read."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        values = [
            f"{data}-{metric}:{history[-1]:.5f}"
            for data, metrics in evals_log.items()
            for metric, history in metrics.items()
        ]
        print(f"[{epoch}] {' '.join(values)}", flush=True)
        return False


def fit(train: Channel, validation: Channel, settings: dict[str, Any]) -> xgb.Booster:
    """A booster cut at the round with the best average precision on the validation channel."""
    method = settings["tree_method"]
    if method == "auto":
        method = "exact" if train.matrix.size <= EXACT_CELLS else "hist"
    parameters: dict[str, Any] = {
        "objective": "binary:logistic",
        # Estimated from the data by default since version 2, which loses much on rare classes.
        "base_score": 0.5,
        "eval_metric": "aucpr",
        "tree_method": method,
        "nthread": os.cpu_count() or 1,
        "max_depth": settings["max_depth"],
        "eta": settings["eta"],
        "min_child_weight": settings["min_child_weight"],
        "gamma": settings["gamma"],
        "subsample": settings["subsample"],
        "colsample_bytree": settings["colsample_bytree"],
        "lambda": settings["reg_lambda"],
        "scale_pos_weight": settings["scale_pos_weight"],
        "seed": settings["seed"],
    }
    if method == "hist":
        parameters["max_bin"] = HIST_BINS
    print(f"Training on {len(train.labels):,} rows, {len(train.names)} features, tree method {method}.", flush=True)
    names = list(train.names)
    return xgb.train(
        parameters,
        dtrain := xgb.DMatrix(train.matrix, label=train.labels, feature_names=names),
        settings["num_round"],
        evals=[
            (dtrain, "train"),
            (xgb.DMatrix(validation.matrix, label=validation.labels, feature_names=names), "validation"),
        ],
        callbacks=[
            _MetricLines(),
            xgb.callback.EarlyStopping(
                rounds=settings["early_stopping_rounds"],
                metric_name="aucpr",
                data_name="validation",
                maximize=True,
                save_best=True,
            ),
        ],
        verbose_eval=False,
    )


def evaluate(
    booster: xgb.Booster, data: Channel, settings: dict[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """(metrics, suggested thresholds) on the validation channel; shares lie in [0, 1]."""
    scores = booster.inplace_predict(data.matrix, validate_features=False).astype(np.float64)
    review, decline = measures.suggest_thresholds(
        data.labels,
        scores,
        target_alert_rate=settings["target_alert_rate"],
        precision_floor=settings["precision_floor"],
        decline_precision=settings["decline_precision"],
    )
    alerted = scores >= review
    metrics = {
        "average_precision": measures.average_precision(data.labels, scores),
        "auc": measures.roc_auc(data.labels, scores),
        "precision_at_review": float(data.labels[alerted].mean()),
        "recall_at_review": float(data.labels[alerted].sum() / data.labels.sum()),
        "alert_rate": float(alerted.mean()),
        "prevalence": float(data.labels.mean()),
        "validation_rows": float(len(data.labels)),
        "trees": float(booster.num_boosted_rounds()),
    }
    return metrics, {"review_threshold": review, "decline_threshold": decline}


def train(base: Path) -> None:
    """One job under `base`; writes `model/` only when everything succeeded."""
    began = time.monotonic()
    given = json.loads((base / "input/config/hyperparameters.json").read_text())
    channels = json.loads((base / "input/config/inputdataconfig.json").read_text())
    settings = hyperparameters(given)
    for channel in ("train", "validation"):
        if channel not in channels:
            raise Failure(f"The job has no channel '{channel}'.")
    data, validation = (read_channel(base / "input/data" / c, c) for c in ("train", "validation"))
    if data.names != validation.names:
        raise Failure("The channels 'train' and 'validation' do not have the same features in the same order.")
    still = constant_features(data)
    if len(still) == len(data.names):
        raise Failure("Every feature is constant in the channel 'train'; there is nothing to learn from.")
    if still:
        print(f"These features never change and cannot contribute: {', '.join(still)}.", flush=True)
    booster = fit(data, validation, settings)
    metrics, suggested = evaluate(booster, validation, settings)
    metadata = {
        "features": list(data.names),
        "features_version": data.features_version or settings["features_version"],
        "suggested": suggested,
        "metrics": metrics,
        "training": {"rows": len(data.labels), "positives": int(data.labels.sum())},
    }
    write_model(base / "model", booster, metadata, validation.matrix)
    for name, value in metrics.items():
        print(f"metric:{name if name.startswith('validation') else 'validation_' + name}={value:.6g};")
    print(f"Finished in {time.monotonic() - began:.1f} s.", flush=True)


def write_model(folder: Path, booster: xgb.Booster, metadata: dict[str, Any], rows: NDArray[np.float32]) -> None:
    """model.ubj, model.onnx (compared with the booster on `rows`), metadata.json and the serving code; the metadata
    last, so that a folder with it is complete.
    """
    onnx_packaging.copy_serving_code(folder / "code")
    booster.save_model(folder / "model.ubj")
    metadata = metadata | {"parity": onnx_packaging.export_onnx(booster, folder, rows)}
    partial = folder / "metadata.json.partial"
    partial.write_text(json.dumps(metadata, indent=1, sort_keys=True))
    partial.replace(folder / "metadata.json")


def main() -> int:
    """Train; on failure leave one sentence for the job's FailureReason."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        train(base)
    except Exception as error:
        sentence = str(error) if isinstance(error, Failure) else f"Training broke off: {type(error).__name__}: {error}"
        (base / "output").mkdir(parents=True, exist_ok=True)
        (base / "output/failure").write_text(sentence[:1024])
        print(sentence, file=sys.stderr, flush=True)
        if not isinstance(error, Failure):
            raise
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
