"""Raw lines -> rows: what is taken, what is refused and with which words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from services.lake_schema import LABELS_TABLE, TRANSACTIONS, TRANSACTIONS_TABLE
from workers.curator_rows import parse
from workers.stream_objects import Batch, encode, iso, object_key

T = "2026-03-01T14:02:00.123Z"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "_id": "t1",
        "event_time": T,
        "amount_minor": 1234,
        "currency": "EUR",
        "merchant": {"id": "m1", "category": "fuel", "country": "FR", "location": {"lon": 2, "lat": 48.5}},
        "card": {"token": "tok", "bin": "400000", "last4": "1111"},
        "score": {"value": 0.5, "decision": "approve"},
        "attributes": {"x": [1, None]},
        "version": 1,
    } | changes


def line(document: Any, *, operation: str = "insert", key: Any = "t1", offset: int = 7) -> bytes:
    event = {"operationType": operation, "clusterTime": T, "documentKey": {"_id": key}, "fullDocument": document}
    return orjson.dumps(event | {"offset": offset})


def test_a_document_becomes_one_flat_row_with_absent_parts_null() -> None:
    parsed = parse([line(document())], TRANSACTIONS_TABLE)
    assert parsed.refusals == ()
    assert parsed.count == 1
    (row,) = parsed.changes.to_pylist()
    assert row["event_time"] == row["cluster_time"] == datetime(2026, 3, 1, 14, 2, 0, 123000, tzinfo=UTC)
    assert (row["transaction_id"], row["amount_minor"], row["merchant_country"], row["merchant_lon"]) == (
        "t1", 1234, "FR", 2.0,
    )  # fmt: skip
    assert row["attributes"] == '{"x":[1,null]}'
    assert row["score"] == 0.5
    assert row["label"] is None
    assert row["device_id"] is None
    assert row["removed"] is False
    assert [*parsed.changes.schema.names] == [*TRANSACTIONS.names, "removed"]


def test_a_delete_needs_no_document() -> None:
    (row,) = parse([line(None, operation="delete")], TRANSACTIONS_TABLE).changes.to_pylist()
    assert row["removed"] is True
    assert row["transaction_id"] == "t1"
    assert row["raw_offset"] == 7


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{not json", "not a line of JSON"),
        (b"[]", "another shape"),
        (line(document(amount_minor=-1)), "amount_minor is negative"),
        (line(document(amount_minor=12.5)), "amount_minor is a number, not a whole number"),
        (line(document(amount_minor=True)), "amount_minor is true/false, not a whole number"),
        (line(document(amount_minor="4111111111111111")), "amount_minor is text, not a whole number"),
        (line(document(event_time=None)), "event_time is missing"),
        (line(document(event_time="yesterday")), "event_time is text, not a time"),
        (line(document(event_time={"$date": 10**17})), "event_time is an object, not a time"),
        (line(document(currency=978)), "currency is a number, not text"),
        (line(document(score={"value": {"$numberDouble": "nan"}})), "score.value is an object, not a number"),
        (line(document(card="4111 1111 1111 1111")), "another shape"),
        (line(None), "the document is missing"),
        (line(document(), key=5), "the id is not a string"),
        (line(document(), operation="drop"), "unknown operation"),
        (b'{"operationType":"insert"}', "clusterTime is missing"),
    ],
)
def test_a_bad_record_is_refused_alone_and_its_values_are_not_repeated(bad: bytes, reason: str) -> None:
    parsed = parse([line(document(), offset=1), bad, line(document(), offset=3)], TRANSACTIONS_TABLE)
    assert parsed.changes["raw_offset"].to_pylist() == [1, 3]
    assert parsed.count == 3
    (refusal,) = parsed.refusals
    assert refusal.line == 1
    assert reason in refusal.reason
    assert "4111" not in refusal.reason


def test_labels_need_a_transaction_a_value_and_a_time() -> None:
    label = {"transaction_id": "t1", "value": "fraud", "labelled_at": T, "source": "analyst"}
    parsed = parse([line(label, key="l1"), line({**label, "labelled_at": None}, key="l2")], LABELS_TABLE)
    assert parsed.changes["label_id"].to_pylist() == ["l1"]
    assert [refusal.reason for refusal in parsed.refusals] == ["labelled_at is missing"]


def test_whatever_bson_holds_is_written_as_json() -> None:
    odd = {
        "naive": datetime(2026, 3, 1, 14, 2, 0, 123000),
        "nan": float("nan"),
        "list": [float("inf"), 1.5, None],
        "decimal": Decimal128("1.10"),
        "id": ObjectId("0" * 24),
        "long": Int64(5),
        "bytes": b"4111111111111111",
        "year 292277026": DatetimeMS(2**62),
        "a.b$c\x00": "\x00",
    }
    written = orjson.loads(encode("insert", T, ObjectId("1" * 24), odd, 3))
    assert written["documentKey"] == {"_id": "1" * 24}
    assert written["offset"] == 3
    full = written["fullDocument"]
    assert full["naive"] == T
    assert full["nan"] == {"$numberDouble": "nan"}
    assert full["long"] == 5
    assert full["list"] == [{"$numberDouble": "inf"}, 1.5, None]
    assert full["decimal"] == {"$numberDecimal": "1.10"}
    assert full["bytes"] == {"$binary": 16}
    assert full["a.b$c\x00"] == "\x00"
    assert set(full["year 292277026"]) == {"$DatetimeMS"}


def test_a_document_nested_too_deep_is_marked_unreadable_instead_of_stopping_the_stream() -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"d": deep}
    assert orjson.loads(encode("insert", T, "t1", deep, 3))["fullDocument"] == {"$unreadable": True}


def test_objects_are_named_by_hour_of_the_change_and_first_offset() -> None:
    at = datetime(2026, 1, 2, 3, 59, 59, tzinfo=UTC)
    expected = "raw/topics/fraud.labels/year=2026/month=01/day=02/hour=03/fraud.labels+0+0000000042.json.gz"
    assert object_key("fraud.labels", at, 42) == expected
    assert Batch("fraud.labels", 42, at, [b"{}"]).key == expected
    assert iso(at) == "2026-01-02T03:59:59.000Z"
