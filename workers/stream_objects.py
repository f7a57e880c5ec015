"""Changes -> the objects of the raw zone, in the layout and format of the S3 sink connector (docs/contracts.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from services.lake_schema import RAW_ROOT

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS


def iso(moment: datetime) -> str:
    """`2026-03-01T14:02:00.123Z`; a time without a zone is UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def _plain(value: Any) -> Any:
    """What JSON has no word for. Ids become strings; everything else is marked as extended JSON marks it, so that
    the curator sees an object where a number belongs and refuses it instead of taking a wrong value."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z" if value.tzinfo is None else iso(value)
    kind = type(value).__name__
    if kind == "ObjectId":
        return str(value)
    if kind == "Decimal128":
        return {"$numberDecimal": str(value)}
    if isinstance(value, bytes):
        return {"$binary": len(value)}
    if isinstance(value, int):  # wider than 64 bits
        return {"$numberLong": str(int(value))}
    return {f"${kind}": str(value)}


def _mark_non_finite(value: Any) -> Any:
    """NaN and infinity, which would be written as null and pass for "absent", marked instead."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$numberDouble": str(value)}
    if isinstance(value, dict):
        return {key: _mark_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mark_non_finite(item) for item in value]
    return value


def encode(
    operation: str, cluster_time: str, document_id: Any, document: dict[str, Any] | None, offset: int | None
) -> bytes:
    """One line of an object, without its line break; without `offset` a record whose place is not known yet.

    Never raises for what BSON can hold.
    """
    record: dict[str, Any] = {
        "operationType": operation,
        "clusterTime": cluster_time,
        "documentKey": {"_id": document_id},
        "fullDocument": document,
    }
    if offset is not None:
        record["offset"] = offset
    try:
        line = orjson.dumps(record, _plain, _OPTIONS)
        # A null is the only trace a non-finite number leaves; most documents have none.
        if b"null" in line and document is not None:
            line = orjson.dumps(_mark_non_finite(record), _plain, _OPTIONS)
    except (orjson.JSONEncodeError, RecursionError):  # nested deeper than JSON readers accept
        marked = {"$unreadable": True}
        line = orjson.dumps(
            record | {"documentKey": {"_id": str(document_id)}, "fullDocument": marked}, _plain, _OPTIONS
        )
    return line


def object_key(topic: str, cluster_time: datetime, start_offset: int, partition: int = 0) -> str:
    """Hour folders by the time of the change, never by the wall clock; the name is the first offset."""
    return (
        f"{RAW_ROOT}/{topic}/year={cluster_time:%Y}/month={cluster_time:%m}/day={cluster_time:%d}/"
        f"hour={cluster_time:%H}/{topic}+{partition}+{start_offset:010d}.json.gz"
    )


@dataclass(slots=True)
class Batch:
    """The lines of one object that is being filled: one topic, one hour, consecutive offsets.

    `keys` are the documents' ids, line by line; `pinned` the partitions of the lines that are not placed by key.
    """

    topic: str
    start_offset: int
    first_time: datetime | None = None
    lines: list[bytes] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    pinned: dict[int, int] = field(default_factory=dict)

    @property
    def next_offset(self) -> int:
        return self.start_offset + len(self.lines)

    @property
    def key(self) -> str:
        assert self.first_time is not None
        return object_key(self.topic, self.first_time, self.start_offset)

    def body(self) -> bytes:
        """JSON lines, each ended by a line break, not yet compressed."""
        return b"\n".join(self.lines) + b"\n"
