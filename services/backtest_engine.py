"""The desk's feature engine as a backtest uses it: a mapping's plan over whole columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.backtest_data import UNKNOWN
from services.domain.mapping import Mapping
from services.features.mapped import plan_of


class PlanEngine:
    """`backtest_data.Engine` of the plan that `mapping` describes; None: the demo's."""

    def __init__(self, mapping: Mapping | None) -> None:
        self._plan = plan_of(mapping)

    @property
    def names(self) -> tuple[str, ...]:
        return self._plan.names

    @property
    def version(self) -> str:
        return self._plan.version

    def matrix(self, table: pa.Table, labels: NDArray[np.int8], known_ms: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = np.flatnonzero(labels != UNKNOWN)
        known = {"row": rows, "labelled_ms": known_ms[rows], "label": labels[rows]}
        return self._plan.matrix(table, known)
