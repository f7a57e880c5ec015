"""The same changes in every format both S3 sinks write become one and the same table."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.lake_schema import TRANSACTIONS_TABLE
from tests.integration.lake_desk import START, TOPIC, Desk, line, transaction
from workers.curator_formats import records
from workers.curator_rows import parse

FOLDER = f"raw/topics/{TOPIC}/year=2026/month=03/day=01/hour=00"
Event = dict[str, Any]


def history() -> list[Event]:
    """Two documents copied or inserted, one changed, one deleted: what `workers.stream` writes, parsed."""
    merchant = {"category": "fuel", "country": "FR", "location": {"lon": 2.5, "lat": 48.0}}
    first = transaction("a", merchant=merchant, attributes={"risk": 0.25, "note": "x"}, score={"value": 0.5})
    changed = first | {"version": 2, "label": {"value": "fraud", "labelled_at": first["event_time"]}}
    lines = [
        line(first, 0),
        line(transaction("b", day=1, merchant=merchant), 1),
        line(changed, 2, operation="update", seconds=7),
        line({"_id": "b"}, 3, operation="delete", seconds=8),
        line(transaction("c", day=2, device={"id": "d"}), 4, seconds=9),
    ]
    return [orjson.loads(one) for one in lines]


def of_source_connector(event: Event, *, marked: bool = False) -> Event:
    """The change event as MongoDB's source connector publishes it (SimplifiedJson, or with every type marked)."""
    seconds = int(_moment(event["clusterTime"]))
    document = event["fullDocument"]
    change = {
        "_id": {"_data": "8263"},
        "operationType": event["operationType"],
        "clusterTime": {"$timestamp": {"t": seconds, "i": 1}},
        "wallTime": _short(event["clusterTime"]),
        "ns": {"db": "fraud_desk", "coll": "transactions"},
        "documentKey": event["documentKey"],
    }
    if document is not None:
        change["fullDocument"] = _marked(document) if marked else _simplified(document)
    return change


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _short(text: str) -> str:
    """Java's ISO_DATE_TIME leaves a fraction of zero out."""
    return text.replace(".000Z", "Z")


def _simplified(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _simplified(item) for name, item in value.items()}
    return _short(value) if isinstance(value, str) else value


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _marked(item) for name, item in value.items()}
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return {"$numberLong": str(value)}
    if isinstance(value, float):
        return {"$numberDouble": str(value)}
    if value.endswith("Z") and value.startswith("2026-"):
        return {"$date": {"$numberLong": str(int(_moment(value) * 1000))}}
    return value


def _lines(values: Sequence[Any]) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


def _array(values: Sequence[Any]) -> bytes:
    return b"[\n" + b",\n".join(map(orjson.dumps, values)) + b"\n]"


def _envelope(event: Event, *, as_text: bool = False) -> Event:
    value = of_source_connector(event)
    text = orjson.dumps(value).decode() if as_text else value
    return {"key": "k", "value": text, "offset": event["offset"], "timestamp": "2026-03-01T00:00:01Z"}


def _snappy(body: bytes) -> bytes:
    """snappy-java's stream of blocks."""
    packed = b"\x82SNAPPY\x00" + struct.pack(">II", 1, 1)
    for at in range(0, len(body), 200):
        block = pa.compress(body[at : at + 200], codec="snappy", asbytes=True)
        packed += struct.pack(">I", len(block)) + block
    return packed


