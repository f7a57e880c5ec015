"""BentoML's service of the booster, written as its documentation does. Imported by `bentoml serve` alone."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import xgboost


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]))
class Fraud:
    """Scores rows with the booster of BENCH_BOOSTER."""

    def __init__(self) -> None:
        self.booster = xgboost.Booster(model_file=os.environ["BENCH_BOOSTER"])
        self.booster.set_param({"nthread": 1})

    @bentoml.api(route="/invocations")
    def invocations(self, instances: list[list[float]]) -> list[float]:
        rows = np.asarray(instances, dtype=np.float32)
        scores: list[float] = self.booster.inplace_predict(rows, validate_features=False).tolist()
        return scores
