"""What every kind of file becomes before anything is interpreted: rows as columns, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class RowProblem:
    """`row` counts from 1, without the header; `column` is the source's name, or "" where the whole row is wrong."""

    row: int
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Columns of equal length, whose row numbers are in `rows`; rows with problems are left out.

    `last_row` is the number of the last row that was read, good or not. Values are text, or Parquet's own types.
    """

    columns: dict[str, pa.Array]
    rows: np.ndarray
    problems: tuple[RowProblem, ...]
    last_row: int


class Source(Protocol):
    """An open file. `names` is its header: None where rows name their own columns (JSON)."""

    names: tuple[str, ...]

    def batches(self, wanted: Sequence[str], *, batch_rows: int, after_row: int) -> Iterator[RawBatch]: ...
