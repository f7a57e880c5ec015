"""The Iceberg tables of the lake. Satisfies `services.lake.LakeReader` and what `workers.curator` writes through.

Invariants: a write is one commit that replaces whole files and carries the folded position in its summary; it
succeeds only on the snapshot it was computed from, so two writers cannot both move the position.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from services.adapters.iceberg_catalog import (
    between,
    open_catalog,
    partition_of_value,
    translated,
)
from services.adapters.iceberg_files import Partition as Partition
from services.adapters.iceberg_files import create, write
from services.adapters.iceberg_keys import KeyIndex
from services.adapters.iceberg_manifests import Manifests, MonthlyOverwrite, OneSnapshot
from services.adapters.s3 import ObjectStore
from services.errors import Conflict, NotFound, Unavailable
from services.lake import TableState
from services.lake_schema import NAMESPACE, POSITION_PROPERTY, TABLES
from services.settings import Settings

_READERS = 4


class IcebergLake:
    """Tables by name. Raises Unavailable(dependency="S3") when catalog or S3 do not answer."""

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        """`patient` is for workers: they try again themselves and read more at once than a screen."""
        self._settings, self._patient = settings, patient
        self._catalog_opened: MetastoreCatalog | None = None
        self._objects: ObjectStore | None = None
        self._manifests = Manifests()
        self._indexes: dict[str, KeyIndex] = {}

    def ensure(self) -> None:
        """Create the namespace and the tables that are missing."""
        with translated():
            try:
                self._catalog.create_namespace(NAMESPACE)
            except NamespaceAlreadyExistsError:
                pass
            for table in TABLES.values():
                try:
                    create(self._catalog, table, self._settings.bucket)
                except TableAlreadyExistsError:
                    continue

    def state(self, name: str) -> TableState | None:
        """The current snapshot, or None before the first one."""
        with translated():
            table = self._load(name)
        snapshot = table.current_snapshot() if table is not None else None
        if snapshot is None:
            return None
        summary: Mapping[str, Any] = snapshot.summary.additional_properties if snapshot.summary else {}
        return TableState(
            snapshot_id=snapshot.snapshot_id,
            committed_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
            rows=int(summary.get("total-records", 0)),
            position=json.loads(summary.get(POSITION_PROPERTY, "{}")),
        )

    def read(
        self,
        name: str,
        *,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Rows with start <= the table's time column < end, at a snapshot (None: the current one).

        Raises NotFound for a snapshot that was expired or never was. An empty lake reads as no rows.
        """
        kind = TABLES[name]
        names = tuple(columns) if columns is not None else tuple(kind.schema.names)
        schema = pa.schema([kind.schema.field(column) for column in names])
        with translated():
            table = self._load(name)
            if table is None or (snapshot_id is None and table.current_snapshot() is None):
                return schema.empty_table()
            _require_snapshot(table, name, snapshot_id)
            scan = table.scan(between(kind.time_column, start, end), names, snapshot_id=snapshot_id)
            return scan.to_arrow().select(names).cast(schema)

    def partitions(
        self, name: str, *, snapshot_id: int | None = None, starts: Sequence[date] | None = None
    ) -> dict[date, Partition]:
        """The partitions there are at a snapshot, only those of `starts` when given, without reading their rows.

        Raises NotFound for a snapshot that was expired or never was.
        """
        tasks: dict[date, list[FileScanTask]] = {}
        for file in self.files(name, snapshot_id=snapshot_id, starts=starts).values():
            tasks.setdefault(file.start, []).extend(file.tasks)
        return {start: Partition(start, tuple(files)) for start, files in tasks.items()}

    def files(
        self, name: str, *, snapshot_id: int | None = None, starts: Sequence[date] | None = None
    ) -> dict[str, Partition]:
        """The same file by file, by path."""
        kind = TABLES[name]
        with translated():
            table = self._load(name)
            if table is None or table.current_snapshot() is None:
                return {}
            _require_snapshot(table, name, snapshot_id)
            snapshot = table.snapshot_by_id(snapshot_id) if snapshot_id is not None else table.current_snapshot()
            assert snapshot is not None
            found = list(self._manifests.files(table, snapshot, kind, starts))
        wanted = None if starts is None else set(starts)
        placed = ((partition_of_value(kind, file.partition[0]), file) for file in found)
        return {
            file.file_path: Partition(start, (FileScanTask(file),))
            for start, file in placed
            if wanted is None or start in wanted
        }

    def read_partitions(self, name: str, partitions: Sequence[Partition], columns: Sequence[str]) -> pa.Table:
        """All rows of these partitions."""
        kind = TABLES[name]
        schema = pa.schema([kind.schema.field(column) for column in columns])
        tasks = [task for partition in partitions for task in partition.tasks]
        if not tasks:
            return schema.empty_table()
        with translated():
            table = self._require(name)
            whole = [FileScanTask(task.file, delete_files=task.delete_files) for task in tasks]
            projected = table.schema().select(*columns)
            try:
                rows = ArrowScan(table.metadata, table.io, projected, AlwaysTrue()).to_table(whole)
            except pa.ArrowInvalid as error:  # an answer that broke off looks to PyArrow like a file that is no Parquet
                reason = "S3 broke off its answer, or a file of the lake is damaged."
                raise Unavailable(reason, dependency="S3") from error
            return rows.select(columns).cast(schema)

    def find(self, name: str, keys: pa.Array, files: Mapping[str, Partition]) -> tuple[np.ndarray, list[str]]:
        """Which of `files`, the table's at one snapshot, may hold rows of these keys.

        Pairs of (position in `keys`, path): all that do, and now and then one that does not. The first call reads the
        key column of the whole table, later ones that of the files that are new.
        """
        kind = TABLES[name]
        assert kind.key is not None
        key = kind.key

        def read(paths: Iterable[str]) -> Iterator[tuple[str, pa.Array]]:
            with ThreadPoolExecutor(_READERS, thread_name_prefix="keys") as pool:
                wanted = list(paths)
                for start in range(0, len(wanted), _READERS):
                    group = wanted[start : start + _READERS]
                    tables = pool.map(lambda path: self.read_partitions(name, [files[path]], (key,)), group)
                    for path, rows in zip(group, tables, strict=True):
                        yield path, rows[key].combine_chunks()

        if name not in self._indexes:
            self._indexes[name] = KeyIndex()
        return self._indexes[name].find(keys, {path: file.rows for path, file in files.items()}, read)

    def replace(
        self,
        name: str,
        pieces: Iterable[tuple[Sequence[Partition], pa.Table]],
        position: Mapping[str, Any],
        *,
        expected_snapshot: int | None,
    ) -> int:
        """Commit, with the position, the rows of each piece in place of the partitions named with it.

        No file may occur in two pieces. Pieces are consumed and written one after the other, so only one need be in
        memory. Returns the new snapshot's id. Raises Conflict when the table has moved on from `expected_snapshot`
        (None: empty); nothing is changed then.
        """
        with translated():
            table = self._require(name)
            current = table.current_snapshot()
            if (current.snapshot_id if current else None) != expected_snapshot:
                raise Conflict(f"The lake's {name} was written by another process; nothing was committed.")
            transaction = OneSnapshot(table)
            try:
                summary = {POSITION_PROPERTY: json.dumps(position)}
                with MonthlyOverwrite(table, transaction, TABLES[name], self._manifests, summary) as commit:
                    for former, rows in pieces:
                        for task in (task for partition in former for task in partition.tasks):
                            commit.delete_data_file(task.file)
                        for file in write(table, TABLES[name], rows):
                            commit.append_data_file(file)
                transaction.commit_transaction()
            except (CommitFailedException, ValidationException) as error:
                raise Conflict(f"The lake's {name} was written by another process; nothing was committed.") from error
            return commit.snapshot_id

    def tag(self, name: str, snapshot_id: int, tag: str) -> None:
        """Keep a snapshot for as long as the tag exists. Tagging it the same way again changes nothing."""
        with translated():
            for _ in range(5):
                table = self._require(name)
                existing = table.refs().get(tag)
                if existing is not None and existing.snapshot_id == snapshot_id:
                    return
                if existing is not None:
                    raise Conflict(f"The tag {tag} already keeps another snapshot.")
                _require_snapshot(table, name, snapshot_id)
                try:
                    table.manage_snapshots().create_tag(snapshot_id, tag).commit()
                    return
                except CommitFailedException:  # the curator committed in between: only the tag has to be set again
                    continue
        raise Conflict(f"The lake's {name} is being written too fast to tag it; try again.")

    def object(self, key: str) -> bytes:
        """An object beside the tables, whole. Raises NotFound when there is none."""
        if self._objects is None:
            self._objects = ObjectStore(self._settings.bucket, region=self._settings.region)
        return self._objects.get(key)[0]

    def snapshot_at(self, name: str, moment: datetime) -> int:
        """The newest kept snapshot that was committed at or before a moment. Raises NotFound when there is none."""
        with translated():
            table = self._require(name)
        stamp = int(moment.timestamp() * 1000)
        made = [snapshot for snapshot in table.snapshots() if snapshot.timestamp_ms <= stamp]
        if not made:
            raise NotFound(f"The lake keeps no {name} as old as {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.")
        return max(made, key=lambda snapshot: (snapshot.timestamp_ms, snapshot.sequence_number or 0)).snapshot_id

    def table(self, name: str) -> Table:
        """For maintenance."""
        with translated():
            return self._require(name)

    def close(self) -> None:
        """Give the catalog's connections back."""
        if self._catalog_opened is not None:
            self._catalog_opened.close()
            self._catalog_opened = None
        for index in self._indexes.values():
            index.close()
        self._indexes.clear()

    @property
    def _catalog(self) -> MetastoreCatalog:
        if self._catalog_opened is None:
            self._catalog_opened = open_catalog(self._settings, patient=self._patient)
        return self._catalog_opened

    def _load(self, name: str) -> Table | None:
        try:
            return self._catalog.load_table((NAMESPACE, name))
        except NoSuchTableError:
            return None

    def _require(self, name: str) -> Table:
        if (table := self._load(name)) is None:
            raise NotFound(f"The lake has no table {name} yet; the curator creates it.")
        return table


def _require_snapshot(table: Table, name: str, snapshot_id: int | None) -> None:
    """PyIceberg plans no files for a snapshot it does not know; here that is an error, not an empty lake."""
    if snapshot_id is not None and table.snapshot_by_id(snapshot_id) is None:
        raise NotFound(f"Snapshot {snapshot_id} of the lake's {name} is not kept any more.")
