"""The plan of one commit: which files of a table are written anew, and with which rows.

A change costs the file its row is in, not the day: the index of keys says which file that is, also when the row is to
move to another day or to go. Rows of a day that are new go into a new file, which takes the day's smaller files with
it, so that their sizes grow by a factor and their number stays small however often something is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_files import MAX_FILE_ROWS, Partition
from services.lake_schema import LakeTable
from workers.curator_fold import added, superseded
from workers.curator_groups import in_groups

# Rows of the lake held at once while a commit is prepared.
GROUP_ROWS = 100_000
# A new file takes another of its day with it unless that has more than this many times its rows.
_FACTOR = 3
_LARGE_ROWS = MAX_FILE_ROWS // 2
Piece = tuple[list[Partition], pa.Table]


@dataclass(frozen=True, slots=True)
class Job:
    """Files of one partition that are written anew together, and whether the partition's new rows go with them."""

    start: date
    files: list[Partition]
    takes_new: bool


def pieces(
    lake: IcebergLake,
    table: LakeTable,
    changes: pa.Table,
    snapshot_id: int | None,
    newest: datetime | None,
    progress: Callable[[], None],
) -> Iterator[Piece]:
    """Files and what comes in their place. `changes` are unique by the table's key.

    `newest`: the latest cluster time the table has seen; changes after it all are newer than its rows.
    """
    files = lake.files(table.name, snapshot_id=snapshot_id)
    keys = changes[table.key].combine_chunks()
    positions, paths = lake.find(table.name, keys, files) if len(keys) else (np.empty(0, dtype=np.int64), [])
    progress()
    void = _void(lake, table, changes, [files[path] for path in dict.fromkeys(paths)], newest)
    hit = dict.fromkeys(path for at, path in zip(positions.tolist(), paths, strict=True) if not void[at])
    changes = changes.filter(pa.array(~void))
    placed = changes.filter(pc.invert(changes["removed"]))
    starts = pc.floor_temporal(placed[table.time_column], unit=table.partition_by).cast(pa.date32())
    jobs = _jobs(files, [files[path] for path in hit], starts)
    for group in in_groups(jobs, lambda job: sum(file.rows for file in job.files), GROUP_ROWS):
        former = [file for job in group for file in job.files]
        rows = lake.read_partitions(table.name, former, table.schema.names)
        stays = rows.filter(pc.invert(pc.is_in(rows[table.key], value_set=changes[table.key].combine_chunks())))
        opened = pa.array([job.start for job in group if job.takes_new], pa.date32())
        progress()
        yield former, added(stays, placed.filter(pc.is_in(starts, value_set=opened)), table)


def older_than(lake: IcebergLake, table: LakeTable, since: datetime, snapshot_id: int) -> Iterator[Piece]:
    """The files that have rows with a cluster time before `since`, and what is left of them without those."""
    for file in lake.files(table.name, snapshot_id=snapshot_id).values():
        times = lake.read_partitions(table.name, [file], ("cluster_time",))["cluster_time"]
        if pc.any(pc.less(times, since)).as_py():
            rows = lake.read_partitions(table.name, [file], table.schema.names)
            yield [file], rows.filter(pc.greater_equal(rows["cluster_time"], since))


def _void(
    lake: IcebergLake, table: LakeTable, changes: pa.Table, hit: Sequence[Partition], newest: datetime | None
) -> np.ndarray:
    """Changes that the table already has something newer for. Only needed when some may be older than its rows."""
    known = [table.schema.empty_table()]
    oldest = pc.min(changes["cluster_time"]).as_py()
    if newest is None or oldest is None or oldest <= newest:
        columns = [str(table.key), "cluster_time", "raw_offset"]
        known = [table.schema.empty_table().select(columns)]
        for group in in_groups(hit, lambda file: file.rows, GROUP_ROWS):
            rows = lake.read_partitions(table.name, group, columns)
            known.append(rows.filter(pc.is_in(rows[table.key], value_set=changes[table.key].combine_chunks())))
    return superseded(pa.concat_tables(known), changes, table)


def _jobs(files: Mapping[str, Partition], hit: Sequence[Partition], starts: pa.ChunkedArray) -> list[Job]:
    """What to write anew, by partition, ascending: each large file by itself, all smaller ones with the new rows."""
    new = {item["values"]: item["counts"] for item in pc.value_counts(starts).to_pylist()}
    small: dict[date, list[Partition]] = {start: [] for start in new}
    jobs: list[Job] = []
    for file in hit:
        if file.rows > _LARGE_ROWS:
            jobs.append(Job(file.start, [file], takes_new=False))
        else:
            small.setdefault(file.start, []).append(file)
    others: dict[date, list[Partition]] = {start: [] for start in small}
    taken = {path for file in hit for path in file.paths}
    for path, file in files.items():
        if file.start in small and path not in taken:
            others[file.start].append(file)
    jobs += [
        Job(start, _with_smaller(files, others[start], new.get(start, 0)), takes_new=True)
        for start, files in small.items()
    ]
    return sorted(jobs, key=lambda job: job.start)


def _with_smaller(hit: list[Partition], others: Iterable[Partition], new: int) -> list[Partition]:
    taken, rows = list(hit), new + sum(file.rows for file in hit)
    for file in sorted(others, key=lambda file: file.rows):
        if file.rows > _FACTOR * rows or rows + file.rows > MAX_FILE_ROWS:
            break
        taken.append(file)
        rows += file.rows
    return taken
