"""Every query of the lake, defined once in DuckDB's SQL: `services.lake_engine` runs it here, Athena where configured.

Only SQL that both understand is used, and sqlglot translates the rest; tests compile every query for Athena. Times of
the lake are compared with text cast to TIMESTAMP and computed with as seconds since 1970: neither needs a time zone.
Names in the text come from schemas and from validated mappings; every value is a parameter ($name).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow.compute as pc

from services.domain.dimensions import AMOUNT_BAND, AMOUNT_BANDS, ATTRIBUTES, UNKNOWN, Dimension
from services.domain.local_time import DAY_SECONDS, EPOCH, Offsets
from services.lake_schema import CELLS, MEASURES, RATES_TABLE, SQUARES, TRANSACTIONS_TABLE

Parameters = Mapping[str, str | int]
# Columns of a transaction that a drill-down shows, besides the dimensions.
SHOWN = ("transaction_id", "event_time", "amount_minor", "currency", "customer_id", "merchant_name")
JUDGED = ("score", "decision", "alert_status", "label", "label_source")
SUMS = (*MEASURES, *SQUARES)


@dataclass(frozen=True, slots=True)
class LakeQuery:
    """One query of one table. `columns` are all it reads; `only` narrows, per day, what has to be read (None: all)."""

    name: str
    table: str
    sql: str
    parameters: Parameters
    columns: tuple[str, ...]
    only: Callable[[date], pc.Expression | None] = lambda _day: None


def value_sql(dimension: Dimension) -> str:
    """The value of a dimension of one row of `transactions`: never null."""
    if dimension.column == AMOUNT_BAND:
        bands = " ".join(f"WHEN amount_minor < {bound} THEN '{name}'" for bound, name in AMOUNT_BANDS if bound)
        return f"CASE {bands} WHEN amount_minor IS NULL THEN '{UNKNOWN}' ELSE '{AMOUNT_BANDS[-1][1]}' END"
    if dimension.column.startswith(ATTRIBUTES):
        name = dimension.column.removeprefix(ATTRIBUTES)
        return f"coalesce(json_extract_string(attributes, '$.\"{name}\"'), '{UNKNOWN}')"
    return f"coalesce({dimension.column}, '{UNKNOWN}')"


def source_column(dimension: Dimension) -> str:
    """The column of `transactions` that `value_sql` reads."""
    if dimension.column == AMOUNT_BAND:
        return "amount_minor"
    return "attributes" if dimension.column.startswith(ATTRIBUTES) else dimension.column


def day_cuboid(keys: Sequence[str]) -> str:
    """The cuboid of sums by UTC day and these dimensions, in the rollup's order."""
    return f"day:{','.join(keys)}"


def cells(keys: Sequence[str], first: date, last: date, offsets: Offsets | None) -> LakeQuery:
    """Sums of the quarter hours of the UTC days first..last by these dimensions.

    Columns: day (UTC, since 1970), moment, the keys, SUMS. `moment` is the local date since 1970, or without `offsets`
    the UTC second at which the quarter hour begins.
    """
    at = _second() if offsets is None else _local_date(_second(), offsets)
    sql = f"""
        SELECT {_floor("epoch(hour)")} AS day, {at} AS moment, {_listed(keys)}
               {_sums()}
        FROM rates_hourly WHERE {_days()} AND cuboid = '{CELLS}'
        GROUP BY {_ordinals(2 + len(keys))}"""
    columns = ("hour", "minute", "cuboid", *keys, *SUMS)
    wanted = pc.field("cuboid") == CELLS
    return LakeQuery("cells", RATES_TABLE.name, sql, _range(first, last), columns, lambda _: wanted)


def daily_cells(keys: Sequence[str], cuboid: str, first: date, last: date, offsets: Offsets) -> LakeQuery:
    """The same by local date, for days that have cuboids: from sums by UTC day.

    A UTC day counts as the local date of its noon; only the quarter hours of another local date are read besides, and
    moved there. So a viewer two hours off UTC reads two hours of cells, not 24.
    """
    noon = f"{_floor('epoch(hour)')} * {DAY_SECONDS} + {DAY_SECONDS // 2}"
    inner = ", ".join(SUMS)
    sql = f"""
        WITH placed AS (
            SELECT {_floor("epoch(hour)")} AS day, cuboid, {_local_date(_second(), offsets)} AS own,
                   {_local_date(noon, offsets)} AS main, {_listed(keys)} {inner}
            FROM rates_hourly WHERE {_days()} AND cuboid IN ('{CELLS}', $cuboid)
        ), moved AS (
            SELECT day, main AS moment, 1 AS sign, {_listed(keys)} {inner} FROM placed WHERE cuboid = $cuboid
            UNION ALL
            SELECT day, own AS moment, 1 AS sign, {_listed(keys)} {inner} FROM placed
            WHERE cuboid = '{CELLS}' AND own <> main
            UNION ALL
            SELECT day, main AS moment, -1 AS sign, {_listed(keys)} {inner} FROM placed
            WHERE cuboid = '{CELLS}' AND own <> main
        )
        SELECT day, moment, {_listed(keys)} {_sums("sign * ")}
        FROM moved GROUP BY {_ordinals(2 + len(keys))} HAVING sum(sign * transactions) > 0"""

    def only(day: date) -> pc.Expression:
        stored = pc.field("cuboid") == cuboid
        hours = _elsewhere(day, offsets)
        if not hours:
            return stored
        between = (pc.field("hour") >= hours[0]) & (pc.field("hour") <= hours[-1])
        return stored | ((pc.field("cuboid") == CELLS) & between)

    columns = ("hour", "minute", "cuboid", *keys, *SUMS)
    parameters = {**_range(first, last), "cuboid": cuboid}
    return LakeQuery("daily_cells", RATES_TABLE.name, sql, parameters, columns, only)


