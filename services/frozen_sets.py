"""Frozen training sets: rows, labels, flow and snapshots fixed for ever, so that models can be compared on them.

A frozen set is its record; the record is written last, after the manifest in S3, which is written after the files.
What was begun and not finished has no record and counts for nothing; freezing again with the same id writes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.audit import AuditEntry
from services.errors import InvalidData


@dataclass(frozen=True, slots=True)
class FrozenSet:
    """Transactions with window_start <= event_time < window_end; labels as known at `label_cutoff`.

    `flow_id` and `flow_version` are None where the plan's features are taken as they are. `rows` counts all rows of
    the window, `usable` those with a label (`frauds` of them 1), `train` and `validation` their split by time,
    `young` those that only the last fit learns from (0 in sets of before there were any).
    `sha256` is of the manifest, which has those of every file; `prefix` is the key they begin with, with / at the end.
    """

    frozen_id: str
    name: str
    snapshot_id: int
    labels_snapshot_id: int | None
    window_start: datetime
    window_end: datetime
    label_cutoff: datetime
    flow_id: str | None
    flow_version: int | None
    features: tuple[str, ...]
    features_version: str
    rows: int
    usable: int
    frauds: int
    train: int
    validation: int
    sha256: str
    prefix: str
    frozen_by: str
    frozen_at: datetime
    young: int = 0

    @property
    def flow(self) -> tuple[str, int] | None:
        """(id, version) as a training request takes it."""
        return None if self.flow_id is None or self.flow_version is None else (self.flow_id, self.flow_version)


class FrozenStore(Protocol):
    def add(self, made: FrozenSet, *, audit: AuditEntry) -> None:
        """Both or neither; adding the very same set again changes nothing. Conflict for another of that id."""
        ...

    def get(self, frozen_id: str) -> FrozenSet:
        """NotFound."""
        ...

    def recent(self, limit: int) -> tuple[FrozenSet, ...]:
        """Newest first."""
        ...


def prefix_of(frozen_id: str) -> str:
    return f"training/frozen/{frozen_id}/"


def tag_of(frozen_id: str) -> str:
    """The lake's name for the snapshots that a frozen set keeps."""
    return f"frozen-{frozen_id}"


def check_name(name: str) -> str:
    """The name as it is kept; InvalidData where it cannot be one."""
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidData("Give the training set a name of 1 to 80 printable characters.")
    return name
