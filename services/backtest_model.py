"""The model that is backtested: what a training job with its usual values makes of the same rows (docs/adr/0013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from model import training_fit
from model.training_channels import Channel
from model.training_options import DEFAULTS, Failure, hyperparameters
from services.errors import InvalidData

MINIMUM_FRAUDS = 10
# The last part of the training days says when to stop, as the validation rows of a training set do; all of it, because
# the days tested do the measuring. The model that is tested then learns from all of the rows.
TUNING_SHARE = 0.2
_TOLD = ("max_depth", "eta", "max_bin", "num_round", "early_stopping_rounds", "tree_method", "refit")
SETTINGS: dict[str, Any] = {name: DEFAULTS[name] for name in _TOLD} | {"tuning_share": TUNING_SHARE}


@dataclass(frozen=True, slots=True)
class Fitted:
    """`trees`: how many are kept. `gains`: each used feature's share of the total gain, largest first."""

    booster: xgb.Booster
    trees: int
    gains: tuple[tuple[str, float], ...]

    def scores(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n] in [0, 1]; the order is what counts, they are not calibrated."""
        found: NDArray[np.float32] = self.booster.inplace_predict(matrix, validate_features=False)
        return found


def fit(
    matrix: NDArray[np.float32],
    labels: NDArray[np.int8],
    times: NDArray[np.int64],
    names: tuple[str, ...],
    *,
    seed: int,
    threads: int = 0,
) -> Fitted:
    """Rows by `times` [n] (ms); `labels` [n] 1 fraud, 0 genuine. InvalidData where nothing can be learned from them.

    `threads` 0: as many as a job takes.
    """
    frauds = int(labels.sum())
    if frauds < MINIMUM_FRAUDS or frauds == len(labels):
        raise InvalidData(
            f"The training window holds {frauds:,} known frauds among {len(labels):,} transactions; at least "
            f"{MINIMUM_FRAUDS} and one genuine transaction are needed. Choose a longer window or other dates."
        )
    cut = int(np.searchsorted(times, times[-1] - (times[-1] - times[0]) * TUNING_SHARE))
    whole = Channel(labels.astype(np.float64), matrix, names)
    early, late = whole.rows(slice(0, cut)), whole.rows(slice(cut, None))
    _check_parts(early, late)
    settings = hyperparameters({"seed": str(seed), "threads": str(threads)})
    try:
        found = training_fit.fit(early, late, settings, told=False)
        found = training_fit.refitted(found, early, late, settings, told=False)
    except Failure as failure:
        raise InvalidData(str(failure)) from failure
    gain = {name: float(value) for name, value in found.booster.get_score(importance_type="total_gain").items()}  # type: ignore[arg-type]
    total = sum(gain.values()) or 1.0
    ranked = sorted(((name, value / total) for name, value in gain.items()), key=lambda pair: (-pair[1], pair[0]))
    return Fitted(found.booster, int(found.booster.num_boosted_rounds()), tuple(ranked))


def _check_parts(early: Channel, late: Channel) -> None:
    for words, part in (("earlier four fifths", early), ("last fifth", late)):
        frauds = int(part.labels.sum())
        if not 0 < frauds < len(part.labels):
            raise InvalidData(
                f"The {words} of the training window's time have {frauds:,} known frauds among {len(part.labels):,} "
                "transactions; the one teaches and the other says when to stop, so both need frauds and genuine ones. "
                "Choose a longer window or other dates."
            )
