"""Sums of the rollup -> the frame of a chart: a person's buckets, every group in each of them, rates and bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from services.domain import intervals, local_time
from services.domain.dimensions import ALL
from services.domain.local_time import DAY_SECONDS, Offsets
from services.lake_engine import execute
from services.lake_queries import SUMS
from services.rates_cells import View

HOUR_SECONDS = 3_600
_BANDS = ("bps_count_low", "bps_count_high", "bps_value_low", "bps_value_high")
COUNTED = (
    "transactions",
    "amount_minor",
    "alerted",
    "alerted_amount_minor",
    "fraud",
    "fraud_amount_minor",
    "genuine",
    "matured",
)
COLUMNS = (
    "bucket",
    "first",
    "second",
    *COUNTED,
    "fraud_bps_count",
    "fraud_bps_value",
    *_BANDS,
    "small",
    "matured_share",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A view and which of its sums belong: start <= `moment` < end, in UTC seconds, or in local dates if `dated`."""

    view: View
    start: int
    end: int
    dated: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """How the sums are grouped: by `bucket` of the zone with these offsets, and by the columns `dimensions`."""

    bucket: str
    zone: str
    offsets: Offsets
    dimensions: tuple[str, ...]
    filters: dict[str, tuple[str, ...]]
    # Days since 1970: earlier ones are mature by their age.
    mature_before: int


def chart(db: duckdb.DuckDBPyConnection, parts: Sequence[Part], shape: Shape) -> tuple[pd.DataFrame, dict[str, float]]:
    """The frame with COLUMNS, and the sums over all of it (SUMS)."""
    read = [part for part in parts if part.view.rows.num_columns]
    sums = [_grouped(db, part, shape) for part in read]
    spans = [_span(db, part, shape) for part in read]
    covered = [span for span in spans if span is not None]
    if not covered:
        return with_rates(_empty(shape), SUMS), dict.fromkeys(SUMS, 0)
    frame = pd.concat(sums, ignore_index=True)
    if len(sums) > 1:
        frame = frame.groupby(["bucket", "first", "second"], as_index=False, sort=False).sum()
    totals = {name: frame[name].to_numpy().sum().item() for name in SUMS}
    buckets = list(_buckets(min(low for low, _ in covered), max(high for _, high in covered), shape))
    return with_rates(_gridded(frame, buckets, shape), SUMS), totals


def with_rates(frame: pd.DataFrame, sums: Sequence[str]) -> pd.DataFrame:
    """Adds rates, bands, `small` and `matured_share` to summed columns; null over nothing, never 0."""
    values = {name: frame[name].to_numpy(dtype=np.float64) for name in sums}
    counted = np.where(values["transactions"] > 0, values["transactions"], np.nan)
    money = np.where(values["amount_minor"] > 0, values["amount_minor"], np.nan)
    low, high = intervals.wilson(values["fraud"], values["transactions"])
    value_low, value_high = intervals.ratio(
        values["fraud_amount_minor"],
        values["amount_minor"],
        values["fraud_amount_squared"],
        values["amount_squared"],
        values["fraud"],
    )
    added = {
        "fraud_bps_count": 1e4 * values["fraud"] / counted,
        "fraud_bps_value": 1e4 * values["fraud_amount_minor"] / money,
        **dict(zip(_BANDS, (1e4 * band for band in (low, high, value_low, value_high)), strict=True)),
        "small": (values["fraud"] < intervals.SMALL_FRAUD) | (values["transactions"] < intervals.SMALL_TRANSACTIONS),
        "matured_share": values["matured"] / counted,
    }
    return frame.assign(**added)[list(COLUMNS)]


def _grouped(db: duckdb.DuckDBPyConnection, part: Part, shape: Shape) -> pd.DataFrame:
    """bucket (UTC seconds for hours, else local date), first, second (texts) and SUMS of one part."""
    summed = {name: name for name in SUMS} | {
        "matured": f"CASE WHEN day < {shape.mature_before} THEN transactions ELSE matured END"
    }
    sums = ", ".join(
        f"sum({value})::{'DOUBLE' if 'squared' in name else 'BIGINT'} AS {name}" for name, value in summed.items()
    )
    first, second = _pair(shape)
    conditions = [f"moment >= {part.start}", f"moment < {part.end}", *_conditions(part.view, shape)]
    sql = f"""
        SELECT {_bucket(shape, part.dated)} AS bucket, {first} AS first, {second} AS second, {sums}
        FROM cells WHERE {" AND ".join(conditions)} GROUP BY 1, 2, 3 HAVING sum(transactions) > 0"""
    rows = execute(db, sql, {"cells": part.view.rows}, {})
    frame = rows.select(["bucket", *SUMS]).to_pandas()
    for place, key in zip(("first", "second"), (*shape.dimensions, "", "")[:2], strict=True):
        texts = pd.array(list(part.view.values[key]) if key else [ALL], dtype="str")
        frame[place] = texts.take(rows[place].to_numpy())
    return frame


