"""Training inside the container: Parquet channels in, a calibrated booster with its card and metadata out.

Reads `input/config` and `input/data/<channel>` under SAGEMAKER_BASE_DIR (default /opt/ml), channels `train`,
`validation` and, where there are such rows, `young`; the first column is `label` (0 or 1), names beginning with two
underscores belong to a row without being learned from, the others are the features, missing as nan or null. The split
is by time and was made by whoever wrote the channels. A failure leaves one sentence in `output/failure` and exits 1.
Runs as a script, on its own or in the XGBoost framework image; command-line arguments are ignored.

The validation rows are used in two halves, by time. The earlier tunes: when to stop, calibration, thresholds. The later
only measures. With too few frauds for that both are the whole, which the metadata says. Where `refit` holds, the model
that is kept then learns from all rows with the settings and number of trees found; every figure is of the one before.
Young rows, too new for all their frauds to be known, are only learned from then.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xgboost as xgb
from numpy.typing import NDArray

if __package__:
    from model import calibration, evaluation, model_card, onnx_packaging, training_fit
    from model.training_channels import Channel, constant_features, read_channel
    from model.training_options import Failure, hyperparameters
else:
    import calibration  # type: ignore[no-redef]
    import evaluation  # type: ignore[no-redef]
    import model_card  # type: ignore[no-redef]
    import onnx_packaging  # type: ignore[no-redef]
    import training_fit  # type: ignore[no-redef]
    from training_channels import Channel, constant_features, read_channel  # type: ignore[no-redef]
    from training_options import Failure, hyperparameters  # type: ignore[no-redef]

# Halves of the validation rows with fewer of a kind measure nothing; then one part does both.
_HALF_FRAUDS = 20

Fit = Callable[[Channel, Channel, dict[str, Any]], training_fit.Fitted]


def train(base: Path, fit: Fit = training_fit.fit) -> None:
    """One job under `base`; writes `model/` only when everything succeeded.

    `fit` (training rows, tuning rows, settings) makes the booster; its base score must be 0.5.
    """
    began = time.monotonic()
    settings = hyperparameters(json.loads((base / "input/config/hyperparameters.json").read_text()))
    data, validation, young = _channels(base)
    still = constant_features(data)
    if len(still) == len(data.names):
        raise Failure("Every feature is constant in the channel 'train'; there is nothing to learn from.")
    if still:
        print(f"These features never change and cannot contribute: {', '.join(still)}.", flush=True)
    tuning, measured = halves(validation)
    fitted = fit(data, tuning, settings)
    judged = _judge(fitted.booster, tuning, measured, settings)
    final = training_fit.refitted(fitted, data, validation, settings, young)
    metadata = {
        "features": list(data.names),
        "features_version": data.features_version or settings["features_version"],
        "training": final.training
        | _about(data, tuning, measured, settings)
        | {"constant_features": still, "young": _young(data, young)},
        "training_set": data.about,
        "flow": data.about.get("flow"),
        **judged,
    }
    write_model(base / "model", final.booster, metadata, measured.matrix)
    for name, value in metadata["metrics"].items():
        print(f"metric:{name if name.startswith('validation') else 'validation_' + name}={value:.6g};")
    print(f"Finished in {time.monotonic() - began:.1f} s.", flush=True)


def _channels(base: Path) -> tuple[Channel, Channel, Channel | None]:
    """(train, validation, young); None where the job has no channel of young rows."""
    channels = json.loads((base / "input/config/inputdataconfig.json").read_text())
    for channel in ("train", "validation"):
        if channel not in channels:
            raise Failure(f"The job has no channel '{channel}'.")
    data, validation = (read_channel(base / "input/data" / c, c) for c in ("train", "validation"))
    young = read_channel(base / "input/data/young", "young", both=False) if "young" in channels else None
    for name, other in (("validation", validation), ("young", young)):
        if other is not None and data.names != other.names:
            raise Failure(f"The channels 'train' and '{name}' do not have the same features in the same order.")
    return data, validation, young


def halves(validation: Channel) -> tuple[Channel, Channel]:
    """(tuning, measured): the earlier and the later rows; twice the whole where a half has under 20 of either kind."""
    cut = len(validation.labels) // 2
    early, late = validation.rows(slice(0, cut)), validation.rows(slice(cut, None))
    kinds = [min(half.labels.sum(), len(half.labels) - half.labels.sum()) for half in (early, late)]
    return (early, late) if min(kinds) >= _HALF_FRAUDS else (validation, validation)


def _judge(booster: xgb.Booster, tuning: Channel, measured: Channel, settings: dict[str, Any]) -> dict[str, Any]:
    """Calibration and thresholds from the tuning rows, metrics from the measured ones, as metadata.json has them."""
    before = training_fit.log_odds(booster, tuning.matrix)
    if settings["calibration"] == "none":
        calibrated = calibration.none("Not asked for.")
    else:
        calibrated = calibration.calibrate(tuning.labels, before)
    thresholds = evaluation.thresholds(tuning, calibration.probabilities(calibrated, before), settings)
    after = training_fit.log_odds(booster, measured.matrix)
    scores = calibration.probabilities(calibrated, after)
    metrics, by_segment = evaluation.measure(measured, scores, thresholds, settings)
    quality = calibration.quality(measured.labels, scores)
    raw = calibration.quality(measured.labels, calibration.probabilities({}, after))
    return {
        "suggested": {name: thresholds[name] for name in ("review_threshold", "decline_threshold")},
        "metrics": metrics
        | {
            "brier": quality["brier"],
            "calibration_error": quality["ece"],
            "trees": float(booster.num_boosted_rounds()),
        },
        "by_segment": by_segment,
        "thresholds": thresholds,
        "calibration": calibrated
        | {"quality": quality, "uncalibrated": {name: raw[name] for name in ("brier", "ece")}},
    }


def _young(data: Channel, young: Channel | None) -> dict[str, int] | None:
    """How many there are: here, else in the training set that the job's channels are of; None where nobody says."""
    if young is not None:
        return {"rows": len(young.labels), "positives": int(young.labels.sum())}
    told: dict[str, int] | None = data.about.get("young")
    return told


