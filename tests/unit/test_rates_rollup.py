"""The rollup and the rates read from it, against sums in plain Python over the transactions themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.errors import InvalidData
from services.lake import Lake, TableState
from services.lake_schema import DIMENSIONS, RATES_HOURLY, TRANSACTIONS
from services.rates import COLUMNS, Rates, RatesQuery
from workers.curator_rates import INPUT, hourly_rates

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
FIRST = NOW - timedelta(days=100)


class OneRollup:
    """A lake that holds one rollup, as a single partition per day."""

    def __init__(self, hourly: pa.Table) -> None:
        self.hourly, self.reads = hourly, 0

    def state(self, name: str) -> TableState | None:
        place = {"fraud.transactions": {"cluster_time": "2026-06-01T12:00:00+00:00", "next_offset": 9}}
        return TableState(77, NOW, self.hourly.num_rows, place)

    def partitions(self, name: str, *, snapshot_id: int | None = None, starts: Any = None) -> Mapping[date, Any]:
        return {row["hour"].date(): Part(row["hour"].date()) for row in self.hourly.select(["hour"]).to_pylist()}

    def read_partitions(self, name: str, partitions: Sequence[Any], columns: Sequence[str]) -> pa.Table:
        self.reads += 1
        days = {part.start for part in partitions}
        keep = [hour.date() in days for hour in self.hourly["hour"].to_pylist()]
        return self.hourly.filter(pa.array(keep, pa.bool_()))

    def read(self, name: str, **_: Any) -> pa.Table:
        raise AssertionError("rates read the rollup by partition only")

    def tag(self, name: str, snapshot_id: int, tag: str) -> None:
        raise AssertionError("rates never pin")


class Part:
    def __init__(self, start: date) -> None:
        self.start, self.paths = start, frozenset({f"{start}.parquet"})


def rates_of(rows: list[dict[str, Any]]) -> Rates:
    table = pa.Table.from_pylist(rows, schema=pa.schema([TRANSACTIONS.field(name) for name in INPUT]))
    return Rates(Lake(OneRollup(hourly_rates(table, NOW))), clock=lambda: NOW)


TRANSACTION = st.fixed_dictionaries(
    {
        "event_time": st.integers(0, 100 * 24 * 60).map(lambda minutes: FIRST + timedelta(minutes=minutes)),
        "amount_minor": st.sampled_from([0, 1, 999, 1000, 4999, 5000, 20_000, 99_999, 100_000, 3_000_000]),
        "category": st.sampled_from(["fuel", "travel", None]),
        "channel": st.sampled_from(["pos", "ecom"]),
        "merchant_country": st.sampled_from(["FR", "DE"]),
        "entry_mode": st.sampled_from(["chip", None]),
        "segment": st.sampled_from(["premium", None]),
        "alert_status": st.sampled_from(["open", "closed", None]),
        "label": st.sampled_from(["fraud", "genuine", "inconclusive", None]),
    }
)


def band(amount_minor: int) -> str:
    for bound, name in ((10, "<10"), (50, "10-50"), (200, "50-200"), (1000, "200-1000")):
        if amount_minor < bound * 100:
            return name
    return ">=1000"


def value_of(row: dict[str, Any], dimension: str | None) -> str:
    if dimension is None:
        return "all"
    if dimension == "amount_band":
        return band(row["amount_minor"])
    return row["merchant_country" if dimension == "country" else dimension] or "unknown"


def bucket_of(day: date, bucket: str) -> date:
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket == "month" else day


def oracle(rows: list[dict[str, Any]], query: RatesQuery) -> dict[tuple[date, str], tuple[Any, ...]]:
    cells: dict[tuple[date, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        day = row["event_time"].date()
        if query.start <= day <= query.end and all(
            not allowed or value_of(row, name) in allowed for name, allowed in query.filters.items()
        ):
            cells[bucket_of(day, query.bucket), value_of(row, query.dimension)].append(row)
    limit = NOW - timedelta(days=90)
    result = {}
    for key, inside in cells.items():
        amount = sum(row["amount_minor"] for row in inside)
        fraud = [row["amount_minor"] for row in inside if row["label"] == "fraud"]
        # By whole hours: one that began before the limit is complete.
        mature = sum(row["label"] is not None or row["event_time"].replace(minute=0) < limit for row in inside)
        result[key] = (
            len(inside),
            amount,
            sum(row["alert_status"] is not None for row in inside),
            len(fraud),
            sum(fraud),
            pytest.approx(10_000 * len(fraud) / len(inside)),
            pytest.approx(10_000 * sum(fraud) / amount) if amount else None,
            pytest.approx(mature / len(inside)),
        )
    return result


@settings(max_examples=25, deadline=None)
@given(
    st.lists(TRANSACTION, max_size=40),
    st.sampled_from([None, *DIMENSIONS]),
    st.sampled_from(["day", "week", "month"]),
    st.dictionaries(
        st.sampled_from(["channel", "country"]), st.sampled_from([("pos",), ("FR", "ecom"), ()]), max_size=2
    ),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_rates_equal_plain_sums_over_the_transactions(
    rows: list[dict[str, Any]], dimension: str | None, bucket: Any, filters: Any, a: int, b: int
) -> None:
    days = sorted((FIRST.date() + timedelta(days=a), FIRST.date() + timedelta(days=b)))
    query = RatesQuery(days[0], days[1], bucket, dimension, filters)
    frame = rates_of(rows).table(query).frame
    assert list(frame.columns) == list(COLUMNS)
    seen = {}
    for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False):
        if row.transactions == 0:
            assert row.fraud_bps_count is None
            assert row.fraud_bps_value is None
            assert row.matured_share is None
            continue
        seen[row.bucket, row.value] = tuple(row[2:])
    assert seen == oracle(rows, query)


def transaction(**changes: Any) -> dict[str, Any]:
    base = {"event_time": NOW - timedelta(days=3), "amount_minor": 2500, "category": "fuel", "channel": "pos"}
    return {**dict.fromkeys(INPUT), **base, **changes}


def test_basis_points_by_hand() -> None:
    rows = [transaction(label="fraud", amount_minor=5_000)] + [transaction(amount_minor=15_000)] * 3
    frame = rates_of(rows).table(RatesQuery(date(2026, 5, 1), date(2026, 6, 1), "month")).frame
    assert frame[["transactions", "fraud", "fraud_bps_count", "fraud_bps_value"]].values.tolist() == [
        [4, 1, 2500.0, 1000.0]
    ]
    assert frame["matured_share"].tolist() == [0.25]


def test_a_value_without_transactions_in_a_bucket_has_null_rates_there() -> None:
    rows = [transaction(category="fuel"), transaction(category="travel", event_time=NOW)]
    frame = rates_of(rows).table(RatesQuery(date(2026, 5, 1), date(2026, 6, 1), "day", "category")).frame
    assert len(frame) == 2 * 4  # two values, 29 May to 1 June
    empty = frame[frame["transactions"] == 0]
    assert len(empty) == 6
    assert empty["fraud_bps_count"].isna().all()


def test_an_unknown_dimension_and_a_reversed_range_are_refused() -> None:
    rates = rates_of([])
    with pytest.raises(InvalidData):
        rates.table(RatesQuery(date(2026, 1, 1), date(2026, 1, 2), dimension="1; DROP TABLE rates"))
    with pytest.raises(InvalidData):
        rates.table(RatesQuery(date(2026, 1, 2), date(2026, 1, 1)))
    with pytest.raises(InvalidData):
        rates.values("day")


def test_an_empty_lake_has_no_rows_and_an_injected_filter_value_finds_nothing() -> None:
    query = RatesQuery(date(2026, 5, 1), date(2026, 6, 1), filters={"category": ("' OR 1=1 --",)})
    assert rates_of([]).table(query).frame.empty
    assert rates_of([transaction()]).table(query).frame.empty


def test_values_come_by_number_of_transactions() -> None:
    rates = rates_of([transaction(category="fuel"), transaction(category="travel"), transaction(category="travel")])
    assert rates.values("category") == ("travel", "fuel")
    assert rates.values("amount_band") == ("<10", "10-50", "50-200", "200-1000", ">=1000")
    assert rates.dimensions() == DIMENSIONS


def test_the_rollup_has_one_row_an_hour_and_combination() -> None:
    rows = [transaction(), transaction(), transaction(event_time=NOW - timedelta(days=3, hours=1))]
    table = pa.Table.from_pylist(rows, schema=pa.schema([TRANSACTIONS.field(name) for name in INPUT]))
    hourly = hourly_rates(table, NOW)
    assert hourly.schema == RATES_HOURLY
    assert hourly["transactions"].to_pylist() == [1, 2]
    assert hourly["segment"].unique().to_pylist() == ["unknown"]
