"""Reading a job's Parquet channels into float32 matrices, a batch at a time; refusing what cannot be learned from."""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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

AMOUNT, CARD, DAY, SEGMENT = "__amount_minor", "__card", "__day", "__segment."
_BATCH = 16_384  # of some dozen columns it fits the cache: turning columns into rows is half the work of larger ones

# Columns that are no features, as they are kept.
_BESIDE = {AMOUNT: np.float64, CARD: np.int64, DAY: np.int64}


@dataclass(frozen=True)
class Segment:
    """Which of the k `names` each of n rows has: codes [n] in 0..k-1. "unknown" stands for a missing one."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """n rows in time order.

    labels [n] of 0.0 and 1.0; matrix [n, f] float32 with nan for missing; names of the f features in order. amounts
    [n] float64 in minor units or None; cards [n] codes of who pays and days [n] since 1970 (UTC), or None; segments by
    key; `about` is what the files say of their origin (may be empty).
    """

    labels: NDArray[np.float64]
    matrix: NDArray[np.float32]
    names: tuple[str, ...]
    features_version: str = ""
    amounts: NDArray[np.float64] | None = None
    segments: dict[str, Segment] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    cards: NDArray[np.int64] | None = None
    days: NDArray[np.int64] | None = None

    def rows(self, part: slice) -> Channel:
        """Some of the rows; the matrix is a view."""
        return replace(
            self,
            labels=self.labels[part],
            matrix=self.matrix[part],
            amounts=None if self.amounts is None else self.amounts[part],
            segments={key: Segment(held.codes[part], held.names) for key, held in self.segments.items()},
            cards=None if self.cards is None else self.cards[part],
            days=None if self.days is None else self.days[part],
        )


def read_channel(folder: Path, channel: str, *, both: bool = True) -> Channel:
    """Every Parquet file of a channel, in the order of their names. Raises Failure where it cannot be learned from.

    Columns whose names begin with two underscores are not features: __amount_minor, __card, __day (whole numbers) and
    __segment.<key> are kept, others left out. `both`: it must have frauds and genuine transactions. Beside the result
    no more than two batches are in memory.
    """
    paths = sorted(folder.glob("**/*.parquet"))
    if not paths:
        raise Failure(f"The channel '{channel}' has no Parquet files.")
    try:
        files = [pq.ParquetFile(path) for path in paths]
    except (pa.ArrowInvalid, OSError) as error:
        raise Failure(f"A file of the channel '{channel}' is not readable as Parquet: {error}") from error
    try:
        return _read(files, channel, both=both)
    except (pa.ArrowInvalid, OSError) as error:
        raise Failure(f"A file of the channel '{channel}' is not readable as Parquet: {error}") from error
    finally:
        for file in files:
            file.close()
        # What decoding needed goes back to the system: fitting, which needs most, comes next.
        pa.default_memory_pool().release_unused()


def _read(files: list[pq.ParquetFile], channel: str, *, both: bool) -> Channel:
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
    keys = [name for name in columns if name.startswith(SEGMENT)]
    labels, matrix = np.empty(rows), np.empty((rows, len(names)), dtype=np.float32)
    beside = {name: np.empty(rows, kind) for name, kind in _BESIDE.items() if name in columns}
    segments: dict[str, list[pa.Array]] = {key: [] for key in keys}
    at = 0
    with closing(_batches(files, ["label", *beside, *keys, *names])) as batches:
        for batch in batches:
            part = slice(at, at := at + batch.num_rows)
            labels[part] = _numbers(batch, "label", channel)
            for name, values in beside.items():
                values[part] = (_numbers if name == AMOUNT else _whole)(batch, name, channel)
            for key in keys:
                segments[key].append(batch.column(key).cast(pa.string()).fill_null("unknown"))
            _fill(matrix[part], batch, names, channel)
    _check_labels(labels, channel, both=both)
    metadata = schema.metadata or {}
    return Channel(
        labels,
        matrix,
        names,
        metadata.get(b"features_version", b"").decode(),
        _checked_amounts(beside.get(AMOUNT), channel),
        {key.removeprefix(SEGMENT): _segment(values) for key, values in segments.items()},
        json.loads(metadata.get(b"training_set", b"{}")),
        beside.get(CARD),
        beside.get(DAY),
    )


def _batches(files: list[pq.ParquetFile], columns: list[str]) -> Generator[pa.RecordBatch, None, None]:
    """One after the other; the next one is decoded while the one before is worked on."""
    with ThreadPoolExecutor(1) as ahead:
        for file in files:
            batches = file.iter_batches(_BATCH, columns=columns)
            coming = ahead.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = ahead.submit(next, batches, None)
                yield batch


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
    if column.null_count:
        column = column.cast(kind if pa.types.is_floating(kind) else pa.float64(), safe=False).fill_null(float("nan"))
    # Not to_numpy: it imports pandas, a quarter of a second.
    numbers = np.frombuffer(column.buffers()[1], dtype=column.type.to_pandas_dtype())
    return numbers[column.offset : column.offset + len(column)]


def _whole(batch: pa.RecordBatch, name: str, channel: str) -> NDArray[np.int64]:
    column = batch.column(name)
    if column.null_count or not pa.types.is_integer(column.type):
        raise Failure(f"The column '{name}' of the channel '{channel}' must hold a whole number in every row.")
    return _numbers(batch, name, channel).astype(np.int64)


def _check_labels(labels: NDArray[np.float64], channel: str, *, both: bool) -> None:
    missing = int(np.isnan(labels).sum())
    if missing:
        raise Failure(f"The channel '{channel}' has {missing:,} rows without a label.")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise Failure(f"The labels of the channel '{channel}' must be 0 or 1.")
    if both and len(np.unique(labels)) < 2:
        raise Failure(f"The channel '{channel}' has only {'frauds' if labels[0] else 'genuine transactions'}.")


def _checked_amounts(amounts: NDArray[np.float64] | None, channel: str) -> NDArray[np.float64] | None:
    if amounts is not None and not (np.isfinite(amounts).all() and (amounts >= 0).all()):
        raise Failure(f"The column '{AMOUNT}' of the channel '{channel}' must hold amounts of 0 or more.")
    return amounts


def _segment(values: list[pa.Array]) -> Segment:
    """Names in alphabetical order, whatever order they came in."""
    held = pa.chunked_array(values).dictionary_encode().combine_chunks()
    held = held.chunk(0) if isinstance(held, pa.ChunkedArray) else held
    names = held.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    codes = np.frombuffer(held.indices.buffers()[1], np.int32)[held.offset : held.offset + len(held)]
    return Segment(place[codes], tuple(names[at] for at in order))


def constant_features(data: Channel) -> list[str]:
    """Names of the features that never change; all-missing counts as constant."""
    first, constant = data.matrix[0], np.ones(len(data.names), dtype=bool)
    for start in range(0, len(data.matrix), _BATCH):
        rows = data.matrix[start : start + _BATCH]
        constant &= ((rows == first) | (np.isnan(rows) & np.isnan(first))).all(axis=0)
    return [name for name, same in zip(data.names, constant, strict=True) if same]
