"""Reading the lake: snapshots, pins and expiry, rates that follow, outages, and an empty lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_maintenance import maintain
from services.errors import Conflict, NotFound, Unavailable
from services.lake import Lake
from services.lake_schema import LABELS_TABLE, RATES_TABLE, TRANSACTIONS_TABLE
from services.rates import RatesQuery
from tests.integration.lake_desk import START, TOPIC, Desk, line, transaction
from workers import curator_rollup, curator_topics
from workers.curator_rates import hourly_rates, inputs


def test_of_two_writers_one_is_refused_and_the_position_moves_once(desk: Desk) -> None:
    desk.put([line(transaction("a"), 0)], 0)
    desk.fold()
    state = desk.tables.state("transactions")
    assert state is not None
    empty = TRANSACTIONS_TABLE.schema.empty_table()
    desk.tables.replace("transactions", [([], empty)], {"x": 1}, expected_snapshot=state.snapshot_id)
    with pytest.raises(Conflict):
        desk.tables.replace("transactions", [([], empty)], {"x": 2}, expected_snapshot=state.snapshot_id)


def test_a_pinned_snapshot_reads_the_same_after_later_commits_and_expiry(desk: Desk) -> None:
    desk.put([line(transaction("a"), 0)], 0)
    desk.fold()
    pinned = desk.lake.snapshot()
    desk.lake.pin(pinned, "experiment-1")
    desk.lake.pin(pinned, "experiment-1")
    desk.put([line(transaction("b"), 1), line({"_id": "a"}, 2, operation="delete", seconds=9)], 1)
    desk.fold()
    unpinned = desk.lake.snapshot()
    desk.put([line(transaction("c"), 3, seconds=10)], 3)
    desk.fold()
    later = datetime.now(UTC) + timedelta(days=2)
    done = maintain(desk.tables, desk.objects, "transactions", now=later)
    assert done.expired == 1
    assert done.deleted > 0
    assert set(desk.rows(pinned)) == {"a"}
    assert set(desk.rows()) == {"b", "c"}
    with pytest.raises(NotFound):
        desk.lake.read_transactions(unpinned)
    with pytest.raises(Conflict):
        desk.lake.pin(desk.lake.snapshot(), "experiment-1")
    assert maintain(desk.tables, desk.objects, "transactions", now=later).deleted == 0


def test_the_rollup_is_rebuilt_when_the_snapshot_it_came_from_is_gone(desk: Desk) -> None:
    desk.put([line(transaction("a"), 0), line(transaction("b", day=3), 1)], 0)
    desk.fold()
    state, rates = desk.tables.state("transactions"), desk.tables.state("rates_hourly")
    assert state is not None
    assert rates is not None
    desk.put([line({"_id": "b"}, 2, operation="delete", seconds=9)], 2)
    curator_topics.TopicFolder(desk.tables, desk.objects, TOPIC, TRANSACTIONS_TABLE).fold()
    maintain(desk.tables, desk.objects, "transactions", now=datetime.now(UTC) + timedelta(days=2))
    assert curator_rollup.roll_up(desk.tables, START) > 0
    rows = desk.tables.read_partitions("transactions", list(desk.tables.partitions("transactions").values()), inputs())
    assert desk.tables.read("rates_hourly").to_pylist() == hourly_rates(rows, START).to_pylist()


def test_rates_follow_new_snapshots_and_read_only_changed_days(desk: Desk) -> None:
    desk.put([line(transaction("a", day=day), day) for day in range(1)], 0)
    desk.fold()
    now = [0.0]
    rates = desk.rates(monotonic=lambda: now[0])
    query = RatesQuery(START, START + timedelta(days=31), "month")
    first = rates.table(query)
    assert first.frame["transactions"].tolist() == [1]
    assert first.current_to == START
    desk.put([line(transaction("b", day=4), 1, seconds=30)], 1)
    desk.fold()
    now[0] = 10.0
    second = rates.table(query)
    assert second.frame["transactions"].tolist() == [2]
    assert second.current_to == START + timedelta(seconds=30)
    assert second.snapshot_id != first.snapshot_id
    desk.put([line(transaction("c", day=4), 2, seconds=60)], 2)
    curator_topics.TopicFolder(desk.tables, desk.objects, TOPIC, TRANSACTIONS_TABLE).fold()
    now[0] = 20.0
    behind = rates.table(query)
    assert behind.frame["transactions"].tolist() == [2]
    assert behind.current_to == START + timedelta(seconds=30), "a rollup that has not followed yet does not say it has"


def test_without_s3_reading_fails_in_time_and_says_s3(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put([line(transaction("a"), 0)], 0)
    desk.fold()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    began = datetime.now(UTC)
    reader = IcebergLake(desk.settings)
    with pytest.raises(Unavailable) as caught:
        Lake(reader).rows()
    reader.close()
    assert caught.value.dependency == "S3"
    # At once; the rest is room for a busy machine, and far less than S3's clients try by themselves.
    assert datetime.now(UTC) - began < timedelta(seconds=20)


def test_an_empty_lake_reads_as_empty(desk: Desk) -> None:
    assert desk.lake.rows() == 0
    assert desk.lake.current_to() is None
    assert desk.lake.read_transactions().schema == TRANSACTIONS_TABLE.schema
    assert desk.lake.read_labels().schema == LABELS_TABLE.schema
    assert desk.tables.read(RATES_TABLE.name).num_rows == 0
    result = desk.rates().table(RatesQuery(START, START + timedelta(days=1)))
    assert result.frame.empty
    assert result.snapshot_id is None
    assert result.current_to is None
    with pytest.raises(NotFound):
        desk.lake.snapshot()
