"""Records of Kafka become lines: one an offset, whatever they are; and the stream's own limits on what it takes."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.kafka import Record
from workers.kafka_records import cluster_time, line
from workers.stream_objects import encode, iso, object_key

PRODUCED = datetime(2026, 3, 2, tzinfo=UTC)
CHANGED = datetime(2026, 3, 1, 14, 2, tzinfo=UTC)


def record(value: bytes | None, offset: int = 7) -> Record:
    return Record("fraud.transactions", 2, offset, value, PRODUCED)


@given(
    st.none()
    | st.binary(max_size=60)
    | st.recursive(st.none() | st.text() | st.integers(-9, 9), st.lists).map(orjson.dumps)
)
def test_any_record_is_one_line_of_json_or_of_what_readers_refuse(value: bytes | None) -> None:
    written = line(record(value))
    assert written
    assert b"\n" not in written
    assert cluster_time(record(value)).tzinfo is not None


def test_the_streams_own_record_keeps_its_bytes_and_gains_its_offset() -> None:
    value = encode("insert", iso(CHANGED), "a", {"_id": "a", "n": 1}, None)
    assert "offset" not in orjson.loads(value)
    assert line(record(value)) == encode("insert", iso(CHANGED), "a", {"_id": "a", "n": 1}, 7)
    assert cluster_time(record(value)) == CHANGED


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2026-03-01T14:02:00Z", CHANGED),
        ({"$timestamp": {"t": int(CHANGED.timestamp()), "i": 4}}, CHANGED),
        ({"$date": int(CHANGED.timestamp() * 1000)}, CHANGED),
        ({"$timestamp": {"t": 10**18, "i": 4}}, PRODUCED),
        ("soon", PRODUCED),
        (None, PRODUCED),
    ],
)
def test_the_hour_is_that_of_the_change_however_a_producer_tells_it(told: object, at: datetime) -> None:
    value = orjson.dumps({"fullDocument": {"text": "x" * 100}, "clusterTime": told})
    assert cluster_time(record(value)) == at


def test_objects_are_named_as_the_sink_connectors_name_them() -> None:
    assert object_key("fraud.transactions", CHANGED, 42, 3) == (
        "raw/topics/fraud.transactions/year=2026/month=03/day=01/hour=14/fraud.transactions+3+0000000042.json.gz"
    )
