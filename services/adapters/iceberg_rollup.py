"""Gives the rollup's table the columns of a mapping, when that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_catalog import translated
from services.lake_schema import RATES_TABLE, rates_schema

# Small row groups: a chart reads one cuboid and some hours of a day, not all of it.
_PROPERTIES: dict[str, Any] = {"write.parquet.row-group-limit": "16384"}


def prepare_rollup(lake: IcebergLake, keys: Sequence[str]) -> None:
    """Add what is missing; columns of former dimensions stay, for the snapshots that have them. Repeating is free."""
    wanted = pa.schema([field.with_nullable(True) for field in rates_schema(keys)])
    table = lake.table(RATES_TABLE.name)
    with translated():
        if _PROPERTIES.items() - table.properties.items():
            with table.transaction() as change:
                change.set_properties(**_PROPERTIES)
        if set(wanted.names) - {field.name for field in table.schema().fields}:
            with table.update_schema() as update:
                update.union_by_name(pa.schema([f for f in wanted if f.name not in table.schema().column_names]))


def stored_columns(lake: IcebergLake) -> tuple[str, ...]:
    """Every dimension the table has a column for."""
    return tuple(lake.table(RATES_TABLE.name).schema().column_names)
