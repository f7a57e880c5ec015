"""A trained model as it serves: scores by ONNX Runtime where it is packaged and installed, reasons by the booster.

The score is sigmoid(slope * log-odds + intercept) with the calibration of metadata.json (1 and 0 where there is none),
computed in float64: strictly increasing in the trees' sum, so calibrating never changes an order.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

if __package__:
    from model import onnx_packaging
    from model.row_formats import Answer, BadRequest, Batch
else:
    import onnx_packaging  # type: ignore[no-redef]
    from row_formats import Answer, BadRequest, Batch  # type: ignore[no-redef]

ONNX, BOOSTER = "onnxruntime", "xgboost"
_log = logging.getLogger("inference")


class BrokenModel(ValueError):
    """The artifact cannot serve; the message is one sentence."""


class Model:
    """A loaded artifact: `features` in matrix order, `features_version`, `version`, `engine`. Safe between threads."""

    def __init__(self, folder: Path, *, version: str) -> None:
        """Raises BrokenModel where the folder holds no usable model."""
        metadata = _metadata(folder / "metadata.json")
        self.features: list[str] = metadata["features"]
        self.features_version: str = metadata["features_version"]
        self.version = version
        self._slope, self._intercept = _calibration(metadata.get("calibration"))
        self._booster = _booster(folder / "model.ubj")
        # A thread pool costs more than it saves on a few rows; requests are what runs in parallel.
        self._booster.set_param({"nthread": 1})
        if self._booster.num_features() != len(self.features):
            raise BrokenModel(
                f"model.ubj takes {self._booster.num_features()} features and metadata.json names {len(self.features)}."
            )
        self._session = _session(folder / onnx_packaging.FILE)
        self.engine = BOOSTER if self._session is None else ONNX
        self._explaining = threading.Lock()
        self._warm_up()

    def answer(self, batch: Batch) -> Answer:
        """Scores of every row, and contributions when the batch asks for them. BadRequest for another width."""
        scored = self.scored(batch)
        return self.explained(batch, scored) if batch.wants(scored) else scored

    def scored(self, batch: Batch) -> Answer:
        """The scores alone, or what the model takes. BadRequest for another width."""
        versions = (self.version, self.features_version, self.engine)
        if batch.describe:
            return Answer(np.empty(0, dtype=np.float64), None, *versions, features=tuple(self.features))
        return Answer(self.score(batch.matrix), None, *versions)

    def explained(self, batch: Batch, scored: Answer) -> Answer:
        """What was scored, with the contributions that the batch asks for."""
        if batch.explain or batch.explain_from is None:
            return replace(scored, contributions=self.contributions(batch.matrix))
        rows = np.flatnonzero(scored.scores >= batch.explain_from)
        return replace(scored, contributions=self.contributions(batch.matrix[rows]), explained=tuple(rows.tolist()))

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n, f] float32 to [n] from 0 to 1. BadRequest when the width is not the model's."""
        if matrix.shape[1] != len(self.features):
            raise BadRequest(f"Each row must have {len(self.features)} features, got {matrix.shape[1]}.")
        log_odds = self._log_odds(matrix).astype(np.float64)
        with np.errstate(over="ignore"):
            scores: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(self._slope * log_odds + self._intercept)))
        return scores

    def contributions(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, f] in log-odds of the score, without the bias: TreeSHAP (Lundberg et al. 2018) of the booster.

        About a hundred times the work of scoring; one call at a time, so that it never takes more than one core.
        """
        with self._explaining:
            data = xgb.DMatrix(matrix, nthread=1)
            shares = self._booster.predict(data, pred_contribs=True, validate_features=False)
        terms: NDArray[np.float32] = (shares[:, :-1] * self._slope).astype(np.float32)
        return terms

    def _log_odds(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._session is None:
            return self._booster_log_odds(matrix)
        out: NDArray[np.float32] = self._session.run(None, {onnx_packaging.INPUT: matrix})[0][:, 0]
        return out

    def _booster_log_odds(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        out: NDArray[np.float32] = self._booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
        return out

    def _warm_up(self) -> None:
        """Run what serving runs once, and make sure that both files are of one model."""
        rows = np.random.default_rng(7).normal(size=(32, len(self.features))).astype(np.float32)
        rows[::3] = np.nan
        rows[1::3] *= 100.0
        # Log-odds, where a difference is largest: a quarter of it is what a score can differ by.
        difference = float(np.abs(self._log_odds(rows) - self._booster_log_odds(rows)).max()) / 4
        if not difference <= onnx_packaging.TOLERANCE:
            raise BrokenModel(f"model.onnx and model.ubj are of different models (scores differ by {difference:.2g}).")
        self.answer(Batch(rows[:1], True))


def _metadata(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BrokenModel(f"The artifact has no {path.name}.") from None
    except ValueError as error:
        raise BrokenModel(f"{path.name} is not JSON.") from error
    names = held.get("features") if isinstance(held, dict) else None
    if not isinstance(names, list) or not isinstance(held.get("features_version"), str):
        raise BrokenModel(f"{path.name} does not name the features and their version.")
    return dict(held)


def _booster(path: Path) -> xgb.Booster:
    if not path.is_file():
        raise BrokenModel(f"The artifact has no {path.name}.")
    booster = xgb.Booster()
    try:
        booster.load_model(path)
    except (xgb.core.XGBoostError, ValueError, TypeError) as error:
        raise BrokenModel(f"{path.name} cannot be read: it is damaged, or of another version of XGBoost.") from error
    return booster


def _session(path: Path) -> Any:
    """The session, or None where the artifact has no ONNX model or nothing to run it with; the log says which."""
    if not path.exists():
        _log.info("The artifact has no %s; the booster serves.", path.name)
        return None
    try:
        return onnx_packaging.open_session(path)
    except ImportError:
        _log.warning("onnxruntime is not installed in this container; the booster serves.")
        return None
    except Exception as error:  # the runtime's own exceptions have no common base that could be named
        raise BrokenModel(f"model.onnx cannot be read: {' '.join(str(error).split())[:200]}") from error


def _calibration(stated: Any) -> tuple[float, float]:
    """(slope, intercept). None (artifacts before calibration) and kind `none` leave scores as they are."""
    if stated is None or stated == {"kind": "none"}:
        return 1.0, 0.0
    if not isinstance(stated, dict) or stated.get("kind") not in ("logistic", "none"):
        raise BrokenModel("The calibration in metadata.json is of a kind that this server does not know.")
    if stated["kind"] == "none":
        return 1.0, 0.0
    values = [float(v) for v in (stated.get("slope"), stated.get("intercept")) if isinstance(v, int | float)]
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise BrokenModel("The calibration in metadata.json must have a finite slope and intercept.")
    slope, intercept = values
    if slope <= 0:
        raise BrokenModel("The calibration in metadata.json must have a positive slope.")
    return slope, intercept
