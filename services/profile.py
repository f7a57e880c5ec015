"""What a person must know of columns before a model learns from them; every number of a stated sample.

Definitions. Quantiles interpolate linearly between neighbours. Skewness is the moment coefficient g1 = m3 / m2^1.5.
An outlier lies more than 3 times the interquartile range outside the quartiles (Tukey 1977, "far out"). Missing,
not-a-number and infinite values are missing. AUC of a column is the chance that a fraud has a greater value than a
genuine transaction, ties counting half (Mann-Whitney), turned so that it is at least 0.5; of a text column that of
its values' fraud shares, learned on the training part and measured on the later part, as a model would meet them.
That a value is missing can tell as much as the value: the greater of both AUCs counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.profile_measures import auc, quantiles, skewness

# A single column this good on later transactions is rather a copy of the label than a sign of fraud.
LEAK_AUC = 0.98
OUTLIER_RANGES = 3.0
SKEWED = 5.0
MOSTLY_MISSING = 0.5


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """`missing` and `distinct` count of n rows; numbers are None for texts, or where there is no value.

    `auc` in [0.5, 1] is of the later part; None when it has not both kinds. `top` are the most frequent texts.
    """

    name: str
    kind: str
    rows: int
    missing: int
    distinct: int
    minimum: float | None = None
    lower: float | None = None
    median: float | None = None
    mean: float | None = None
    upper: float | None = None
    maximum: float | None = None
    skew: float | None = None
    outliers: int | None = None
    auc: float | None = None
    top: tuple[tuple[str, int], ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """In words, the gravest first."""
        found = []
        if self.auc is not None and self.auc >= LEAK_AUC:
            found.append(f"Leaks the label: alone it tells frauds apart with AUC {self.auc:.3f} on later transactions.")
        if self.missing == self.rows:
            found.append("Missing in every row.")
        elif self.distinct == 1 and not self.missing:
            found.append("Has the same value in every row.")
        elif self.missing >= MOSTLY_MISSING * self.rows:
            found.append(f"Missing in {self.missing / self.rows:.0%} of the rows.")
        if self.skew is not None and abs(self.skew) >= SKEWED:
            found.append(f"Skewed ({self.skew:+.1f}): a logarithm or clipping may help.")
        if self.kind == "text" and self.distinct > 1_000:
            found.append(f"{self.distinct:,} different texts: too many for one-hot.")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Profile:
    """`rows` of the sample, `frauds` among them; columns in the order of the table."""

    rows: int
    frauds: int
    columns: tuple[ColumnProfile, ...]

    @property
    def prevalence(self) -> float:
        return self.frauds / self.rows


def profile(table: pa.Table, *, labels: NDArray[np.int8], train: NDArray[np.bool_]) -> Profile:
    """Of n rows in time order; labels [n] 1 fraud, 0 genuine; train [n] the earlier part."""
    columns = tuple(column_profile(name, table[name], labels, train) for name in table.column_names)
    return Profile(table.num_rows, int(labels.sum()), columns)


def column_profile(
    name: str, column: pa.ChunkedArray, labels: NDArray[np.int8], train: NDArray[np.bool_]
) -> ColumnProfile:
    if pa.types.is_string(column.type):
        return _text(name, column, labels, train)
    kind = "time" if pa.types.is_timestamp(column.type) else "flag" if pa.types.is_boolean(column.type) else "number"
    values = numbers(column)
    present = np.sort(values[np.isfinite(values)])
    missing = len(values) - len(present)
    distinct = len(np.unique(present))
    if not len(present) or kind == "time":
        return ColumnProfile(name, kind, len(values), missing, distinct)
    low, lower, median, upper, high = quantiles(present, (0.0, 0.25, 0.5, 0.75, 1.0))
    far = OUTLIER_RANGES * (upper - lower)
    outliers = int(((present < lower - far) | (present > upper + far)).sum()) if far > 0 else 0
    return ColumnProfile(
        name, kind, len(values), missing, distinct, low, lower, median, float(present.mean()), upper, high,
        skewness(present), outliers, _telling(values[~train], labels[~train]),
    )  # fmt: skip


def _text(name: str, column: pa.ChunkedArray, labels: NDArray[np.int8], train: NDArray[np.bool_]) -> ColumnProfile:
    values = np.asarray(column.to_pylist(), dtype=object)
    present = column.drop_null()
    counts = pc.value_counts(present.combine_chunks()).to_pylist()
    top = sorted(((c["values"], c["counts"]) for c in counts), key=lambda c: (-c[1], c[0]))
    share = {}
    for value, count in _by_value(values[train], np.ones(int(train.sum()))).items():
        share[value] = count
    frauds = _by_value(values[train], labels[train].astype(float))
    prior = float(labels[train].mean()) if train.any() else 0.0
    later = ~train
    shares = np.array([frauds[v] / share[v] if v in share else prior for v in values[later]], dtype=float)
    return ColumnProfile(
        name, "text", len(values), column.null_count, len(counts),
        auc=_turned(auc(shares, labels[later])), top=tuple(top[:10]),
    )  # fmt: skip


def _by_value(values: Sequence[object] | NDArray[np.object_], weights: NDArray[np.float64]) -> dict[object, float]:
    sums: dict[object, float] = {}
    for value, weight in zip(values, weights.tolist(), strict=True):
        sums[value] = sums.get(value, 0.0) + weight
    return sums


def _telling(values: NDArray[np.float64], labels: NDArray[np.int8]) -> float | None:
    there = np.isfinite(values)
    found = (_turned(auc(values[there], labels[there])), _turned(auc(there.astype(np.float64), labels)))
    return max((value for value in found if value is not None), default=None)


def _turned(value: float | None) -> float | None:
    return None if value is None else max(value, 1.0 - value)


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """[n] of a number, flag or time (epoch ms); nan where missing."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms")).cast(pa.int64())
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
