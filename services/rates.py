"""Fraud rates over time by any dimension, from the lake's hourly rollup alone.

fraud_bps_count = 10,000 x fraud / transactions; fraud_bps_value = 10,000 x fraud amount / amount, gross of what was
recovered. Fraud is what is labelled fraud now: young buckets still rise, and `matured_share` says how far they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import duckdb
import pandas as pd
import pyarrow as pa

from services.errors import InvalidData
from services.lake import Lake
from services.lake_schema import AMOUNT_BANDS, DIMENSIONS, MATURITY_DAYS, RATES_HOURLY, RATES_TABLE

ALL = "all"
Bucket = Literal["day", "week", "month"]
COLUMNS = (
    "bucket",
    "value",
    "transactions",
    "amount_minor",
    "alerted",
    "fraud",
    "fraud_amount_minor",
    "fraud_bps_count",
    "fraud_bps_value",
    "matured_share",
)
# The lake is asked for a newer snapshot at most this often; the curator commits every ten seconds or so.
_RECHECK_SECONDS = 2.0
# Hours grow older than the maturity limit without any commit.
_REAGE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class RatesQuery:
    """`start` and `end` are UTC days, both included. Weeks begin on Monday. `filters`: dimension -> accepted values."""

    start: date
    end: date
    bucket: Bucket = "day"
    dimension: str | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RatesResult:
    """`frame` has COLUMNS, ordered by bucket and value; `bucket` is the first day of the bucket (datetime.date).

    Every value has a row in every bucket between the first and the last day of the range that have any transactions;
    rates and matured_share are null where there were none. `current_to`: how far the lake was complete.
    """

    frame: pd.DataFrame
    current_to: datetime | None
    snapshot_id: int | None


class Rates:
    """Holds the rollup, by day, in memory; only days that changed are read again. Safe to share between threads."""

    def __init__(
        self,
        lake: Lake,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lake, self._clock, self._monotonic = lake, clock, monotonic
        self._lock = threading.Lock()
        self._paths: dict[date, frozenset[str]] = {}
        self._days: dict[date, pa.Table] = {}
        self._snapshot_id: int | None = None
        self._current_to: datetime | None = None
        self._checked_at = self._aged_at = float("-inf")
        self._db = duckdb.connect(config={"threads": 2})
        self._load(pa.Table.from_batches([], RATES_HOURLY))

    def dimensions(self) -> tuple[str, ...]:
        return DIMENSIONS

    def values(self, dimension: str) -> tuple[str, ...]:
        """The values there are, by number of transactions; amount bands from the smallest."""
        _require(dimension)
        cursor, _, _ = self._current()
        if dimension == "amount_band":
            return tuple(name for _, name in AMOUNT_BANDS)
        query = f"SELECT {dimension} FROM rates GROUP BY 1 ORDER BY sum(transactions) DESC, 1"
        return tuple(value for (value,) in cursor.execute(query).fetchall())

    def table(self, query: RatesQuery) -> RatesResult:
        """Raises InvalidData for an unknown dimension or a range that ends before it starts; Unavailable without S3."""
        for name in (*query.filters, *([query.dimension] if query.dimension else [])):
            _require(name)
        if query.bucket not in ("day", "week", "month"):
            raise InvalidData(f"Rates are by day, week or month, not by {query.bucket!r}.")
        if query.end < query.start:
            raise InvalidData("The range ends before it starts.")
        cursor, current_to, snapshot_id = self._current()
        sql, parameters = _sql(query)
        frame = cursor.execute(sql, parameters).df()
        frame["bucket"] = pd.to_datetime(frame["bucket"]).dt.date
        return RatesResult(frame[list(COLUMNS)], current_to, snapshot_id)

    def _current(self) -> tuple[duckdb.DuckDBPyConnection, datetime | None, int | None]:
        """A cursor on the rollup of the newest snapshot known. One thread refreshes, the others wait for it."""
        with self._lock:
            if self._monotonic() - self._checked_at >= _RECHECK_SECONDS:
                self._refresh()
                self._checked_at = self._monotonic()
            return self._db.cursor(), self._current_to, self._snapshot_id

    def _refresh(self) -> None:
        state = self._lake.reader.state(RATES_TABLE.name)
        aged = self._monotonic() - self._aged_at >= _REAGE_SECONDS
        snapshot_id = state.snapshot_id if state else None
        if snapshot_id == self._snapshot_id and not aged:
            self._current_to = self._lake.current_to()
            return
        stored = self._lake.reader.partitions(RATES_TABLE.name, snapshot_id=snapshot_id) if state else {}
        changed = [part for day, part in stored.items() if self._paths.get(day) != part.paths]
        rows = self._lake.reader.read_partitions(RATES_TABLE.name, changed, RATES_HOURLY.names)
        days = {day: table for day, table in self._days.items() if day in stored}
        days |= {part.start: RATES_HOURLY.empty_table() for part in changed} | _by_day(rows)
        self._load(pa.concat_tables([RATES_HOURLY.empty_table(), *days.values()]))
        self._days, self._paths = days, {day: part.paths for day, part in stored.items()}
        self._snapshot_id, self._current_to = snapshot_id, self._lake.current_to()
        self._aged_at = self._monotonic()

    def _load(self, hourly: pa.Table) -> None:
        """Replace the table that queries read: by day, with what is mature by now."""
        at = hourly.schema.get_field_index("hour")
        naive = hourly.set_column(at, "hour", hourly["hour"].cast(pa.timestamp("us")))
        mature_before = (self._clock().astimezone(UTC) - timedelta(days=MATURITY_DAYS)).replace(tzinfo=None)
        sums = ("transactions", "amount_minor", "alerted", "fraud", "fraud_amount_minor")
        cursor = self._db.cursor()
        cursor.register("hourly", naive)
        cursor.execute(
            f"""CREATE OR REPLACE TABLE rates AS
                SELECT hour::DATE AS day, {", ".join(DIMENSIONS)},
                       {", ".join(f"sum({name})::BIGINT AS {name}" for name in sums)},
                       sum(CASE WHEN hour < $mature_before THEN transactions ELSE matured END)::BIGINT AS matured
                FROM hourly GROUP BY ALL""",
            {"mature_before": mature_before},
        )
        cursor.close()


def _require(dimension: str) -> None:
    if dimension not in DIMENSIONS:
        raise InvalidData(f"Rates cannot be broken down by {dimension!r}; choose one of {', '.join(DIMENSIONS)}.")


def _by_day(rows: pa.Table) -> dict[date, pa.Table]:
    """The rows of each UTC day."""
    days = rows["hour"].cast(pa.timestamp("us")).cast(pa.date32())
    return {day.as_py(): rows.filter(pa.compute.equal(days, day)) for day in days.unique()}


def _sql(query: RatesQuery) -> tuple[str, dict[str, object]]:
    """Names come from DIMENSIONS and the bucket's three words only; everything else is a parameter."""
    parameters: dict[str, object] = {"first": query.start, "last": query.end}
    conditions = ["day BETWEEN $first AND $last"]
    for number, (name, values) in enumerate(sorted(query.filters.items())):
        if values:
            conditions.append(f"list_contains($f{number}, {name})")
            parameters[f"f{number}"] = list(values)
    value = query.dimension or f"'{ALL}'"
    sql = f"""
        WITH cells AS (
            SELECT date_trunc('{query.bucket}', day)::DATE AS bucket, {value} AS value,
                   sum(transactions) AS transactions, sum(amount_minor) AS amount_minor, sum(alerted) AS alerted,
                   sum(fraud) AS fraud, sum(fraud_amount_minor) AS fraud_amount_minor, sum(matured) AS matured
            FROM rates WHERE {" AND ".join(conditions)} GROUP BY ALL
        ), covered AS (
            SELECT DISTINCT date_trunc('{query.bucket}', d)::DATE AS bucket FROM (
                SELECT unnest(generate_series(min(day)::TIMESTAMP, max(day)::TIMESTAMP, INTERVAL 1 DAY)) AS d
                FROM rates WHERE day BETWEEN $first AND $last)
        ), grid AS (
            SELECT bucket, value FROM covered CROSS JOIN (SELECT DISTINCT value FROM cells)
        )
        SELECT bucket, value, coalesce(transactions, 0)::BIGINT AS transactions,
               coalesce(amount_minor, 0)::BIGINT AS amount_minor, coalesce(alerted, 0)::BIGINT AS alerted,
               coalesce(fraud, 0)::BIGINT AS fraud, coalesce(fraud_amount_minor, 0)::BIGINT AS fraud_amount_minor,
               (10000.0 * fraud / nullif(transactions, 0))::DOUBLE AS fraud_bps_count,
               (10000.0 * fraud_amount_minor / nullif(amount_minor, 0))::DOUBLE AS fraud_bps_value,
               (1.0 * matured / nullif(transactions, 0))::DOUBLE AS matured_share
        FROM grid LEFT JOIN cells USING (bucket, value) ORDER BY bucket, value"""
    return sql, parameters