def _pair(shape: Shape) -> tuple[str, str]:
    quoted = [f'"{key}"' for key in shape.dimensions] + ["0", "0"]
    return quoted[0], quoted[1]


def _conditions(view: View, shape: Shape) -> Iterator[str]:
    for key, accepted in shape.filters.items():
        codes = [str(code) for code, value in enumerate(view.values[key]) if value in accepted]
        yield f'"{key}" IN ({", ".join(codes) or "-1"})'


def _bucket(shape: Shape, dated: bool) -> str:
    if shape.bucket == "hour":
        return f"moment - (moment + {_offset(shape.offsets)}) % {HOUR_SECONDS}"
    day = "moment" if dated else f"((moment + {_offset(shape.offsets)}) // {DAY_SECONDS})"
    if shape.bucket == "week":
        return f"{day} - ({day} + 3) % 7"
    if shape.bucket == "month":
        return f"(date_trunc('month', DATE '1970-01-01' + {day}::INTEGER)::DATE - DATE '1970-01-01')"
    return day


def _offset(offsets: Offsets) -> str:
    begun = " ".join(f"WHEN moment >= {at} THEN {seconds}" for at, seconds in reversed(offsets.changes))
    return f"(CASE {begun} ELSE {offsets.first} END)" if begun else str(offsets.first)


def _span(db: duckdb.DuckDBPyConnection, part: Part, shape: Shape) -> tuple[int, int] | None:
    """The first and the last bucket with any transaction, whatever is filtered."""
    bucket = _bucket(shape, part.dated)
    sql = f"""
        SELECT min({bucket}) AS low, max({bucket}) AS high FROM cells
        WHERE moment >= {part.start} AND moment < {part.end}"""
    (row,) = execute(db, sql, {"cells": part.view.rows}, {}).to_pylist()
    return None if row["low"] is None else (row["low"], row["high"])


def _buckets(low: int, high: int, shape: Shape) -> Iterator[int]:
    """Every bucket from `low` to `high`, both included."""
    while low <= high:
        yield low
        if shape.bucket == "hour":
            low += HOUR_SECONDS
            low -= (low + shape.offsets.at(low)) % HOUR_SECONDS
        else:
            low = local_time.next_bucket(low, shape.bucket)


def _gridded(sums: pd.DataFrame, buckets: Sequence[int], shape: Shape) -> pd.DataFrame:
    """A row for every group in every bucket, in order; zeros where there was nothing."""
    groups = sums[["first", "second"]].drop_duplicates().sort_values(["first", "second"], ignore_index=True)
    group = pd.MultiIndex.from_frame(groups).get_indexer(pd.MultiIndex.from_frame(sums[["first", "second"]]))
    rows = np.searchsorted(np.asarray(buckets), sums["bucket"].to_numpy()) * len(groups) + group
    columns: dict[str, Any] = {
        "bucket": pd.DatetimeIndex([_begins(bucket, shape) for bucket in buckets]).as_unit("us").repeat(len(groups)),
        "first": groups["first"].array.take(np.tile(np.arange(len(groups)), len(buckets))),
        "second": groups["second"].array.take(np.tile(np.arange(len(groups)), len(buckets))),
    }
    for name in SUMS:
        values = sums[name].to_numpy()
        dense = np.zeros(len(buckets) * len(groups), dtype=values.dtype)
        dense[rows] = values
        columns[name] = dense
    frame = pd.DataFrame(columns)
    frame["bucket"] = frame["bucket"].dt.tz_convert(shape.zone)
    return frame


def _begins(bucket: int, shape: Shape) -> datetime:
    return (
        datetime.fromtimestamp(bucket, UTC) if shape.bucket == "hour" else local_time.start_of_day(bucket, shape.zone)
    )


def _empty(shape: Shape) -> pd.DataFrame:
    texts = pd.array([], dtype="str")
    frame = pd.DataFrame({"bucket": pd.DatetimeIndex([], tz="UTC").as_unit("us").tz_convert(shape.zone)})
    frame = frame.assign(first=texts, second=texts)
    return frame.assign(**{name: np.zeros(0, dtype=np.int64) for name in SUMS})
