"""Reads columns of the lake's files: only row groups that can matter, texts of few values as dictionaries.

PyIceberg's own scan resolves schemas and deletes for every file it reads, which costs more than the reading where files
are small and many. The desk's tables have neither renamed columns nor delete files; columns added later are nulls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyiceberg.io import FileIO

from services.adapters.iceberg import IcebergLake, Partition
from services.adapters.iceberg_catalog import translated

_READERS = 4


class LakeScan:
    """Satisfies `services.lake_engine.Scan`. Raises Unavailable(dependency="S3") when S3 does not answer."""

    def __init__(self, lake: IcebergLake) -> None:
        self._lake = lake

    def __call__(
        self,
        table: str,
        partitions: Sequence[Partition],
        columns: Sequence[str],
        only: Callable[[date], pc.Expression | None],
    ) -> pa.Table:
        with translated():
            stored = self._lake.table(table)
            schema = pa.schema([_small(field) for field in stored.schema().select(*columns).as_arrow()])
            files = [(task.file.file_path, only(part.start)) for part in partitions for task in part.tasks]
            schema = pa.schema([schema.field(name) for name in columns])
            with ThreadPoolExecutor(_READERS, thread_name_prefix="scan") as pool:
                read = list(pool.map(lambda file: _read(stored.io, file[0], schema, file[1]), files))
        return pa.concat_tables([schema.empty_table(), *read])


def _small(field: pa.Field) -> pa.Field:
    """Large strings are for files of gigabytes; ours are plain."""
    return pa.field(field.name, pa.string() if pa.types.is_large_string(field.type) else field.type)


def _read(io: FileIO, path: str, schema: pa.Schema, only: pc.Expression | None) -> pa.Table:
    with io.new_input(path).open() as source:
        fragment = ds.ParquetFileFormat(pre_buffer=True).make_fragment(source)
        return fragment.to_table(schema=schema, columns=schema.names, filter=only, use_threads=False)
