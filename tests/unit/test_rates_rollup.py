"""The rollup and the rates read from it, against sums in plain Python over the transactions themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services import rates_cells
from services.errors import InvalidData
from services.lake import Lake
from services.lake_engine import DuckDbEngine
from services.lake_schema import DIMENSIONS, RATES_HOURLY
from services.rates import COLUMNS, Rates, RatesQuery
from tests.unit.rates_lake import NOW, bucket_of, figures, lake_of, oracle, rates_of, selected
from workers import curator_rates

ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "Africa/Cairo",
]
# Over the changes of clocks of March 2026, and both sides of what is mature by its age.
FIRST = datetime(2026, 2, 27, tzinfo=UTC)
SHOWN = ("transactions", "amount_minor", "alerted", "alerted_amount_minor", "fraud", "fraud_amount_minor", "genuine")
RATED = (*SHOWN, "matured", "fraud_bps_count", "fraud_bps_value", "matured_share")

TRANSACTION = st.fixed_dictionaries(
    {
        "event_time": st.one_of(st.integers(0, 3 * 24 * 60), st.integers(0, 40 * 24 * 60)).map(
            lambda minutes: FIRST + timedelta(minutes=minutes)
        ),
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
QUARTERS = st.integers(0, 41 * 24 * 4)


@st.composite
def queries(draw: st.DrawFn) -> RatesQuery:
    zone = draw(st.sampled_from(ZONES))
    start, end = (FIRST + timedelta(minutes=15 * at) for at in sorted((draw(QUARTERS), draw(QUARTERS) + 1)))
    if draw(st.booleans()):
        start, end = bucket_of(start, "day", zone), bucket_of(end + timedelta(days=1), "day", zone)
    return RatesQuery(
        start=start,
        end=max(end, start + timedelta(minutes=15)),
        bucket=draw(st.sampled_from(["hour", "day", "week", "month"])),
        zone=zone,
        dimensions=tuple(draw(st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True))),
        filters=draw(
            st.dictionaries(
                st.sampled_from(["channel", "country", "segment", "amount_band"]),
                st.sampled_from([("pos",), ("FR", "ecom"), ("unknown", "<10"), ()]),
                max_size=3,
            )
        ),
    )


@pytest.fixture(params=["small: from cells", "large: from views", "large, with cuboids"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every way there is to answer a chart, on data small enough for an oracle."""
    if request.param != "small: from cells":
        monkeypatch.setattr(rates_cells, "SMALL_ROWS", 0)
    if request.param == "large, with cuboids":
        monkeypatch.setattr(rates_cells, "CUBOID_ROWS", 3)
        monkeypatch.setattr(curator_rates, "CUBOID_ROWS", 3)
    return request.param


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(TRANSACTION, max_size=60), query=queries())
def test_every_chart_equals_plain_sums_over_the_transactions(
    size: str, rows: list[dict[str, Any]], query: RatesQuery
) -> None:
    result = rates_of(rows).table(query)
    assert list(result.frame.columns) == list(COLUMNS)
    expected = oracle(rows, query)
    seen = {}
    for row in result.frame.astype(object).where(result.frame.notna(), None).to_dict("records"):
        assert str(row["bucket"].tzinfo) == query.zone
        if row["transactions"] == 0:
            rated = (row["fraud_bps_count"], row["fraud_bps_value"], row["matured_share"], row["bps_count_low"])
            assert rated == (None, None, None, None)
            continue
        seen[row["bucket"].astimezone(UTC), row["first"], row["second"]] = tuple(row[name] for name in RATED)
    assert seen == expected
    inside = selected(rows, query)
    total = tuple(getattr(result.total, name) for name in RATED)
    assert total == (figures(inside) if inside else (0,) * 8 + (None, None, None))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(TRANSACTION, max_size=40), query=queries(), only_fraud=st.booleans())
def test_the_transactions_behind_a_point_are_the_ones_that_were_summed(
    size: str, rows: list[dict[str, Any]], query: RatesQuery, only_fraud: bool
) -> None:
    rows = [row | {"transaction_id": f"t{at:03}"} for at, row in enumerate(rows)]
    rates, ids, cursor = rates_of(rows), [], None
    while True:
        page = rates.transactions(query, only_fraud=only_fraud, limit=7, cursor=cursor)
        ids += page.frame["transaction_id"].tolist()
        if (cursor := page.next_cursor) is None:
            break
    wanted = [row for row in selected(rows, query) if not only_fraud or row["label"] == "fraud"]
    wanted.sort(key=lambda row: row["transaction_id"])
    wanted.sort(key=lambda row: row["event_time"], reverse=True)
    assert ids == [row["transaction_id"] for row in wanted]
    assert page.matching == len(wanted)


def transaction(**changes: Any) -> dict[str, Any]:
    base = {"event_time": NOW - timedelta(days=3), "amount_minor": 2500, "category": "fuel", "channel": "pos"}
    return base | {"transaction_id": "t"} | changes


