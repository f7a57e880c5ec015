"""DuckDB as the engine of the lake's queries: it reads only the files, columns and row groups that a query names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from services.lake import StoredPartition
from services.lake_queries import LakeQuery


class Engine(Protocol):
    """Runs a query on the partitions (the days) of one snapshot of its table.

    Raises Unavailable when what holds the data does not answer.
    """

    # How long a chart may go on from what it read before it asks for a newer snapshot.
    recheck_seconds: float

    def run(self, query: LakeQuery, days: Sequence[StoredPartition], snapshot_id: int) -> pa.Table: ...


class Scan(Protocol):
    """Reads columns of some partitions; rows that `only` rules out may be left out, where that saves reading."""

    def __call__(
        self,
        table: str,
        partitions: Sequence[Any],
        columns: Sequence[str],
        only: Callable[[date], pc.Expression | None],
    ) -> pa.Table: ...


class DuckDbEngine:
    """Safe to share between threads: each query has a connection of its own on an empty database in memory."""

    recheck_seconds = 2.0

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._db = duckdb.connect(config={"threads": 2})

    def run(self, query: LakeQuery, days: Sequence[StoredPartition], snapshot_id: int) -> pa.Table:
        rows = self._scan(query.table, days, query.columns, query.only)
        return execute(self._db, query.sql, {query.table: without_zones(rows)}, query.parameters)


def execute(
    db: duckdb.DuckDBPyConnection, sql: str, tables: Mapping[str, pa.Table], parameters: Mapping[str, object]
) -> pa.Table:
    """The result of one query over Arrow tables, on a cursor of its own."""
    with db.cursor() as cursor:
        for name, table in tables.items():
            cursor.register(name, table)
        return cursor.sql(sql, params=dict(parameters)).to_arrow_table()


def without_zones(rows: pa.Table) -> pa.Table:
    """UTC times without their zone, with which DuckDB computes only in an extension that would be downloaded."""
    fields = [
        pa.field(field.name, pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field
        for field in rows.schema
    ]
    return rows.cast(pa.schema(fields))
