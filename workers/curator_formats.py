"""Raw objects in every format the S3 sinks write -> change events in one form (docs/contracts.md, "Raw objects").

What an object is, its first bytes say, never its name: text or Parquet, plain or packed with gzip, snappy (the framing
of snappy-java, which Kafka Connect's sinks use) or zstd. Text is one JSON value a line, or one JSON array. A value is
the change event itself, an envelope around it (`value`, or `schema` and `payload`), or either as an escaped string.

Nothing is dropped here: whatever cannot be read is handed on as it is, for the reader of events to refuse.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

Event = Mapping[str, Any]
# A document that was copied by the source connector has no cluster time: it is older than every change that has one.
BEFORE_ALL_CHANGES = "1970-01-01T00:00:00.000Z"

_GZIP, _SNAPPY, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x82SNAPPY\x00", b"\x28\xb5\x2f\xfd", b"PAR1"
_SNAPPY_HEADER = 16
_DAMAGED = b"damaged object"
_PARQUET_ROWS = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE = (pa.ArrowException, OSError, zlib.error, struct.error)


def records(body: bytes) -> Iterator[bytes | Event]:
    """The records of an object in order: lines of text still to be parsed, rows of Parquet as dictionaries.

    Of a damaged object, the records before the damage and then one that is no JSON.
    """
    if body.startswith(_PARQUET):
        yield from _rows(body)
        return
    lines = _unpacked(body).splitlines()
    yield from _of_array(lines) if lines and lines[0].strip() == b"[" else lines


def canonical(record: Any, *, marked: bool = True) -> tuple[Any, Any]:
    """The change event in a record of any form, as the stream writes events, and the offset its envelope names or None.

    `marked`: whether values may be marked with their type, as extended JSON does. What is no event is returned as it
    is. Raises orjson.JSONDecodeError for a string that is no JSON, KeyError for an event without a cluster time.
    """
    offset = None
    for _ in range(4):  # an envelope may hold a string that holds a payload that holds a string; no sink goes deeper
        if isinstance(record, str):
            record = orjson.loads(record)
            marked = True
        elif isinstance(record, dict) and "operationType" not in record:
            offset = record.get("offset", offset)
            inner = "payload" if "schema" in record else "value"
            if inner not in record:
                return record, offset
            record = record[inner]
    if not isinstance(record, dict) or "operationType" not in record:
        return record, offset
    return _event(record, marked), record.get("offset", offset)


def _event(record: Event, marked: bool) -> Event:
    key, document = _parsed(record.get("documentKey")), _parsed(record.get("fullDocument"))
    copied = _is_copy(record)
    moment = record.get("clusterTime")
    if moment is None and not copied:
        raise KeyError("clusterTime")
    event = {
        "operationType": "copy" if copied else record["operationType"],
        "clusterTime": BEFORE_ALL_CHANGES if moment is None else _time(_parsed(moment)),
        "documentKey": unmarked(key) if marked else key,
        "fullDocument": unmarked(document) if marked else document,
    }
    return event if "offset" not in record else event | {"offset": record["offset"]}


def _is_copy(record: Event) -> bool:
    token = record.get("_id")
    if isinstance(token, str) and '"copyingData"' in token:
        token = orjson.loads(token)
    return isinstance(token, dict) and token.get("copyingData") is True


def _parsed(value: Any) -> Any:
    """A nested value that the sink's schema has as a string of JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return orjson.loads(value)
    return value


def _time(value: Any) -> Any:
    """A cluster time in whole seconds, as text; anything but MongoDB's timestamp is handed on."""
    if isinstance(value, dict) and isinstance(stamp := value.get("$timestamp"), dict):
        return _iso_of_ms(int(stamp["t"]) * 1000)
    return unmarked(value)


def unmarked(value: Any) -> Any:
    """Extended JSON -> plain JSON where nothing is lost: 64-bit integers, finite doubles, dates, object ids.

    Other marks stay, so that the reader sees an object where a value belongs and refuses it.
    """
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (mark, inner), *_ = value.items()
        read = _MARKS.get(mark)
        if read is not None:
            plain = read(inner)
            return value if plain is None else plain
    return {key: unmarked(item) for key, item in value.items()}


