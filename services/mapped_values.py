"""Columns of a source -> canonical values, each with what is wrong in which row. Pure.

Rules. An empty cell is missing. Numbers have a point for decimals (texts a comma where `comma`) and nothing for
thousands. An amount is a decimal number of major units; it becomes a whole number of minor units, exactly, and what is
finer is rounded half to even (a floating-point value counts as the shortest decimal that denotes it). Times become
whole milliseconds since 1970 UTC, rounded down; a datetime without an offset is in the mapping's zone (a clock hour
that happens twice: the first time; one that does not happen: an hour later).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.domain.field_checks import MAX_AMOUNT_MINOR, shown
from services.domain.mapping import TimeColumn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = {"ms": 1.0, "s": 1_000.0, "h": 3_600_000.0, "d": 86_400_000.0}
# What the lake can hold (docs/contracts.md); the front door's own limits are narrower.
_FIRST_MS, _LAST_MS = 0, 7_258_118_400_000  # 1970 to 2199


@dataclass(slots=True)
class Column:
    """`values` of the source's length (null or 0 where wrong); `problems`: index -> what is wrong there."""

    values: pa.Array
    problems: dict[int, str] = field(default_factory=dict)


def floats(column: pa.Array, *, comma: bool = False) -> tuple[np.ndarray, dict[int, str]]:
    """float64 with NaN where missing (null, empty, NaN); not-numbers and infinities are problems."""
    kind = column.type
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        numbers = _to_numpy(column.cast(pa.float64(), safe=False))
    elif pa.types.is_string(kind):
        if comma:
            return _parsed_floats(column, comma=True)
        try:
            numbers = _to_numpy(pc.cast(pc.utf8_trim_whitespace(column), pa.float64()))
        except pa.ArrowInvalid:
            return _parsed_floats(column)
    elif pa.types.is_null(kind):
        numbers = np.full(len(column), np.nan)
    else:
        return np.full(len(column), np.nan), dict.fromkeys(range(len(column)), f"is of type {kind}, not a number")
    infinite = np.flatnonzero(np.isinf(numbers))
    return numbers, {int(index): "must be a finite number" for index in infinite}


def _to_numpy(column: pa.Array) -> np.ndarray:
    return np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _parsed_floats(column: pa.Array, *, comma: bool = False) -> tuple[np.ndarray, dict[int, str]]:
    sign, other = (",", ".") if comma else (".", ",")
    numbers, problems = np.full(len(column), np.nan), {}
    for index, text in enumerate(column.to_pylist()):
        if text is None or not (text := text.strip()):
            continue
        try:
            if "_" in text or (comma and other in text):
                raise ValueError
            numbers[index] = float(text.replace(",", ".") if comma else text)
        except ValueError:
            how = f" with a '{sign}' for decimals and nothing for thousands" if other in text else ""
            problems[index] = f"must be a number{how}, got {shown(text)}"
            continue
        if np.isinf(numbers[index]):
            problems[index] = "must be a finite number"
    return numbers, problems


def amounts(column: pa.Array, exponents: np.ndarray, *, minor: bool, comma: bool = False) -> Column:
    """int64 minor units. `exponents` (int, one a row) are those of the rows' currencies; unused where `minor`."""
    numbers, problems = floats(column, comma=comma)
    missing = np.isnan(numbers)
    scale = np.ones(len(numbers)) if minor else 10.0**exponents
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = numbers * scale
        rounded = np.rint(scaled)
        # Near a half the product of floats does not say on which side the decimal is: there, exactly.
        doubtful = np.flatnonzero(np.abs(np.abs(scaled - np.trunc(scaled)) - 0.5) < 1e-3)
    for index in map(int, doubtful):
        exact = _decimal(column[index].as_py(), comma=comma)
        whole = exact.scaleb(0 if minor else int(exponents[index])).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
        rounded[index] = float(whole)
    for index in map(int, np.flatnonzero(missing)):
        problems.setdefault(index, "is missing" if column[index].as_py() in (None, "") else "must be a number, got NaN")
    for index in map(int, np.flatnonzero(numbers < 0)):
        problems.setdefault(index, f"must not be negative, got {shown(column[index].as_py())}")
    for index in map(int, np.flatnonzero(rounded > MAX_AMOUNT_MINOR)):
        problems.setdefault(index, f"is larger than {MAX_AMOUNT_MINOR:,} minor units")
    if minor:
        for index in map(int, np.flatnonzero(scaled != rounded)):
            problems.setdefault(index, "must be a whole number of minor units")
    usable = np.nan_to_num(rounded, nan=0.0, posinf=0.0, neginf=0.0)
    usable[list(problems)] = 0.0
    return Column(pa.array(usable.astype(np.int64)), problems)