def values(keys: Sequence[str], first: date, last: date, *, dense: bool) -> LakeQuery:
    """How many transactions had which value, by UTC day: day, dimension, value, transactions. `dense`: from cuboids."""
    cuboids = {key: day_cuboid([key]) if dense else CELLS for key in keys}
    each = [
        f"""SELECT {_floor("epoch(hour)")} AS day, '{key}' AS dimension, "{key}" AS value,
                   CAST(sum(transactions) AS BIGINT) AS transactions
            FROM rates_hourly WHERE {_days()} AND cuboid = '{cuboid}' GROUP BY 1, 2, 3"""
        for key, cuboid in cuboids.items()
    ]
    columns = ("hour", "cuboid", *keys, "transactions")
    wanted = pc.field("cuboid").isin(sorted(set(cuboids.values())))
    sql = " UNION ALL ".join(each)
    return LakeQuery("values", RATES_TABLE.name, sql, _range(first, last), columns, lambda _: wanted)


def drill_down(
    dimensions: Sequence[Dimension],
    start: datetime,
    end: datetime,
    filters: Mapping[str, Sequence[str]],
    *,
    only_fraud: bool,
    after: tuple[str, str] | None,
    limit: int,
) -> LakeQuery:
    """Transactions with start <= event_time < end, newest first, at most `limit`, and how many match in all.

    `after` is the (event time, id) of the last row of the page before.
    """
    parameters: dict[str, str | int] = {"start": _text(start), "end": _text(end)}
    where = ["event_time >= CAST($start AS TIMESTAMP(6))", "event_time < CAST($end AS TIMESTAMP(6))"]
    for number, dimension in enumerate(d for d in dimensions if filters.get(d.key)):
        names = [f"f{number}_{at}" for at in range(len(filters[dimension.key]))]
        where.append(f"{value_sql(dimension)} IN ({', '.join(f'${name}' for name in names)})")
        parameters |= dict(zip(names, filters[dimension.key], strict=True))
    if only_fraud:
        where.append("label = 'fraud'")
    page = ""
    if after is not None:
        page = """WHERE event_time < CAST($after AS TIMESTAMP(6))
                  OR (event_time = CAST($after AS TIMESTAMP(6)) AND transaction_id > $after_id)"""
        parameters |= {"after": after[0], "after_id": after[1]}
    values = "".join(f', {value_sql(d)} AS "{d.key}"' for d in dimensions)
    names_ = (*SHOWN, *JUDGED)
    columns = tuple(dict.fromkeys([*names_, *(source_column(d) for d in dimensions)]))
    sql = f"""
        WITH matching AS (SELECT {", ".join(columns)} FROM transactions WHERE {" AND ".join(where)}),
        page AS (
            SELECT * FROM matching {page} ORDER BY event_time DESC, transaction_id LIMIT {int(limit)}
        )
        SELECT {", ".join(f"p.{name} AS shown_{name}" for name in names_)}{values},
               (SELECT count(*) FROM matching) AS matching
        FROM page AS p ORDER BY p.event_time DESC, p.transaction_id"""

    inside = (pc.field("event_time") >= start) & (pc.field("event_time") < end)
    if only_fraud:
        inside &= pc.field("label") == "fraud"
    return LakeQuery("drill_down", TRANSACTIONS_TABLE.name, sql, parameters, columns, lambda _: inside)


def _second() -> str:
    return '(CAST(epoch(hour) AS BIGINT) + 60 * "minute")'


def _floor(second: str) -> str:
    """Whole days in seconds since 1970."""
    return f"CAST(floor({second} / {DAY_SECONDS}.0) AS BIGINT)"


def _local_date(second: str, offsets: Offsets) -> str:
    offset = str(offsets.first)
    if offsets.changes:
        # The latest change first: the first one that has begun decides.
        begun = " ".join(f"WHEN {second} >= {at} THEN {seconds}" for at, seconds in reversed(offsets.changes))
        offset = f"(CASE {begun} ELSE {offsets.first} END)"
    return _floor(f"({second} + {offset})")


def _elsewhere(day: date, offsets: Offsets) -> list[datetime]:
    """The hours of a UTC day with moments that are not of its noon's local date."""
    midnight = (day - EPOCH).days * DAY_SECONDS
    main = offsets.day(midnight + DAY_SECONDS // 2)
    quarters = range(midnight, midnight + DAY_SECONDS, 900)
    hours = sorted({second // 3600 * 3600 for second in quarters if offsets.day(second) != main})
    return [datetime.fromtimestamp(hour, UTC) for hour in hours]


def _days() -> str:
    return "hour >= CAST($first AS TIMESTAMP(6)) AND hour < CAST($end AS TIMESTAMP(6))"


def _range(first: date, last: date) -> dict[str, str | int]:
    """The hours of whole days. A clock can say 31 December 9999, after which there is no day."""
    end = f"{last + timedelta(days=1)} 00:00:00" if last < date.max else f"{last} 23:59:59.999999"
    return {"first": f"{first} 00:00:00", "end": end}


def _listed(keys: Sequence[str]) -> str:
    return "".join(f'"{key}", ' for key in keys)


def _sums(sign: str = "") -> str:
    whole = ", ".join(f"CAST(sum({sign}{name}) AS BIGINT) AS {name}" for name in MEASURES)
    return f"{whole}, {', '.join(f'sum({sign}{name}) AS {name}' for name in SQUARES)}"


def _ordinals(count: int) -> str:
    return ", ".join(str(number) for number in range(1, count + 1))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
