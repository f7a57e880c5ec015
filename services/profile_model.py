"""A quick model: what the columns are worth together, in seconds; and how they drifted from an older training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.errors import InvalidData
from services.profile_measures import PSI_LARGE, average_precision, psi

ROUNDS = 60
PARAMETERS = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_bin": 256,
    "max_depth": 4,
    "eta": 0.15,
    "base_score": 0.5,
    "nthread": 1,
    "seed": 7,
    "verbosity": 0,
}


@dataclass(frozen=True, slots=True)
class QuickModel:
    """AP and prevalence of the later part; `gains` are shares of the total gain, greatest first, of at most ten."""

    average_precision: float
    prevalence: float
    train_rows: int
    rows: int
    gains: tuple[tuple[str, float], ...]


def quick_model(
    matrix: NDArray[np.float32], columns: Sequence[str], *, labels: NDArray[np.int8], train: NDArray[np.bool_]
) -> QuickModel:
    """XGBoost, ROUNDS trees, on the training part of [n, f]; measured on the later part. A direction, not a candidate.

    InvalidData when a part has not both kinds.
    """
    import xgboost  # takes long to load, and only this needs it

    for name, part in (("earlier", labels[train]), ("later", labels[~train])):
        if not part.any() or part.all():
            raise InvalidData(f"The {name} part of the sample has not both kinds; choose a longer window.")
    names = [f"c{place}" for place in range(len(columns))]
    data = xgboost.DMatrix(matrix[train], labels[train], feature_names=names, nthread=1)
    booster = xgboost.train(PARAMETERS, data, num_boost_round=ROUNDS)
    later = xgboost.DMatrix(matrix[~train], feature_names=names, nthread=1)
    scores = np.asarray(booster.predict(later), dtype=np.float64)
    gains = booster.get_score(importance_type="total_gain")
    values = np.array([gains[name] for name in gains], dtype=np.float64)
    parts = (values / max(float(values.sum()), 1e-12)).tolist()
    shares = [(columns[int(name[1:])], float(part)) for name, part in zip(gains, parts, strict=True)]
    return QuickModel(
        average_precision(labels[~train], scores),
        float(labels[~train].mean()),
        int(train.sum()),
        int((~train).sum()),
        tuple(sorted(shares, key=lambda item: (-item[1], item[0]))[:10]),
    )


@dataclass(frozen=True, slots=True)
class Drift:
    """PSI of a column against the older set; `shifted` from PSI_LARGE on."""

    column: str
    psi: float

    @property
    def shifted(self) -> bool:
        return self.psi >= PSI_LARGE


def drift(
    former: NDArray[np.float32], former_columns: Sequence[str], current: NDArray[np.float32], columns: Sequence[str]
) -> tuple[Drift, ...]:
    """Of every column that both have, the greatest first."""
    places = {name: place for place, name in enumerate(former_columns)}
    found = [
        Drift(name, psi(former[:, places[name]].astype(np.float64), current[:, place].astype(np.float64)))
        for place, name in enumerate(columns)
        if name in places
    ]
    return tuple(sorted(found, key=lambda item: (-item.psi, item.column)))