def _zstd(body: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(body)
    return sink.getvalue().to_pybytes()


def _parquet(rows: Sequence[Event], codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    names = dict.fromkeys(name for row in rows for name in row)
    whole = [{name: row.get(name) for name in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(whole), sink, compression=codec)
    return sink.getvalue().to_pybytes()


def _default_schema(event: Event) -> Event:
    """The connector's own schema for values: nested parts are strings of JSON."""
    change = of_source_connector(event)
    parts = ("_id", "clusterTime", "documentKey", "fullDocument")
    return change | {name: orjson.dumps(change[name]).decode() for name in parts if name in change}


def _typed(event: Event) -> Event:
    """An inferred schema: structs, and times as timestamps."""
    change = of_source_connector(event)
    times = {"event_time", "labelled_at"}

    def typed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: datetime.fromisoformat(v) if k in times else typed(v) for k, v in value.items()}

    return change | ({"fullDocument": typed(change["fullDocument"])} if "fullDocument" in change else {})


def _each(form: Callable[[Event], Any]) -> Callable[[Sequence[Event]], list[Any]]:
    return lambda events: [form(event) for event in events]


plain, connector = _each(lambda event: event), _each(of_source_connector)
marked = _each(lambda event: of_source_connector(event, marked=True))
text = _each(lambda event: orjson.dumps(of_source_connector(event)).decode())
payload = _each(lambda event: {"schema": {"type": "string"}, "payload": text([event])[0]})
enveloped, text_enveloped = _each(_envelope), _each(lambda event: _envelope(event, as_text=True))

# What the sinks are documented to write: name of the objects, and their bytes.
FORMATS: dict[str, tuple[str, Callable[[list[Event]], bytes]]] = {
    "our stream": ("{t}+{p}+{s:010d}.json.gz", lambda e: gzip.compress(_lines(plain(e)))),
    "Confluent JSON": ("{t}+{p}+{s:010d}.json", lambda e: _lines(connector(e))),
    "Confluent JSON, gzip": ("{t}+{p}+{s:010d}.json.gz", lambda e: gzip.compress(_lines(connector(e)))),
    "Confluent JSON, values as text": ("{t}+{p}+{s:010d}.json", lambda e: _lines(text(e))),
    "Confluent JSON, types marked": ("{t}+{p}+{s:010d}.json", lambda e: _lines(marked(e))),
    "Confluent JSON, with schemas": ("{t}+{p}+{s:010d}.json", lambda e: _lines(payload(e))),
    "Confluent Parquet": ("{t}+{p}+{s:010d}.parquet", lambda e: _parquet([_default_schema(x) for x in e], "none")),
    "Confluent Parquet, snappy": (
        "{t}+{p}+{s:010d}.snappy.parquet",
        lambda e: _parquet([_default_schema(x) for x in e], "snappy"),
    ),
    "Confluent Parquet, gzip": ("{t}+{p}+{s:010d}.gz.parquet", lambda e: _parquet([_typed(x) for x in e], "gzip")),
    "Aiven JSON lines": ("{t}-{p}-{s:010d}", lambda e: _lines(enveloped(e))),
    "Aiven JSON lines, gzip": ("{t}-{p}-{s}.gz", lambda e: gzip.compress(_lines(text_enveloped(e)))),
    "Aiven JSON lines, snappy": ("{t}-{p}-{s}.snappy", lambda e: _snappy(_lines(enveloped(e)))),
    "Aiven JSON lines, zstd": ("{t}-{p}-{s}.zst", lambda e: _zstd(_lines(enveloped(e)))),
    "Aiven JSON lines, no envelope": ("{t}+{p}+{s:010d}.jsonl", lambda e: _lines(connector(e))),
    "Aiven JSON array": ("{t}-{p}-{s}", lambda e: _array(enveloped(e))),
    "Aiven JSON array, gzip": ("{t}-{p}-{s}.gz", lambda e: gzip.compress(_array(enveloped(e)))),
    "Aiven Parquet, snappy": (
        "{t}-{p}-{s}.snappy",
        lambda e: _parquet([_envelope(x, as_text=True) for x in e], "snappy"),
    ),
    "Aiven Parquet, structs": ("{t}-{p}-{s}", lambda e: _parquet([{"value": _typed(x)} for x in e], "gzip")),
}


def name(template: str, partition: int, start: int) -> str:
    return f"{FOLDER}/" + template.format(t=TOPIC, p=partition, s=start)


def rows_of(bodies: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
    parsed = [parse(records(body), TRANSACTIONS_TABLE, start) for start, body in bodies]
    assert [one.refusals for one in parsed] == [()] * len(parsed)
    return pa.concat_tables([one.changes for one in parsed]).to_pylist()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_reads_as_what_the_stream_writes(kind: str) -> None:
    events = history()
    _, ours = FORMATS["our stream"]
    _, body = FORMATS[kind]
    assert rows_of([(0, body(events[:3])), (3, body(events[3:]))]) == rows_of([(0, ours(events))])


def test_a_lake_of_every_format_at_once_equals_one_of_the_stream_s_own(desk: Desk) -> None:
    """Each format in turn writes a part of the history, into a partition of its own; documents differ by format."""
    expected: dict[str, Any] = {}
    for partition, (template, body) in enumerate(FORMATS.values()):
        events = [
            orjson.loads(orjson.dumps(event).replace(b'"_id":"', b'"_id":"%d-' % partition)) for event in history()
        ]
        for start, part in ((0, events[:2]), (2, events[2:])):
            desk.objects.put(name(template, partition, start), body(part))
        for row in rows_of([(0, _lines(events))]):
            expected.pop(row["transaction_id"], None)
            if not row.pop("removed"):
                expected[row["transaction_id"]] = row
    desk.fold()
    assert desk.rows() == expected
    state = desk.tables.state("transactions")
    assert state is not None
    place = state.position[TOPIC]
    assert {at["next_offset"] for at in place["partitions"].values()} == {5}
    assert (place["folded"], place["quarantined"], len(place["partitions"])) == (5 * len(FORMATS), 0, len(FORMATS))


@pytest.mark.parametrize(
    ("whole", "kept"),
    [
        (gzip.compress(_lines(history()), compresslevel=0)[:-40], 4),
        (_snappy(_lines(history()))[:-40], 4),
        (_zstd(_lines(history()))[:-1], 0),
        (_parquet([_default_schema(event) for event in history()], "snappy")[:-40], 0),
        (_array([_envelope(event) for event in history()])[:-40], 4),
    ],
    ids=["gzip", "snappy", "zstd", "parquet", "array"],
)
def test_of_a_damaged_object_what_can_be_read_is_taken_and_the_rest_is_one_refusal(whole: bytes, kept: int) -> None:
    parsed = parse(records(whole), TRANSACTIONS_TABLE, 0)
    assert len(parsed.refusals) == 1
    assert parsed.changes.num_rows >= kept
    assert parsed.count == parsed.changes.num_rows + 1


def test_a_document_copied_by_the_connector_is_older_than_every_change_and_says_how_current_the_lake_is(
    desk: Desk,
) -> None:
    events = [of_source_connector(event) for event in history()]
    copy = {name: value for name, value in events[0].items() if name not in ("clusterTime", "wallTime")}
    copy |= {"_id": {"_id": "a", "copyingData": True}, "operationType": "insert"}
    desk.objects.put(name("{t}+{p}+{s:010d}.json", 0, 0), _lines([copy]))
    desk.fold()
    assert desk.rows()["a"]["cluster_time"].year == 1970
    assert desk.lake.current_to() == START
    desk.objects.put(name("{t}+{p}+{s:010d}.json", 0, 1), _lines([events[2]]))
    desk.fold()
    assert desk.rows()["a"]["version"] == 2


def test_a_value_nested_too_deep_to_be_looked_through_is_refused_alone() -> None:
    deep = b'{"a":' * 900 + b'{"$numberInt":"1"}' + b"}" * 900
    event = orjson.dumps(of_source_connector(history()[0])).replace(b'"risk":0.25', b'"risk":' + deep)
    parsed = parse([event, orjson.dumps(history()[0])], TRANSACTIONS_TABLE)
    assert parsed.changes.num_rows == 1
    assert [refusal.line for refusal in parsed.refusals] == [0]
