"""Reads columns of the lake's files: only row groups that can matter, texts of few values as dictionaries.

PyIceberg's own scan resolves schemas and deletes for every file it reads, which costs more than the reading where files
are small and many. The desk's tables have neither renamed columns nor delete files; columns added later are nulls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from services.adapters.iceberg import IcebergLake, Partition
from services.adapters.iceberg_catalog import translated

_READERS = 8
# Files asked for before they are needed.
_AHEAD = 16
_FORMAT = ds.ParquetFileFormat(pre_buffer=True)


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
            schema = pa.schema([schema.field(name) for name in columns])
            wanted = [(only(part.start), file) for part in partitions for file in _fragments(stored.io, part)]
            if not wanted:
                return schema.empty_table()
            if all(same is wanted[0][0] for same, _ in wanted):
                return _read(schema, [file for _, file in wanted], wanted[0][0])
            with ThreadPoolExecutor(_READERS, thread_name_prefix="scan") as pool:
                return pa.concat_tables(pool.map(lambda each: _read(schema, [each[1]], each[0]), wanted))


def _small(field: pa.Field) -> pa.Field:
    """Large strings are for files of gigabytes; ours are plain."""
    return pa.field(field.name, pa.string() if pa.types.is_large_string(field.type) else field.type)


def _fragments(io: FileIO, partition: Partition) -> Iterator[ds.ParquetFileFragment]:
    """The files, with the sizes the manifests name: so S3 need not be asked for them."""
    for file in (task.file for task in partition.tasks):
        scheme, netloc, path = PyArrowFileIO.parse_location(file.file_path, io.properties)
        assert isinstance(io, PyArrowFileIO)
        system = io.fs_by_scheme(scheme, netloc)
        yield _FORMAT.make_fragment(path, filesystem=system, file_size=file.file_size_in_bytes)


def _read(schema: pa.Schema, fragments: list[ds.ParquetFileFragment], only: pc.Expression | None) -> pa.Table:
    dataset = ds.FileSystemDataset(fragments, schema, _FORMAT, fragments[0].filesystem)
    return dataset.to_table(filter=only, fragment_readahead=_AHEAD)
