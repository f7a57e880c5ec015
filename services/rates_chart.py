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
from services.lake_schema import MEASURES, SQUARES
from services.rates_cells import View

HOUR_SECONDS = 3_600
_BANDS = ("bps_count_low", "bps_count_high", "bps_value_low", "bps_value_high")
Sums = dict[str, np.ndarray[Any, Any]]
COLUMNS = (
    "bucket",
    "first",
    "second",
    *MEASURES,
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


@dataclass(frozen=True, slots=True)
class _Groups:
    """The pairs of values a chart has lines for, in order."""

    first: list[str]
    second: list[str]


def chart(db: duckdb.DuckDBPyConnection, parts: Sequence[Part], shape: Shape) -> tuple[pd.DataFrame, Sums]:
    """The frame with COLUMNS, and a row of everything but bucket, first and second over the whole range."""
    read = [part for part in parts if part.view.rows.num_columns]
    sums = [_grouped(db, part, shape) for part in read]
    spans = [_span(part, shape) for part in read]
    covered = [span for span in spans if span is not None]
    total = {name: np.sum([rows[name].sum() for rows in sums], keepdims=True) if sums else np.zeros(1) for name in SUMS}
    if not covered:
        empty = {name: np.zeros(0, dtype=np.int64) for name in SUMS}
        return _framed([], _Groups([], []), empty, shape), with_rates(total)
    buckets = list(_buckets(min(low for low, _ in covered), max(high for _, high in covered), shape))
    groups, cells = _gridded(read, sums, buckets, shape)
    return _framed(buckets, groups, cells, shape), with_rates(total)


def with_rates(sums: Sums) -> Sums:
    """Sums and, from them, rates, bands, `small` and `matured_share`: NaN over nothing, never 0."""
    values = {name: sums[name].astype(np.float64) for name in SUMS}
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
    rated = {
        "fraud_bps_count": 1e4 * values["fraud"] / counted,
        "fraud_bps_value": 1e4 * values["fraud_amount_minor"] / money,
        **dict(zip(_BANDS, (1e4 * band for band in (low, high, value_low, value_high)), strict=True)),
        "small": (values["fraud"] < intervals.SMALL_FRAUD) | (values["transactions"] < intervals.SMALL_TRANSACTIONS),
        "matured_share": values["matured"] / counted,
    }
    return {name: sums[name] for name in MEASURES} | rated


def _grouped(db: duckdb.DuckDBPyConnection, part: Part, shape: Shape) -> Sums:
    """bucket (UTC seconds for hours, else local date), first and second (codes of the view), and SUMS."""
    summed = {name: name for name in SUMS} | {
        "matured": f"CASE WHEN day < {shape.mature_before} THEN transactions ELSE matured END"
    }
    sums = ", ".join(
        f"sum({value})::{'DOUBLE' if name in SQUARES else 'BIGINT'} AS {name}" for name, value in summed.items()
    )
    first, second = _pair(shape)
    conditions = [f"moment >= {part.start}", f"moment < {part.end}", *_conditions(part.view, shape)]
    sql = f"""
        SELECT {_bucket(shape, part.dated)} AS bucket, {first} AS first, {second} AS second, {sums}
        FROM cells WHERE {" AND ".join(conditions)} GROUP BY 1, 2, 3 HAVING sum(transactions) > 0"""
    rows = execute(db, sql, {"cells": part.view.rows}, {})
    return {name: rows[name].to_numpy() for name in rows.column_names}


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


def _span(part: Part, shape: Shape) -> tuple[int, int] | None:
    """The first and the last bucket with any transaction, whatever is filtered."""
    moments = part.view.rows["moment"].to_numpy()
    inside = moments[(moments >= part.start) & (moments < part.end)]
    if not inside.size:
        return None
    low, high = (int(moment) for moment in (inside.min(), inside.max()))
    return _bucket_of(low, part.dated, shape), _bucket_of(high, part.dated, shape)


def _bucket_of(moment: int, dated: bool, shape: Shape) -> int:
    """What `_bucket` says in SQL."""
    if shape.bucket == "hour":
        return moment - (moment + shape.offsets.at(moment)) % HOUR_SECONDS
    return local_time.start_of_bucket(moment if dated else shape.offsets.day(moment), shape.bucket)


def _buckets(low: int, high: int, shape: Shape) -> Iterator[int]:
    """Every bucket from `low` to `high`, both included."""
    while low <= high:
        yield low
        if shape.bucket == "hour":
            low += HOUR_SECONDS
            low -= (low + shape.offsets.at(low)) % HOUR_SECONDS
        else:
            low = local_time.next_bucket(low, shape.bucket)


def _gridded(parts: Sequence[Part], sums: Sequence[Sums], buckets: Sequence[int], shape: Shape) -> tuple[_Groups, Sums]:
    """A row for every group in every bucket, in order; zeros where there was nothing."""
    names: list[list[str]] = [[], []]
    coded = []
    for part, rows in zip(parts, sums, strict=True):
        places = []
        for which, column in enumerate(("first", "second")):
            key = shape.dimensions[which] if which < len(shape.dimensions) else None
            texts = part.view.values[key] if key else (ALL,)
            names[which] += [text for text in texts if text not in set(names[which])]
            at = {text: place for place, text in enumerate(names[which])}
            places.append(np.array([at[text] for text in texts] or [0])[rows[column]])
        coded.append(places)
    ranks = [np.argsort(np.argsort(np.array(texts, dtype=object))) for texts in names]
    width = len(names[1])
    keys = [ranks[0][first] * width + ranks[1][second] for first, second in coded]
    seen = np.unique(np.concatenate(keys))
    starts = np.asarray(buckets)
    cells = {name: np.zeros(len(buckets) * len(seen), dtype=sums[0][name].dtype) for name in SUMS}
    for rows, key in zip(sums, keys, strict=True):
        at_row = np.searchsorted(starts, rows["bucket"]) * len(seen) + np.searchsorted(seen, key)
        for name in SUMS:
            # A bucket can be in two parts, a group of it in each only once.
            cells[name][at_row] += rows[name]
    ordered = [sorted(texts) for texts in names]
    return _Groups([ordered[0][k // width] for k in seen], [ordered[1][k % width] for k in seen]), cells


def _framed(buckets: Sequence[int], groups: _Groups, cells: Sums, shape: Shape) -> pd.DataFrame:
    many, times = len(buckets), len(groups.first)
    begins = pd.DatetimeIndex([_begins(bucket, shape) for bucket in buckets], tz="UTC").as_unit("us")
    again = np.tile(np.arange(times), many)
    columns: dict[str, Any] = {
        "bucket": begins.tz_convert(shape.zone).repeat(times),
        "first": pd.array(groups.first, dtype="str").take(again),
        "second": pd.array(groups.second, dtype="str").take(again),
    }
    return pd.DataFrame(columns | with_rates(cells), copy=False)[list(COLUMNS)]


def _begins(bucket: int, shape: Shape) -> datetime:
    return (
        datetime.fromtimestamp(bucket, UTC) if shape.bucket == "hour" else local_time.start_of_day(bucket, shape.zone)
    )