def day(month: int, number: int) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


def test_basis_points_by_hand() -> None:
    rows = [transaction(label="fraud", amount_minor=5_000)] + [transaction(amount_minor=15_000)] * 3
    frame = rates_of(rows).table(RatesQuery(day(5, 1), day(6, 2), "month")).frame
    assert frame[["transactions", "fraud", "fraud_bps_count", "fraud_bps_value"]].values.tolist() == [
        [4, 1, 2500.0, 1000.0]
    ]
    assert frame["matured_share"].tolist() == [0.25]
    assert frame["small"].tolist() == [True]


def test_a_value_without_transactions_in_a_bucket_has_null_rates_there() -> None:
    rows = [transaction(category="fuel"), transaction(category="travel", event_time=NOW)]
    frame = rates_of(rows).table(RatesQuery(day(5, 1), day(6, 2), "day", dimensions=("category",))).frame
    assert len(frame) == 2 * 4  # two values, 29 May to 1 June
    empty = frame[frame["transactions"] == 0]
    assert len(empty) == 6
    assert empty["fraud_bps_count"].isna().all()


def test_what_cannot_be_asked_is_refused() -> None:
    rates = rates_of([])
    for wrong in (
        {"dimensions": ("1; DROP TABLE rates",)},
        {"dimensions": ("channel", "channel")},
        {"dimensions": ("channel", "country", "segment")},
        {"filters": {"day": ("1",)}},
        {"zone": "Mars/Olympus"},
        {"zone": "../../etc/passwd"},
        {"bucket": "year"},
        {"start": day(1, 3)},
        {"start": datetime(2026, 1, 1)},
        {"start": day(1, 1) + timedelta(minutes=7)},
    ):
        with pytest.raises(InvalidData):
            rates.table(RatesQuery(**{"start": day(1, 1), "end": day(1, 2)} | wrong))
    with pytest.raises(InvalidData):
        rates.values("day")
    for cursor in ("x", "bnVsbA==", "W10="):
        with pytest.raises(InvalidData):
            rates.transactions(RatesQuery(day(1, 1), day(1, 2)), cursor=cursor)


def test_an_empty_lake_has_no_rows_and_an_injected_filter_value_finds_nothing(size: str) -> None:
    query = RatesQuery(day(5, 1), day(6, 2), filters={"category": ("' OR 1=1 --",)})
    assert rates_of([]).table(query).frame.empty
    assert rates_of([]).transactions(query).frame.empty
    assert rates_of([transaction()]).table(query).frame.empty
    assert rates_of([transaction()]).transactions(query).matching == 0


def test_values_come_by_number_of_transactions(size: str) -> None:
    rates = rates_of([transaction(category="fuel")] * 2 + [transaction(category="travel")] * 3)
    assert rates.values("category") == ("travel", "fuel")
    assert rates.values("amount_band") == ("<10", "10-50", "50-200", "200-1000", ">=1000")
    assert rates_of([]).values("category") == ()
    assert tuple(dimension.key for dimension in rates.dimensions()) == DIMENSIONS


def test_a_clock_that_says_year_9999_or_1_spoils_no_chart(size: str) -> None:
    wrong = [datetime(9999, 12, 31, 23, 59, tzinfo=UTC), datetime(1, 1, 1, 0, 1, tzinfo=UTC)]
    rates = rates_of([transaction(), *(transaction(event_time=at, channel="ecom") for at in wrong)])
    assert rates.values("channel") == ("ecom", "pos")
    month = RatesQuery(day(5, 1), day(6, 2), "day", "Asia/Kolkata", ("channel",))
    assert rates.table(month).total.transactions == 1


def test_days_are_read_once_and_again_only_when_their_files_changed(size: str) -> None:
    lake = lake_of([transaction(event_time=NOW - timedelta(days=number)) for number in range(10)])
    now = [0.0]
    rates = Rates(Lake(lake), DuckDbEngine(lake.scan), clock=lambda: NOW, monotonic=lambda: now[0])
    week = RatesQuery(NOW.replace(minute=0) - timedelta(days=6), NOW.replace(minute=0) + timedelta(hours=1))
    for _ in range(3):
        rates.table(week)
    first = lake.reads
    assert first <= 9  # seven days, the two at the ends perhaps twice: for whole days and for hours
    lake.snapshot, now[0] = 78, 60.0
    rates.table(week)
    assert lake.reads == 2 * first


def test_the_rollup_has_one_row_a_quarter_hour_and_combination() -> None:
    at = NOW - timedelta(days=3)
    rows = [transaction(event_time=at), transaction(event_time=at + timedelta(minutes=14))]
    hourly = lake_of([*rows, transaction(event_time=at + timedelta(minutes=15))]).tables["rates_hourly"]
    assert hourly.schema == RATES_HOURLY
    assert hourly["transactions"].to_pylist() == [2, 1]
    assert hourly["minute"].to_pylist() == [30, 45]
    assert hourly["segment"].unique().to_pylist() == ["unknown"]
