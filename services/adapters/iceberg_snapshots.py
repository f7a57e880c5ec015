"""The snapshots of a lake table that can still be read."""

from __future__ import annotations

from datetime import UTC, datetime

from services.adapters.iceberg import IcebergLake
from services.errors import NotFound
from services.training_data import Snapshot


class IcebergSnapshots:
    """Satisfies `services.training_data.Snapshots`."""

    def __init__(self, lake: IcebergLake) -> None:
        self._lake = lake

    def list(self, name: str, limit: int) -> tuple[Snapshot, ...]:
        """Newest first; empty while nothing was folded. Raises Unavailable when S3 does not answer."""
        try:
            table = self._lake.table(name)
        except NotFound:
            return ()
        pinned: dict[int, list[str]] = {}
        for tag, ref in table.refs().items():
            if ref.snapshot_ref_type == "tag":
                pinned.setdefault(ref.snapshot_id, []).append(tag)
        newest = sorted(table.snapshots(), key=lambda s: (-s.timestamp_ms, -(s.sequence_number or 0)))
        return tuple(
            Snapshot(
                snapshot_id=snapshot.snapshot_id,
                committed_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
                rows=int(snapshot.summary.additional_properties.get("total-records", 0)) if snapshot.summary else 0,
                pinned_as=tuple(sorted(pinned.get(snapshot.snapshot_id, ()))),
            )
            for snapshot in newest[:limit]
        )