def _decimal(value: Any, *, comma: bool) -> Decimal:
    """The shortest decimal that denotes a float; texts and Parquet's decimals as they are."""
    try:
        text = str(value).strip()
        return value if isinstance(value, Decimal) else Decimal(text.replace(",", ".") if comma else text)
    except InvalidOperation as error:
        raise AssertionError("floats() took it for a number") from error


def times(column: pa.Array, spec: TimeColumn, *, required: bool = True) -> Column:
    """int64 milliseconds since 1970 UTC; null where missing, which is a problem where `required`."""
    kind = column.type
    if spec.kind == "number" and not pa.types.is_temporal(kind):
        made = _counted(column, spec)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        made = _stamped(column, spec.zone)
    elif pa.types.is_string(kind) or pa.types.is_null(kind):
        made = _written(column, spec)
    else:
        wrong = f"is of type {kind}, not a date and time (kind = 'number' is for numbers)"
        made = Column(pa.nulls(len(column), pa.int64()), dict.fromkeys(range(len(column)), wrong))
    outside = pc.or_(pc.less(made.values, _FIRST_MS), pc.greater_equal(made.values, _LAST_MS))
    if pc.any(outside).as_py():
        for index in map(int, np.flatnonzero(outside.fill_null(False).to_numpy(zero_copy_only=False))):
            made.problems.setdefault(index, "lies outside the years 1970 to 2199")
    if required and made.values.null_count:
        for index in map(int, np.flatnonzero(made.values.is_null().to_numpy(zero_copy_only=False))):
            made.problems.setdefault(index, "is missing")
    return made


def _counted(column: pa.Array, spec: TimeColumn) -> Column:
    numbers, problems = floats(column)
    origin = 0.0 if spec.origin is None else (spec.origin - EPOCH) / timedelta(milliseconds=1)
    with np.errstate(over="ignore", invalid="ignore"):
        moments = np.floor(origin + numbers * MS[spec.unit] + 1e-6)
    missing = np.isnan(numbers)
    far = np.abs(np.nan_to_num(moments)) > 2.0**62
    moments = np.where(missing | far, 0.0, moments)
    problems |= {int(i): "lies outside the years 1970 to 2199" for i in np.flatnonzero(far) if int(i) not in problems}
    return Column(pa.array(moments.astype(np.int64), mask=missing | far), problems)


def _stamped(column: pa.Array, zone: str) -> Column:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if column.type.tz is None and zone != "UTC":
        # By Python's rules, as for text: Arrow's end in 2037.
        local = ZoneInfo(zone)
        cells = column.cast(pa.timestamp("ms"), safe=False).to_pylist()
        return Column(pa.array([None if cell is None else _ms(cell, local) for cell in cells], pa.int64()))
    per_ms = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}[column.type.unit]
    missing = column.is_null().to_numpy(zero_copy_only=False)
    raw = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    ms = raw * 1_000 if per_ms == 0.001 else raw // int(per_ms)
    return Column(pa.array(ms, pa.int64(), mask=missing))


def _written(column: pa.Array, spec: TimeColumn) -> Column:
    zone = ZoneInfo(spec.zone)
    read: Callable[[str], datetime]
    if spec.format is None:
        read = datetime.fromisoformat
    else:
        form = spec.format
        read = lambda text: datetime.strptime(text, form)  # noqa: E731
    values: list[int | None] = []
    problems: dict[int, str] = {}
    for index, text in enumerate(column.to_pylist()):
        if text is None or not (text := text.strip()):
            values.append(None)
            continue
        try:
            values.append(_ms(read(text), zone))
        except (ValueError, OverflowError):
            wanted = "like 2026-01-31 12:00:00" if spec.format is None else f"in the format {spec.format}"
            problems[index] = f"must be a date and time {wanted}, got {shown(text)}"
            values.append(None)
    return Column(pa.array(values, pa.int64()), problems)


def _ms(moment: datetime, zone: ZoneInfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone if zone.key != "UTC" else UTC)
    return (moment - EPOCH) // timedelta(milliseconds=1)
