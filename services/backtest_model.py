"""The model that is backtested: XGBoost as the training job fits it, without the job.

Shallow trees on fine bins, chosen by walking back over weeks that no figure is quoted for (docs/adr/0013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from services.errors import InvalidData

MINIMUM_FRAUDS = 10
SETTINGS: dict[str, Any] = {
    "objective": "binary:logistic",
    # XGBoost estimates it from the data by default, and loses about .007 of average precision on rare frauds by that.
    "base_score": 0.5,
    # Exact splits are no better than fine bins here and take several times as long; 256 bins lose .008.
    "tree_method": "hist",
    "max_bin": 1024,
    "max_depth": 3,
    "eta": 0.1,
}
ROUNDS = 150


@dataclass(frozen=True, slots=True)
class Fitted:
    """`gains`: the share of the total gain of each feature that was used, largest first."""

    booster: xgb.Booster
    gains: tuple[tuple[str, float], ...]

    def scores(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n] in [0, 1]; the order is what counts, they are not calibrated."""
        found: NDArray[np.float32] = self.booster.inplace_predict(matrix, validate_features=False)
        return found


def fit(
    matrix: NDArray[np.float32], labels: NDArray[np.int8], names: tuple[str, ...], *, seed: int, threads: int = 0
) -> Fitted:
    """`labels` [n] 1 fraud, 0 genuine. InvalidData where nothing can be learned from them. `threads` 0: all cores."""
    frauds = int(labels.sum())
    if frauds < MINIMUM_FRAUDS or frauds == len(labels):
        raise InvalidData(
            f"The training window holds {frauds:,} known frauds among {len(labels):,} transactions; at least "
            f"{MINIMUM_FRAUDS} and one genuine transaction are needed. Choose a longer window or other dates."
        )
    parameters = SETTINGS | {"seed": seed, "nthread": threads}
    data = xgb.QuantileDMatrix(
        matrix, label=labels, feature_names=list(names), nthread=threads or None, max_bin=SETTINGS["max_bin"]
    )
    booster = xgb.train(parameters, data, ROUNDS, verbose_eval=False)
    booster.set_param({"nthread": threads})
    gain = {name: float(value) for name, value in booster.get_score(importance_type="total_gain").items()}  # type: ignore[arg-type]
    whole = sum(gain.values()) or 1.0
    ranked = sorted(((name, value / whole) for name, value in gain.items()), key=lambda pair: (-pair[1], pair[0]))
    return Fitted(booster, tuple(ranked))
