"""The rollup of what changed in `transactions`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.adapters.iceberg import IcebergLake, Partition
from services.adapters.iceberg_rollup import prepare_rollup, stored_columns
from services.domain.dimensions import ALL, DEFAULT, Dimension, as_json, parse
from services.errors import InvalidData, NotFound
from services.lake import TableState
from services.lake_schema import RATES_LAYOUT, RATES_TABLE, TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC, rates_schema
from workers.curator_groups import in_groups
from workers.curator_rates import hourly_rates, inputs

log = logging.getLogger(__name__)

# Rows of the lake held at once while a commit is prepared.
GROUP_ROWS = 50_000


def roll_up(
    lake: IcebergLake,
    now: datetime,
    progress: Callable[[], None] = lambda: None,
    dimensions: Sequence[Dimension] = DEFAULT,
) -> int:
    """Bring `rates_hourly` to the current snapshot of `transactions`. Returns the number of days computed.

    What has to be computed is every day whose files differ between the snapshot the rollup names and the current one,
    so a rollup that a crash prevented is made up for, by whoever comes next. One of other dimensions or of another
    layout is built anew, in one commit.
    """
    state, rates = lake.state(TRANSACTIONS_TABLE.name), lake.state(RATES_TABLE.name)
    if state is None:
        return 0
    kind = {"layout": RATES_LAYOUT, "dimensions": as_json(dimensions)}
    place = state.position.get(TRANSACTIONS_TOPIC, {})
    # Charts say how far *they* are, which is not how far `transactions` is: a rollup may rest before it follows.
    position = {"transactions_snapshot": state.snapshot_id, "current_to": place.get("cluster_time"), **kind}
    if rates is not None and rates.position == position:
        return 0
    current = lake.partitions(TRANSACTIONS_TABLE.name, snapshot_id=state.snapshot_id)
    former = _folded(lake, rates, kind)
    days = _changed(current, former)
    snapshot_id = rates.snapshot_id if rates else None
    keys = [dimension.key for dimension in dimensions]
    if former is None:
        prepare_rollup(lake, keys)
    names = stored_columns(lake)
    starts = days if former is not None else None
    stored = lake.partitions(RATES_TABLE.name, snapshot_id=snapshot_id, starts=starts)

    def pieces() -> Iterator[tuple[list[Partition], pa.Table]]:
        if former is None and stored:
            yield list(stored.values()), rates_schema(keys).empty_table()
        for group in in_groups(days, lambda day: current[day].rows if day in current else 0, GROUP_ROWS):
            kept = [current[day] for day in group if day in current]
            rows = lake.read_partitions(TRANSACTIONS_TABLE.name, kept, inputs(dimensions))
            replaced = [stored[day] for day in group if former is not None and day in stored]
            progress()
            yield replaced, _filled(hourly_rates(rows, now, dimensions), names)

    lake.replace(RATES_TABLE.name, pieces(), position, expected_snapshot=snapshot_id)
    return len(days)


def mapped_dimensions(mapping: Path | None) -> tuple[Dimension, ...]:
    """The dimensions of a mapping file; the usual ones without. Raises InvalidData when it cannot be read or used."""
    if mapping is None:
        return DEFAULT
    try:
        return parse(mapping.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidData(f"The mapping {mapping} cannot be read: {error.strerror}.") from error


def _folded(lake: IcebergLake, rates: TableState | None, kind: Mapping[str, Any]) -> Mapping[date, Partition] | None:
    """The days of the snapshot that the rollup was made from; None when it has to be built from scratch."""
    if rates is None or any(rates.position.get(name) != value for name, value in kind.items()):
        return None
    try:
        return lake.partitions(TRANSACTIONS_TABLE.name, snapshot_id=rates.position["transactions_snapshot"])
    except NotFound:
        log.warning("curator.rollup_from_scratch: snapshot %s is gone", rates.position["transactions_snapshot"])
        return None


def _changed(current: Mapping[date, Partition], former: Mapping[date, Partition] | None) -> list[date]:
    before = former or {}
    return sorted(
        day
        for day in {*current, *before}
        if day not in current or day not in before or current[day].paths != before[day].paths
    )


def _filled(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """With the columns of former dimensions, which are not told apart any more."""
    for name in names:
        if name not in rows.column_names:
            rows = rows.append_column(pa.field(name, pa.string(), False), pa.array([ALL] * rows.num_rows, pa.string()))
    return rows
