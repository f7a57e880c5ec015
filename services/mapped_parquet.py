"""The rows of a Parquet file, in its own types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.errors import InvalidData
from services.mapped_raw import RawBatch


class ParquetSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with pq.ParquetFile(path) as file:
                self.names = tuple(file.schema_arrow.names)
                self.rows = file.metadata.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidData(f"The Parquet file {path.name} is damaged and cannot be read.") from error

    def batches(self, wanted: Sequence[str], *, batch_rows: int, after_row: int) -> Iterator[RawBatch]:
        done = 0
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=batch_rows, columns=list(wanted), use_threads=False):
                    first, done = done, done + batch.num_rows
                    if done <= after_row:
                        continue
                    batch = batch.slice(max(after_row - first, 0))
                    numbers = np.arange(done - batch.num_rows + 1, done + 1, dtype=np.int64)
                    yield RawBatch({name: _usual(batch.column(name)) for name in wanted}, numbers, (), done)
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidData(
                f"The Parquet file {self._path.name} is damaged after row {done:,}; the rows before it were read."
            ) from error


def _usual(column: pa.Array) -> pa.Array:
    """Dictionaries and long strings as plain strings."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column
