"""Records of Kafka -> lines of an object: one line an offset, whatever the record is. Pure.

A record that is no event, or not even JSON, becomes a line that readers refuse with a reason; it never stops the sink.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from services.adapters.kafka import Record

# How the stream's own records begin, so that the time can be read without reading all of the record.
_TIME = b'"clusterTime":"'
_TIME_WITHIN, _TIME_LENGTH = 64, 24


def cluster_time(record: Record) -> datetime:
    """When the change happened; for a record that does not say, when it was produced."""
    value = record.value or b""
    start = value.find(_TIME, 0, _TIME_WITHIN)
    if start < 0:
        return _slowly(value) or record.at
    start += len(_TIME)
    return _moment(value[start : start + _TIME_LENGTH].decode("ascii", "replace")) or record.at


def _slowly(value: bytes) -> datetime | None:
    """Of a record of some other producer: ISO text, or the extended JSON of a MongoDB timestamp or date."""
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    told: Any = event.get("clusterTime") if isinstance(event, dict) else None
    if isinstance(told, dict):
        stamp = told.get("$timestamp")
        told = stamp.get("t") if isinstance(stamp, dict) else told.get("$date")
        if type(told) is int:
            return _of_seconds(told if told < 10**11 else told / 1000)
    return _moment(told) if isinstance(told, str) else None


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _of_seconds(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError):
        return None


def line(record: Record) -> bytes:
    """The record on one line, with its offset."""
    value = record.value
    if value is None:
        return b"null"
    if not value.startswith(b"{") or not value.endswith(b"}") or b"\n" in value:
        try:
            value = orjson.dumps(orjson.loads(value))
        except orjson.JSONDecodeError:
            return orjson.dumps(value.decode("utf-8", "replace"))
        if not value.startswith(b"{"):
            return value
    comma = b"" if value == b"{}" else b","
    return b'%b%b"offset":%d}' % (value[:-1], comma, record.offset)
