"""Forgetting old snapshots of the lake and deleting the files that no snapshot names.

Kept: every snapshot of the last quarter of an hour, the last one of each hour for 24 hours, the current one, and
every tagged one for as long as its tag exists. (The curator commits every few seconds, and each commit writes, and
each reader loads, what is said about all of them.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_catalog import translated
from services.adapters.s3 import ObjectStore

KEEP_ALL = timedelta(minutes=15)
KEEP_HOURLY = timedelta(hours=24)
# A file younger than this may belong to a commit that is being made.
_UNCOMMITTED = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Maintained:
    """Snapshots forgotten and files deleted."""

    expired: int
    deleted: int


def expire(lake: IcebergLake, name: str, *, now: datetime) -> int:
    """Forget old snapshots; the number forgotten. Cheap: one commit, if any. Their files are left to `maintain`."""
    table = lake.table(name)
    if table.current_snapshot() is None:
        return 0
    with translated():
        return _expire(table, now)


def maintain(lake: IcebergLake, objects: ObjectStore, name: str, *, now: datetime) -> Maintained:
    """Raises Unavailable when S3 does not answer; repeating it is safe at any point."""
    table = lake.table(name)
    if table.current_snapshot() is None:
        return Maintained(0, 0)
    with translated():
        expired = _expire(table, now)
        table = lake.table(name)
        named = _named_files(table)
    prefix = table.location().split("/", 3)[3] + "/"
    garbage = [
        info.key
        for info in objects.list(prefix)
        if info.modified_at < now - _UNCOMMITTED and f"s3://{objects.bucket}/{info.key}" not in named
    ]
    objects.delete(garbage)
    return Maintained(expired, len(garbage))


def _expire(table: Table, now: datetime) -> int:
    kept_hours: set[int] = set()
    old: list[int] = []
    refs = {ref.snapshot_id for ref in table.refs().values()}
    for snapshot in sorted(table.snapshots(), key=lambda snapshot: -snapshot.timestamp_ms):
        at = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
        hour = snapshot.timestamp_ms // 3_600_000
        if snapshot.snapshot_id in refs or at >= now - KEEP_ALL:
            continue
        if at >= now - KEEP_HOURLY and hour not in kept_hours:
            kept_hours.add(hour)
            continue
        old.append(snapshot.snapshot_id)
    if old:
        try:
            table.maintenance.expire_snapshots().by_ids(old).commit()
        except CommitFailedException:  # somebody tagged one meanwhile; the next hour sees it
            return 0
    return len(old)


def _named_files(table: Table) -> set[str]:
    """Every object some snapshot needs, and the metadata files of the table's own log."""
    named = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    manifests = {}
    for snapshot in table.snapshots():
        named.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            manifests[manifest.manifest_path] = manifest
    for path, manifest in manifests.items():
        named.add(path)
        named.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return named
