"""What a snapshot consists of: its manifests, read once, and a way to write them that stays small.

PyIceberg's own overwrite adds manifests with every commit and reads all of them, twice, in the next. Here the files of
one calendar month (one year, of a table by months) have one manifest: a commit writes those of the months it touches
anew and takes over the others unread. Its cost depends on the months it touches, not on the commits before it, and a
reader of some days opens the manifests of their months only. Tables written before this rule follow it month by month.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from pyiceberg.exceptions import ValidationException
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update.snapshot import _SnapshotProducer

from services.adapters.iceberg_catalog import partition_of_value, value_of_partition
from services.lake_schema import LakeTable, PartitionBy

# Manifests kept in memory, with some hundred entries each at most.
_KEPT = 256


class Manifests:
    """Live entries by manifest. Manifests never change, so what was read once holds. Safe to share between threads.

    A reply that broke off between two blocks of a file looks like a shorter file, so what was read is counted: EOFError
    when it is not what the snapshot or the list of manifests says.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[ManifestEntry, ...]] = OrderedDict()
        self._lists: OrderedDict[str, tuple[ManifestFile, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, snapshot: Snapshot, io: FileIO) -> tuple[ManifestFile, ...]:
        return self._once(self._lists, snapshot.manifest_list, lambda: _all_of(snapshot, io), 8)

    def entries(self, manifest: ManifestFile, io: FileIO) -> tuple[ManifestEntry, ...]:
        path = manifest.manifest_path
        return self._once(self._kept, path, lambda: _entries_of(manifest, io), _KEPT)

    def files(
        self, table: Table, snapshot: Snapshot, kind: LakeTable, starts: Iterable[date] | None
    ) -> Iterable[DataFile]:
        """The data files of a snapshot; only manifests that can have partitions of `starts` are opened."""
        values = None if starts is None else sorted(value_of_partition(kind, start) for start in starts)
        for manifest in self.of(snapshot, table.io):
            if values is None or _may_hold(manifest, values):
                for entry in self.entries(manifest, table.io):
                    yield entry.data_file

    def _once(self, kept: OrderedDict[str, Any], path: str, read: Callable[[], Any], limit: int) -> Any:
        with self._lock:
            if path in kept:
                kept.move_to_end(path)
                return kept[path]
        value = read()
        with self._lock:
            kept[path] = value
            while len(kept) > limit:
                kept.popitem(last=False)
        return value


def _all_of(snapshot: Snapshot, io: FileIO) -> tuple[ManifestFile, ...]:
    manifests = tuple(snapshot.manifests(io))
    named = snapshot.summary.additional_properties.get("total-data-files") if snapshot.summary else None
    if named is not None and sum(_live(manifest) for manifest in manifests) != int(named):
        raise EOFError(f"{snapshot.manifest_list} does not list the {named} files of its snapshot")
    return manifests


def _entries_of(manifest: ManifestFile, io: FileIO) -> tuple[ManifestEntry, ...]:
    entries = tuple(manifest.fetch_manifest_entry(io))
    if len(entries) != _live(manifest):
        raise EOFError(f"{manifest.manifest_path} has {len(entries)} of {_live(manifest)} entries")
    return entries


def _live(manifest: ManifestFile) -> int:
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def _may_hold(manifest: ManifestFile, values: Sequence[int]) -> bool:
    bounds = manifest.partitions[0] if manifest.partitions else None
    if bounds is None or bounds.lower_bound is None or bounds.upper_bound is None:
        return True
    (low,), (high,) = struct.unpack("<i", bounds.lower_bound), struct.unpack("<i", bounds.upper_bound)
    return any(low <= value <= high for value in values)


class OneSnapshot(Transaction):
    """A transaction of a single snapshot. What it builds on is the table as it is, which PyIceberg would otherwise copy
    whole every time it is asked about: the larger part of a small commit."""

    @property
    def table_metadata(self) -> TableMetadata:
        return self._table.metadata


class MonthlyOverwrite(_SnapshotProducer["MonthlyOverwrite"]):
    """Replaces files by others in one snapshot. Raises ValidationException when one of those is not there."""

    def __init__(
        self, table: Table, transaction: OneSnapshot, kind: LakeTable, manifests: Manifests, summary: dict[str, str]
    ):
        parent = transaction.table_metadata.current_snapshot()
        operation = Operation.OVERWRITE if parent is not None else Operation.APPEND
        super().__init__(operation, transaction, table.io, snapshot_properties=summary)
        self._parent, self._kind, self._read = parent, kind, manifests

    def _month(self, file: DataFile) -> int:
        start = partition_of_value(self._kind, file.partition[0])
        return start.year if self._kind.partition_by is PartitionBy.MONTH else start.year * 12 + start.month

    def _manifests(self) -> list[ManifestFile]:
        removed = {file.file_path for file in self._deleted_data_files}
        touched = {self._month(file) for file in (*self._added_data_files, *self._deleted_data_files)}
        kept: list[ManifestFile] = []
        rewritten: dict[int, list[ManifestEntry]] = {month: [] for month in touched}
        for manifest in self._read.of(self._parent, self._io) if self._parent else ():
            entries = self._read.entries(manifest, self._io)
            months = {self._month(entry.data_file) for entry in entries}
            if not months & touched:
                kept += [manifest] if entries else []
                continue
            for entry in entries:
                rewritten.setdefault(self._month(entry.data_file), []).append(self._carried(entry, removed))
        if removed:
            named = sorted(removed)
            raise ValidationException(f"Missing required files to delete: {', '.join(named)}")
        added: dict[int, list[ManifestEntry]] = {}
        for file in self._added_data_files:
            added.setdefault(self._month(file), []).append(self._entry(ManifestEntryStatus.ADDED, file))
        return [self._written(entries, added.get(month, ())) for month, entries in rewritten.items()] + kept

    def _carried(self, former: ManifestEntry, removed: set[str]) -> ManifestEntry:
        gone = former.data_file.file_path in removed
        removed.discard(former.data_file.file_path)
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.DELETED if gone else ManifestEntryStatus.EXISTING,
            snapshot_id=self._snapshot_id if gone else former.snapshot_id,
            sequence_number=former.sequence_number,
            file_sequence_number=former.file_sequence_number,
            data_file=former.data_file,
        )

    def _entry(self, status: ManifestEntryStatus, file: DataFile) -> ManifestEntry:
        return ManifestEntry.from_args(
            status=status,
            snapshot_id=self._snapshot_id,
            sequence_number=None,
            file_sequence_number=None,
            data_file=file,
        )

    def _written(self, carried: Sequence[ManifestEntry], added: Sequence[ManifestEntry]) -> ManifestFile:
        with self.new_manifest_writer(self._transaction.table_metadata.spec()) as writer:
            for entry in carried:
                writer.add_entry(entry)
            for entry in added:
                writer.add(entry)
        return writer.to_manifest_file()

    def _existing_manifests(self) -> list[ManifestFile]:
        raise NotImplementedError  # never called: `_manifests` does all of it

    def _deleted_entries(self) -> list[ManifestEntry]:
        raise NotImplementedError