def _integer(inner: Any) -> int | None:
    try:
        number = int(inner)
    except (TypeError, ValueError):
        return None
    return number if -(2**63) <= number < 2**63 else None


def _double(inner: Any) -> float | None:
    try:
        number = float(inner)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _date(inner: Any) -> str | None:
    if isinstance(inner, str):
        return inner
    milliseconds = _integer(inner.get("$numberLong") if isinstance(inner, dict) else inner)
    return None if milliseconds is None else _iso_of_ms(milliseconds)


def _oid(inner: Any) -> str | None:
    return inner if isinstance(inner, str) else None


_MARKS = {"$numberInt": _integer, "$numberLong": _integer, "$numberDouble": _double, "$date": _date, "$oid": _oid}


def _iso_of_ms(milliseconds: int) -> str | None:
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _of_array(lines: list[bytes]) -> Iterator[bytes]:
    """Aiven's JSON array: a bracket, then a record a line with a comma between, then a bracket."""
    for line in lines[1:]:
        if line.strip() != b"]":
            yield line.rstrip().removesuffix(b",")


def _unpacked(body: bytes) -> bytes:
    """The text of an object; of a damaged one, the whole lines before the damage and a last one that is refused."""
    if body.startswith(_GZIP):
        text, whole = _gunzipped(body)
    elif body.startswith(_SNAPPY):
        text, whole = _unsnapped(body)
    elif body.startswith(_ZSTD):
        text, whole = _unpacked_by_arrow(body, "zstd")
    else:
        return body
    return text if whole else text[: text.rfind(b"\n") + 1] + _DAMAGED


def _gunzipped(body: bytes) -> tuple[bytes, bool]:
    """All members: an upload in parts may have been packed in parts."""
    texts: list[bytes] = []
    while body:
        unpacker = zlib.decompressobj(31)
        try:
            texts.append(unpacker.decompress(body))
        except zlib.error:
            return b"".join(texts), False
        if not unpacker.eof:
            return b"".join(texts), False
        body = unpacker.unused_data
    return b"".join(texts), True


def _unsnapped(body: bytes) -> tuple[bytes, bool]:
    """snappy-java's stream: a header of 16 bytes, then blocks, each its length (big-endian) and a snappy block."""
    texts: list[bytes] = []
    at = _SNAPPY_HEADER
    while at < len(body):
        if body.startswith(_SNAPPY, at):  # streams written one after the other
            at += _SNAPPY_HEADER
            continue
        try:
            (size,) = struct.unpack_from(">I", body, at)
            texts.append(_snappy_block(body[at + 4 : at + 4 + size], size))
        except _UNREADABLE:
            return b"".join(texts), False
        at += 4 + size
    return b"".join(texts), True


def _snappy_block(block: bytes, size: int) -> bytes:
    """One block. Its first bytes are the length of the text, seven bits each, lowest first."""
    if len(block) != size:
        raise struct.error
    length = shift = 0
    for byte in block[:5]:
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return pa.decompress(block, decompressed_size=length, codec="snappy", asbytes=True)


def _unpacked_by_arrow(body: bytes, codec: str) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            while part := stream.read(1 << 20):
                parts.append(part)
    except _UNREADABLE:
        return b"".join(parts), False
    return b"".join(parts), True


def _rows(body: bytes) -> Iterator[bytes | Event]:
    """The rows of a Parquet object. Columns that are absent in a row (null) are left out, as JSON leaves them out."""
    try:
        with pq.ParquetFile(pa.BufferReader(body)) as file:
            for batch in file.iter_batches(_PARQUET_ROWS):
                yield from (_present(row) for row in batch.to_pylist(maps_as_pydicts="lossy"))
    except _UNREADABLE:
        yield _DAMAGED


def _present(value: Any) -> Any:
    """A Parquet value as JSON would have it."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_present(item) for item in value]
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return {"$numberDecimal": str(value)}
    if isinstance(value, bytes):
        return _text(value)
    return value


def _text(value: bytes) -> Any:
    """Bytes that are text (a converter of bytes was configured), or marked."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"$binary": len(value)}
