"""Fraud rates over time by any dimension, from the lake's rollup, and the transactions behind a point of a chart.

fraud_bps_count = 10,000 x fraud / transactions; fraud_bps_value = 10,000 x fraud amount / amount, gross of what was
recovered. Fraud is what is labelled fraud now: young buckets still rise, and `matured_share` says how far they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import duckdb
import pandas as pd

from services import rates_drill
from services.domain import local_time
from services.domain.dimensions import ALL, AMOUNT_BAND, AMOUNT_BANDS, Dimension
from services.domain.intervals import SMALL_FRAUD, SMALL_TRANSACTIONS
from services.domain.local_time import DAY_SECONDS, EPOCH
from services.errors import InvalidData
from services.lake import Lake
from services.lake_engine import Engine, execute
from services.lake_schema import MATURITY_DAYS
from services.rates_cells import Cells, RollupState
from services.rates_chart import COLUMNS, Part, Shape, Sums, chart
from services.rates_drill import DrillDown

__all__ = [
    "ALL", "COLUMNS", "SMALL_FRAUD", "SMALL_TRANSACTIONS", "Bucket", "Dimension", "DrillDown", "Rates", "RatesQuery",
    "RatesResult", "RatesTotal",
]  # fmt: skip

Bucket = Literal["hour", "day", "week", "month"]
_BUCKETS = ("hour", "day", "week", "month")
_CELL_SECONDS = 900


@dataclass(frozen=True, slots=True)
class RatesQuery:
    """start <= event_time < end, both aware and on whole quarter hours. `zone`: the viewer's, an IANA name.

    Days, weeks (from Monday) and months begin at local midnight. `dimensions`: none, one or two keys.
    `filters`: key -> accepted values; none accepted means no filter.
    """

    start: datetime
    end: datetime
    bucket: Bucket = "day"
    zone: str = "UTC"
    dimensions: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RatesTotal:
    """The sums and rates of a whole range, as in a row of the frame; rates and bands are None where that is null."""

    transactions: int
    amount_minor: int
    alerted: int
    alerted_amount_minor: int
    fraud: int
    fraud_amount_minor: int
    genuine: int
    matured: int
    fraud_bps_count: float | None
    fraud_bps_value: float | None
    bps_count_low: float | None
    bps_count_high: float | None
    bps_value_low: float | None
    bps_value_high: float | None
    small: bool
    matured_share: float | None


@dataclass(frozen=True, slots=True)
class RatesResult:
    """`frame` has COLUMNS, ordered by bucket, first, second.

    `bucket` is when it begins, in the query's zone; `first` and `second` are the values of the dimensions, "all" where
    there is none. Every pair seen in the range has a row in every bucket from the first to the last that has any
    transactions, filtered or not. Rates, matured_share and bands are null where there were no transactions (or no
    amount). `bps_count_*` is Wilson's 95 % interval; `bps_value_*` the ratio estimator's (`services.domain.intervals`),
    null below SMALL_FRAUD frauds. `small`: fewer than SMALL_FRAUD frauds or SMALL_TRANSACTIONS transactions.
    matured: labelled, or of a UTC day that ended MATURITY_DAYS ago. `current_to`: how far the lake was complete.
    """

    frame: pd.DataFrame
    total: RatesTotal
    current_to: datetime | None
    snapshot_id: int | None


class Rates:
    """Reads days of the rollup when a chart first needs them. Safe to share between threads.

    Every call raises Unavailable(dependency="S3") when that does not answer, and InvalidData for what cannot be asked.
    """

    def __init__(
        self,
        lake: Lake,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lake, self._engine, self._clock = lake, engine, clock
        self._cells = Cells(lake, engine, monotonic)
        self._db = duckdb.connect(config={"threads": 2})

    def dimensions(self) -> tuple[Dimension, ...]:
        """What the rollup can be broken down by, in the order of the mapping it was made with."""
        return self._cells.state().dimensions

    def values(self, key: str) -> tuple[str, ...]:
        """The values there are, by number of transactions; amount bands from the smallest, all of them."""
        state = self._cells.state()
        (dimension,) = _require(state, [key])
        if dimension.column == AMOUNT_BAND:
            return tuple(name for _, name in AMOUNT_BANDS)
        if state.small:
            view = self._cells.all_quarters(state)
            column, where = key, "true"
        else:
            view = self._cells.counted_values(state)
            if key not in view.values.get("dimension", ()):
                return ()
            column, where = "value", f"dimension = {view.values['dimension'].index(key)}"
        if not view.rows.num_columns:
            return ()
        sql = f'SELECT "{column}" AS code, sum(transactions) AS many FROM counted WHERE {where} GROUP BY 1'
        counted = execute(self._db, sql, {"counted": view.rows}, {}).to_pylist()
        found = sorted((-row["many"], view.values[column][row["code"]]) for row in counted)
        return tuple(value for _, value in found)

    def table(self, query: RatesQuery) -> RatesResult:
        """The sums and rates of a chart."""
        _check(query)
        state = self._cells.state()
        _require(state, [*query.dimensions, *query.filters])
        start, end = int(query.start.timestamp()), int(query.end.timestamp())
        shape = Shape(
            bucket=query.bucket,
            zone=query.zone,
            offsets=local_time.offsets(query.zone, start, end),
            dimensions=query.dimensions,
            filters={key: tuple(values) for key, values in query.filters.items() if values},
            mature_before=self._mature_before(),
        )
        frame, total = chart(self._db, self._parts(state, query, shape, start, end), shape)
        return RatesResult(frame, _total(total), state.current_to, state.snapshot_id)

    def former(self, query: RatesQuery) -> RatesQuery:
        """The period right before: as many months for whole months, else as many local days, else as many seconds."""
        zone = local_time.zone_of(query.zone)
        start, end = query.start.astimezone(zone), query.end.astimezone(zone)
        first, after = start.date(), end.date()
        if not (_midnight(query.start, query.zone) and _midnight(query.end, query.zone)):
            return replace(query, start=(query.start.astimezone(UTC) - (query.end - query.start)), end=query.start)
        if first.day == 1 and after.day == 1:
            months = first.year * 12 + first.month - 1 - ((after.year - first.year) * 12 + after.month - first.month)
            former = date(months // 12, months % 12 + 1, 1)
        else:
            former = first - (after - first)
        return replace(query, start=local_time.start_of_day((former - EPOCH).days, query.zone), end=query.start)

    def transactions(
        self, query: RatesQuery, *, only_fraud: bool = False, limit: int = 200, cursor: str | None = None
    ) -> DrillDown:
        """The transactions of the range that pass the filters, newest first, at most `limit` (1..1,000).

        Reads the days of the range only. The pages of one cursor are of one snapshot of the lake.
        """
        _check(query)
        state = self._cells.state()
        _require(state, [*query.filters])
        return rates_drill.drill_down(
            self._lake, self._engine, state.dimensions, query, only_fraud=only_fraud, limit=limit, cursor=cursor
        )

    def held_bytes(self) -> int:
        """Memory held for charts."""
        return self._cells.held_bytes()

    def _mature_before(self) -> int:
        return ((self._clock().astimezone(UTC) - timedelta(days=MATURITY_DAYS)).date() - EPOCH).days

    def _parts(self, state: RollupState, query: RatesQuery, shape: Shape, start: int, end: int) -> list[Part]:
        """The views a chart is made from: whole local days by day, what is cut off them by quarter hour."""
        keys = tuple(key for key in state.keys if key in {*query.dimensions, *shape.filters})

        def quarters(low: int, high: int) -> list[Part]:
            if low >= high:
                return []
            return [Part(self._cells.quarters(state, keys, _day(low), _day(high - 1)), low, high, dated=False)]

        if query.bucket == "hour" or state.small:
            return quarters(start, end)
        first, last = shape.offsets.day(start), shape.offsets.day(end - 1)
        first += _begin(first, query.zone) < start
        last -= _begin(last + 1, query.zone) > end
        if first > last:
            return quarters(start, end)
        low, high = _begin(first, query.zone), _begin(last + 1, query.zone)
        whole = self._cells.local_days(state, keys, query.zone, _day(low), _day(high - 1))
        return [*quarters(start, low), Part(whole, first, last + 1, dated=True), *quarters(high, end)]


def _check(query: RatesQuery) -> None:
    local_time.zone_of(query.zone)
    if query.bucket not in _BUCKETS:
        raise InvalidData(f"Rates are by hour, day, week or month, not by {query.bucket!r}.")
    if query.start.tzinfo is None or query.end.tzinfo is None:
        raise InvalidData("The range needs times with a time zone.")
    if query.end <= query.start:
        raise InvalidData("The range ends before it starts.")
    if any(moment.timestamp() % _CELL_SECONDS for moment in (query.start, query.end)):
        raise InvalidData("The range must begin and end on a whole quarter of an hour.")
    if len(query.dimensions) > 2 or len(set(query.dimensions)) < len(query.dimensions):
        raise InvalidData("Rates are broken down by at most two dimensions, and not twice by the same.")


def _require(state: RollupState, keys: list[str]) -> list[Dimension]:
    known = {dimension.key: dimension for dimension in state.dimensions}
    for key in keys:
        if key not in known:
            raise InvalidData(f"Rates cannot be broken down by {key!r}; choose one of {', '.join(known)}.")
    return [known[key] for key in keys]


def _total(sums: Sums) -> RatesTotal:
    values = {name: sums[name].item() for name in COLUMNS[3:]}
    fields: dict[str, Any] = {name: None if value != value else value for name, value in values.items()}
    return RatesTotal(**fields)


def _day(second: int) -> date:
    return EPOCH + timedelta(days=second // DAY_SECONDS)


def _begin(day: int, zone: str) -> int:
    return int(local_time.start_of_day(day, zone).timestamp())


def _midnight(moment: datetime, zone: str) -> bool:
    local = moment.astimezone(local_time.zone_of(zone)).date()
    return local_time.start_of_day((local - EPOCH).days, zone) == moment
