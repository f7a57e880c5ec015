"""Reading a job's Parquet channels into float32 matrices, a batch at a time; refusing what cannot be learned from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

if __package__:
    from model.training_options import Failure
else:
    from training_options import Failure  # type: ignore[no-redef]

AMOUNT, SEGMENT = "__amount_minor", "__segment."
_BATCH = 16_384  # of some dozen columns it fits the cache: turning columns into rows is half the work of larger ones


@dataclass(frozen=True)
class Channel:
    """n rows in time order.

    labels [n] of 0.0 and 1.0; matrix [n, f] float32 with nan for missing; names of the f features in order. amounts
    [n] float64 in minor units or None; segments {key: [n] text, "unknown" where null}; `about` is what the files say
    of their origin (may be empty).
    """

    labels: NDArray[np.float64]
    matrix: NDArray[np.float32]
    names: tuple[str, ...]
    features_version: str = ""
    amounts: NDArray[np.float64] | None = None
    segments: dict[str, NDArray[Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def rows(self, part: slice) -> Channel:
        """Some of the rows; the matrix is a view."""
        return replace(
            self,
            labels=self.labels[part],
            matrix=self.matrix[part],
            amounts=None if self.amounts is None else self.amounts[part],
            segments={key: values[part] for key, values in self.segments.items()},
        )


def read_channel(folder: Path, channel: str) -> Channel:
    """Every Parquet file of a channel, in the order of their names. Raises Failure where it cannot be learned from.

    Columns whose names begin with two underscores are not features: __amount_minor and __segment.<key> are kept, others
    left out. Beside the result no more than one batch is in memory.
    """
    paths = sorted(folder.glob("**/*.parquet"))
    if not paths:
        raise Failure(f"The channel '{channel}' has no Parquet files.")
    try:
        files = [pq.ParquetFile(path) for path in paths]
    except (pa.ArrowInvalid, OSError) as error:
        raise Failure(f"A file of the channel '{channel}' is not readable as Parquet: {error}") from error
    try:
        return _read(files, channel)
    except (pa.ArrowInvalid, OSError) as error:
        raise Failure(f"A file of the channel '{channel}' is not readable as Parquet: {error}") from error
    finally:
        for file in files:
            file.close()


def _read(files: list[pq.ParquetFile], channel: str) -> Channel:
    schema = files[0].schema_arrow
    columns = tuple(schema.names)
    if any(tuple(file.schema_arrow.names) != columns for file in files):
        raise Failure(f"The files of the channel '{channel}' do not have the same columns in the same order.")
    names = tuple(name for name in columns[1:] if not name.startswith("__"))
    if not columns or columns[0] != "label" or not names:
        raise Failure(f"The channel '{channel}' must have the column 'label' first and at least one feature after it.")
    rows = sum(file.metadata.num_rows for file in files)
    if not rows:
        raise Failure(f"The channel '{channel}' has no rows.")
    keys = tuple(name for name in columns if name.startswith(SEGMENT))
    labels, matrix = np.empty(rows), np.empty((rows, len(names)), dtype=np.float32)
    amounts = np.empty(rows) if AMOUNT in columns else None
    segments: dict[str, list[pa.Array]] = {key: [] for key in keys}
    at = 0
    for batch in _batches(files, ["label", *([AMOUNT] if amounts is not None else []), *keys, *names]):
        part = slice(at, at := at + batch.num_rows)
        labels[part] = _numbers(batch, "label", channel)
        if amounts is not None:
            amounts[part] = _numbers(batch, AMOUNT, channel)
        for key in keys:
            segments[key].append(batch.column(key).cast(pa.string()).fill_null("unknown"))
        _fill(matrix[part], batch, names, channel)
    _check_labels(labels, channel)
    metadata = schema.metadata or {}
    return Channel(
        labels,
        matrix,
        names,
        metadata.get(b"features_version", b"").decode(),
        _checked_amounts(amounts, channel),
        {key.removeprefix(SEGMENT): _texts(values) for key, values in segments.items()},
        json.loads(metadata.get(b"training_set", b"{}")),
    )


def _batches(files: list[pq.ParquetFile], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from file.iter_batches(_BATCH, columns=columns)


def _fill(part: NDArray[np.float32], batch: pa.RecordBatch, names: tuple[str, ...], channel: str) -> None:
    with np.errstate(over="ignore"):
        for place, name in enumerate(names):
            part[:, place] = _numbers(batch, name, channel)
    infinite = np.isinf(part).any(axis=0)
    if infinite.any():
        column = names[int(np.flatnonzero(infinite)[0])]
        raise Failure(f"The feature '{column}' of the channel '{channel}' holds an infinite value.")


def _numbers(batch: pa.RecordBatch, name: str, channel: str) -> NDArray[Any]:
    column = batch.column(name)
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise Failure(f"The channel '{channel}' has a column that is not numeric: {name} is {kind}.")
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return numbers


def _check_labels(labels: NDArray[np.float64], channel: str) -> None:
    missing = int(np.isnan(labels).sum())
    if missing:
        raise Failure(f"The channel '{channel}' has {missing:,} rows without a label.")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise Failure(f"The labels of the channel '{channel}' must be 0 or 1.")
    if len(np.unique(labels)) < 2:
        raise Failure(f"The channel '{channel}' has only {'frauds' if labels[0] else 'genuine transactions'}.")


def _checked_amounts(amounts: NDArray[np.float64] | None, channel: str) -> NDArray[np.float64] | None:
    if amounts is not None and not (np.isfinite(amounts).all() and (amounts >= 0).all()):
        raise Failure(f"The column '{AMOUNT}' of the channel '{channel}' must hold amounts of 0 or more.")
    return amounts


def _texts(values: list[pa.Array]) -> NDArray[Any]:
    texts: NDArray[Any] = pa.chunked_array(values).to_numpy()
    return texts


def constant_features(data: Channel) -> list[str]:
    """Names of the features that never change; all-missing counts as constant."""
    first, constant = data.matrix[0], np.ones(len(data.names), dtype=bool)
    for start in range(0, len(data.matrix), _BATCH):
        rows = data.matrix[start : start + _BATCH]
        constant &= ((rows == first) | (np.isnan(rows) & np.isnan(first))).all(axis=0)
    return [name for name, same in zip(data.names, constant, strict=True) if same]