def _about(data: Channel, tuning: Channel, measured: Channel, settings: dict[str, Any]) -> dict[str, Any]:
    def counts(part: Channel) -> dict[str, int]:
        return {"rows": len(part.labels), "positives": int(part.labels.sum())}

    return counts(data) | {
        "tuning": counts(tuning),
        "measured": counts(measured),
        "measured_apart": tuning is not measured,
        "hyperparameters": settings,
        "code_sha256": code_sha256(Path(__file__).parent),
    }


def code_sha256(folder: Path) -> str:
    """Over the names and contents of the folder's Python files, sorted by name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        body = path.read_bytes()
        digest.update(f"{path.name} {len(body)}\n".encode() + body)
    return digest.hexdigest()


def write_model(folder: Path, booster: xgb.Booster, metadata: dict[str, Any], rows: NDArray[Any]) -> None:
    """model.ubj, model.onnx, card, serving code and metadata.json; the metadata last: a folder with it is complete.

    `rows` [n, f] are compared between the booster and its ONNX form; Failure when they differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        parity = onnx_packaging.export_onnx(booster, folder, rows)
    except onnx_packaging.PackagingFailed as error:
        raise Failure(str(error)) from error
    onnx_packaging.copy_serving_code(folder / "code")
    booster.save_model(folder / "model.ubj")
    digest = hashlib.sha256((folder / "model.ubj").read_bytes()).hexdigest()
    metadata = metadata | {"parity": parity, "booster_sha256": digest}
    card = model_card.card(metadata)
    (folder / "model_card.json").write_text(json.dumps(card, indent=1, allow_nan=False))
    (folder / "model_card.md").write_text(model_card.text(card))
    partial = folder / "metadata.json.partial"
    partial.write_text(json.dumps(metadata, indent=1, sort_keys=True, allow_nan=False))
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
