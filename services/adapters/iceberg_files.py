"""The files of the lake's tables: what a table is made with, how rows become files, and files by partition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table import FileScanTask, Table
from pyiceberg.transforms import DayTransform, MonthTransform, Transform

from services.lake_schema import NAMESPACE, LakeTable, PartitionBy

_WRITERS = 4
# A change rewrites the file its row is in: this bounds what one change can cost.
MAX_FILE_ROWS = 65_536
_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # A commit that lost a race must be computed again from what won, never merely retried.
    "commit.retry.num-retries": "0",
    "write.parquet.compression-codec": "zstd",
    # Only what prunes: bounds of every column would make each manifest larger than a small partition.
    "write.metadata.metrics.default": "none",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """The files of one partition. `start` is its first day."""

    start: date
    tasks: tuple[FileScanTask, ...]

    @property
    def rows(self) -> int:
        return sum(task.file.record_count for task in self.tasks)

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(task.file.file_path for task in self.tasks)


def create(catalog: MetastoreCatalog, kind: LakeTable, bucket: str) -> None:
    """Raises TableAlreadyExistsError."""
    schema = assign_fresh_schema_ids(catalog._convert_schema_if_needed(kind.schema))
    transform: Transform[Any, int] = DayTransform() if kind.partition_by is PartitionBy.DAY else MonthTransform()
    source = schema.find_field(kind.time_column).field_id
    field = PartitionField(source, 1000, transform, f"{kind.time_column}_{kind.partition_by}")
    metrics = {f"write.metadata.metrics.column.{kind.time_column}": "full"}
    if kind.key is not None:
        metrics[f"write.metadata.metrics.column.{kind.key}"] = "truncate(16)"
    catalog.create_table(
        (NAMESPACE, kind.name),
        schema,
        location=f"s3://{bucket}/warehouse/{NAMESPACE}/{kind.name}",
        partition_spec=PartitionSpec(field),
        properties=_PROPERTIES | metrics,
    )


def write(table: Table, kind: LakeTable, rows: pa.Table) -> list[DataFile]:
    """Write the rows as files that no snapshot names yet, one or more a partition, several at a time.

    PyIceberg would look through all rows once for each partition; sorted by time, partitions are mere slices.
    """
    if rows.num_rows == 0:
        return []
    rows = rows.take(pc.sort_indices(rows[kind.time_column])).combine_chunks()
    unit = "day" if kind.partition_by is PartitionBy.DAY else "month"
    starts = pc.floor_temporal(rows[kind.time_column], unit=unit).cast(pa.int64()).to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(starts)) + 1).tolist(), rows.num_rows]
    bounds = sorted({*bounds, *(at for low, high in pairwise(bounds) for at in range(low, high, MAX_FILE_ROWS))})

    def written(first: int, last: int) -> list[DataFile]:
        return list(_dataframe_to_data_files(table.metadata, rows.slice(first, last - first), table.io))

    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="lake") as pool:
        return [file for files in pool.map(written, bounds[:-1], bounds[1:]) for file in files]
