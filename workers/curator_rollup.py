"""The rollup of what changed in `transactions`; grouping of partitions, which bounds the memory of every commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from services.adapters.iceberg import IcebergLake, Partition
from services.errors import NotFound
from services.lake_schema import RATES_TABLE, TRANSACTIONS_TABLE
from workers.curator_rates import INPUT, hourly_rates

log = logging.getLogger(__name__)

# Rows of the lake held at once while a commit is prepared.
GROUP_ROWS = 50_000


def roll_up(lake: IcebergLake, now: datetime, progress: Callable[[], None] = lambda: None) -> int:
    """Bring `rates_hourly` to the current snapshot of `transactions`. Returns the number of days computed.

    What has to be computed is every day whose files differ between the snapshot the rollup names and the current one,
    so a rollup that a crash prevented is made up for, by whoever comes next.
    """
    state, rates = lake.state(TRANSACTIONS_TABLE.name), lake.state(RATES_TABLE.name)
    if state is None:
        return 0
    done = rates.position.get("transactions_snapshot") if rates else None
    if done == state.snapshot_id:
        return 0
    current = lake.partitions(TRANSACTIONS_TABLE.name, snapshot_id=state.snapshot_id)
    former: Mapping[date, Any] = {}
    complete = False
    if done is not None:
        try:
            former, complete = lake.partitions(TRANSACTIONS_TABLE.name, snapshot_id=done), True
        except NotFound:
            log.warning("curator.rollup_from_scratch: snapshot %s is gone", done)
    days = {
        day
        for day in {*current, *former}
        if day not in current or day not in former or current[day].paths != former[day].paths
    }
    snapshot_id = rates.snapshot_id if rates else None
    stored = lake.partitions(RATES_TABLE.name, snapshot_id=snapshot_id, starts=sorted(days) if complete else None)

    def pieces() -> Iterator[tuple[list[Partition], pa.Table]]:
        if not complete and stored:
            yield list(stored.values()), RATES_TABLE.schema.empty_table()
        for group in in_groups(sorted(days), current):
            rows = lake.read_partitions(
                TRANSACTIONS_TABLE.name, [current[day] for day in group if day in current], INPUT
            )
            replaced = [stored[day] for day in group if complete and day in stored]
            progress()
            yield replaced, hourly_rates(rows, now)

    position = {"transactions_snapshot": state.snapshot_id}
    lake.replace(RATES_TABLE.name, pieces(), position, expected_snapshot=snapshot_id)
    return len(days)


def in_groups(starts: Sequence[date], stored: Mapping[date, Partition]) -> Iterator[list[date]]:
    """Neighbouring partitions whose stored rows fit in memory together; a larger one is a group of its own."""
    group: list[date] = []
    rows = 0
    for start in starts:
        more = stored[start].rows if start in stored else 0
        if group and rows + more > GROUP_ROWS:
            yield group
            group, rows = [], 0
        group.append(start)
        rows += more
    if group:
        yield group
