"""A lake of one rollup and its transactions, read by day as the real one is, and an oracle of rates in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from services.domain.dimensions import DEFAULT, Dimension, as_json
from services.lake import Lake, TableState
from services.lake_engine import DuckDbEngine
from services.lake_schema import TRANSACTIONS
from services.rates import Rates, RatesQuery
from workers.curator_rates import hourly_rates

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
TIMES = {"transactions": "event_time", "rates_hourly": "hour"}


@dataclass(frozen=True)
class Part:
    start: date
    rows: int
    snapshot: int

    @property
    def paths(self) -> frozenset[str]:
        return frozenset({f"{self.snapshot}/{self.start}.parquet"})


class OneLake:
    """Tables by name, partitioned by UTC day. `reads` counts the days read."""

    def __init__(self, tables: dict[str, pa.Table], position: dict[str, Any]) -> None:
        self.tables, self.position, self.reads, self.snapshot = tables, position, 0, 77

    def state(self, name: str) -> TableState | None:
        moment = "2026-06-01T12:00:00+00:00"
        place = {"fraud.transactions": {"cluster_time": moment, "next_offset": 9}, "current_to": moment}
        return TableState(self.snapshot, NOW, self.tables[name].num_rows, place | self.position)

    def partitions(self, name: str, *, snapshot_id: int | None = None, starts: Any = None) -> Mapping[date, Part]:
        counts: dict[date, int] = defaultdict(int)
        for moment in self.tables[name][TIMES[name]].to_pylist():
            counts[moment.date()] += 1
        return {day: Part(day, rows, self.snapshot) for day, rows in counts.items() if starts is None or day in starts}

    def scan(
        self,
        name: str,
        partitions: Sequence[Part],
        columns: Sequence[str],
        only: Callable[[date], pc.Expression | None],
    ) -> pa.Table:
        self.reads += len(partitions)
        table = self.tables[name]
        days = table[TIMES[name]].cast(pa.timestamp("us")).cast(pa.date32())
        pieces = [table.schema.empty_table().select(columns)]
        for part in partitions:
            rows = table.filter(pc.equal(days, pa.scalar(part.start)))
            wanted = only(part.start)
            pieces.append((ds.dataset(rows).to_table(filter=wanted) if wanted is not None else rows).select(columns))
        return pa.concat_tables(pieces)

    def read(self, name: str, **_: Any) -> pa.Table:
        raise AssertionError("rates read by partition only")

    def read_partitions(self, name: str, partitions: Sequence[Any], columns: Sequence[str]) -> pa.Table:
        raise AssertionError("rates read through their engine")

    def tag(self, name: str, snapshot_id: int, tag: str) -> None:
        raise AssertionError("rates never pin")

    def object(self, key: str) -> bytes:
        raise AssertionError("rates read no objects")


def lake_of(rows: list[dict[str, Any]], dimensions: Sequence[Dimension] = DEFAULT) -> OneLake:
    stored = [{"transaction_id": f"x{at}", "cluster_time": NOW, "raw_offset": at} | row for at, row in enumerate(rows)]
    table = pa.Table.from_pylist([dict.fromkeys(TRANSACTIONS.names) | row for row in stored], schema=TRANSACTIONS)
    rollup = hourly_rates(table, NOW, dimensions)
    return OneLake({"transactions": table, "rates_hourly": rollup}, {"dimensions": as_json(dimensions)})


def rates_of(rows: list[dict[str, Any]], dimensions: Sequence[Dimension] = DEFAULT) -> Rates:
    lake = lake_of(rows, dimensions)
    return Rates(Lake(lake), DuckDbEngine(lake.scan), clock=lambda: NOW)


def band(amount_minor: int) -> str:
    for bound, name in ((10, "<10"), (50, "10-50"), (200, "50-200"), (1000, "200-1000")):
        if amount_minor < bound * 100:
            return name
    return ">=1000"


def value_of(row: dict[str, Any], key: str) -> str:
    if key == "amount_band":
        return band(row["amount_minor"])
    return row.get("merchant_country" if key == "country" else key) or "unknown"


def bucket_of(moment: datetime, bucket: str, zone: str) -> datetime:
    """When the bucket that a moment is in began, in UTC."""
    local = moment.astimezone(ZoneInfo(zone))
    if bucket == "hour":
        return (local - timedelta(minutes=local.minute)).astimezone(UTC) if local.fold == 0 else _hour(local)
    day = local.date()
    if bucket == "week":
        day -= timedelta(days=day.weekday())
    elif bucket == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _hour(local: datetime) -> datetime:
    return local.astimezone(UTC) - timedelta(minutes=local.minute)


def selected(rows: list[dict[str, Any]], query: RatesQuery) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if query.start <= row["event_time"] < query.end
        and all(not allowed or value_of(row, key) in allowed for key, allowed in query.filters.items())
    ]


def oracle(rows: list[dict[str, Any]], query: RatesQuery) -> dict[tuple[datetime, str, str], tuple[Any, ...]]:
    """(bucket, first, second) -> transactions .. matured, both rates and matured_share."""
    cells: dict[tuple[datetime, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in selected(rows, query):
        values = [value_of(row, key) for key in query.dimensions] + ["all", "all"]
        cells[bucket_of(row["event_time"], query.bucket, query.zone), values[0], values[1]].append(row)
    return {key: figures(inside) for key, inside in cells.items()}


def figures(inside: list[dict[str, Any]]) -> tuple[Any, ...]:
    mature = (NOW - timedelta(days=90)).date()
    amount = sum(row["amount_minor"] for row in inside)
    alerted = [row["amount_minor"] for row in inside if row.get("alert_status")]
    fraud = [row["amount_minor"] for row in inside if row.get("label") == "fraud"]
    matured = sum(row.get("label") is not None or row["event_time"].date() < mature for row in inside)
    return (
        len(inside),
        amount,
        len(alerted),
        sum(alerted),
        len(fraud),
        sum(fraud),
        sum(row.get("label") == "genuine" for row in inside),
        matured,
        pytest.approx(10_000 * len(fraud) / len(inside)),
        pytest.approx(10_000 * sum(fraud) / amount) if amount else None,
        pytest.approx(matured / len(inside)),
    )
