"""Transactions of some days -> the rows of `rates_hourly` for these days. Pure.

A day with few cells has nothing but cells. A large one has cuboids besides: the sums of the whole UTC day by each set
of up to three dimensions, and by all of them, so that a chart of a year reads thousands of rows in place of millions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import duckdb
import pyarrow as pa

from services.domain.dimensions import ALL, DEFAULT, Dimension
from services.lake_engine import without_zones
from services.lake_queries import SUMS, day_cuboid, source_column, value_sql
from services.lake_schema import CELLS, CUBOID_DIMENSIONS, CUBOID_ROWS, MATURITY_DAYS, rates_schema


def inputs(dimensions: Sequence[Dimension] = DEFAULT) -> tuple[str, ...]:
    """The columns of `transactions` that a rollup by these dimensions reads."""
    measured = ("event_time", "amount_minor", "alert_status", "label")
    return tuple(dict.fromkeys([*measured, *(source_column(dimension) for dimension in dimensions)]))


def hourly_rates(transactions: pa.Table, now: datetime, dimensions: Sequence[Dimension] = DEFAULT) -> pa.Table:
    """The rollup in the schema of `rates_hourly`.

    `transactions` has the columns of `inputs` and holds whole UTC days. Fraud and genuine are counted by the label
    known now; a transaction is matured when it is labelled (whatever the label says) or when the UTC day it happened on
    ended MATURITY_DAYS or more before `now`.
    """
    keys = [dimension.key for dimension in dimensions]
    with duckdb.connect(config={"threads": 2}) as db:
        db.register("happened", without_zones(transactions))
        db.execute(_cells_sql(dimensions), {"mature_before": mature_before(now)})
        days = db.sql(f"SELECT day FROM cells GROUP BY day HAVING count(*) >= {CUBOID_ROWS}").fetchall()
        parts = [f"SELECT * EXCLUDE (day), '{CELLS}' AS cuboid FROM cells"]
        if days:
            db.execute(_whole_days_sql(keys))
            kept = [c for size in range(CUBOID_DIMENSIONS + 1) for c in combinations(keys, size)]
            parts += [_cuboid_sql(keys, cuboid) for cuboid in dict.fromkeys([*kept, tuple(keys)])]
        names = rates_schema(keys).names
        rows = db.sql(
            f"SELECT {_listed(names)} FROM ({' UNION ALL BY NAME '.join(parts)}) ORDER BY hour, cuboid, minute"
        )
        return rows.to_arrow_table().cast(rates_schema(keys))


def mature_before(now: datetime) -> date:
    """The first UTC day that is not mature by its age alone."""
    return (now.astimezone(UTC) - timedelta(days=MATURITY_DAYS)).date()


def _cells_sql(dimensions: Sequence[Dimension]) -> str:
    values = ", ".join(f'{value_sql(dimension)} AS "{dimension.key}"' for dimension in dimensions)
    return f"""
        CREATE TEMP TABLE cells AS
        SELECT date_trunc('hour', event_time) AS hour, (minute(event_time) // 15 * 15)::INTEGER AS minute,
               event_time::DATE AS day, {values},
               count(*) AS transactions,
               coalesce(sum(amount_minor), 0)::BIGINT AS amount_minor,
               count(*) FILTER (alert_status IS NOT NULL) AS alerted,
               coalesce(sum(amount_minor) FILTER (alert_status IS NOT NULL), 0)::BIGINT AS alerted_amount_minor,
               count(*) FILTER (label = 'fraud') AS fraud,
               coalesce(sum(amount_minor) FILTER (label = 'fraud'), 0)::BIGINT AS fraud_amount_minor,
               count(*) FILTER (label = 'genuine') AS genuine,
               count(*) FILTER (label IS NOT NULL OR event_time::DATE < $mature_before) AS matured,
               coalesce(sum(amount_minor::DOUBLE * amount_minor), 0) AS amount_squared,
               coalesce(sum(amount_minor::DOUBLE * amount_minor) FILTER (label = 'fraud'), 0) AS fraud_amount_squared
        FROM happened GROUP BY ALL"""


def _whole_days_sql(keys: Sequence[str]) -> str:
    """The sums by day and all dimensions, which every smaller cuboid is made from."""
    return f"""
        CREATE TEMP TABLE whole_days AS
        SELECT day, {_listed(keys)}, {_summed()} FROM cells
        WHERE day IN (SELECT day FROM cells GROUP BY day HAVING count(*) >= {CUBOID_ROWS}) GROUP BY ALL"""


def _cuboid_sql(keys: Sequence[str], kept: Sequence[str]) -> str:
    values = ", ".join(f'"{key}"' if key in kept else f"'{ALL}' AS \"{key}\"" for key in keys)
    return f"""
        SELECT day::TIMESTAMP AS hour, 0::INTEGER AS minute, '{day_cuboid(kept)}' AS cuboid, {values}, {_summed()}
        FROM whole_days GROUP BY ALL"""


def _summed() -> str:
    return ", ".join(f"sum({name})::{'DOUBLE' if 'squared' in name else 'BIGINT'} AS {name}" for name in SUMS)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
