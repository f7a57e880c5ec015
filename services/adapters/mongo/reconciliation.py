"""Transactions of MongoDB as the lake should have them. Satisfies `services.reconciliation_run.Source`.

Documents are read as they were at a past moment where MongoDB still remembers it (five minutes, unless configured
otherwise), by a snapshot read that needs no transaction and holds nothing up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from services.adapters.mongo.client import Db, Document, translated
from services.reconciliation_compare import MONGO_SCHEMA
from services.reconciliation_run import Gone, Refused, Rows, StreamPlace

# Where each compared column lies in a document.
_PATHS: dict[str, tuple[str, ...]] = {
    "transaction_id": ("_id",),
    "event_time": ("event_time",),
    "amount_minor": ("amount_minor",),
    "currency": ("currency",),
    "customer_id": ("customer_id",),
    "merchant_id": ("merchant", "id"),
    "category": ("merchant", "category"),
    "channel": ("channel",),
    "score": ("score", "value"),
    "decision": ("score", "decision"),
    "model_version": ("score", "model_version"),
    "alert_status": ("alert", "status"),
    "label": ("label", "value"),
    "label_source": ("label", "source"),
    "version": ("version",),
    "received_at": ("received_at",),
}
_PROJECTION = {".".join(path): 1 for path in _PATHS.values()}
_BATCH = 10_000
# Snapshot too old, and unavailable because the collection or its indexes were made since.
_FORGOTTEN = frozenset({239, 246})
# One shape no calendar or text can spoil: what is wrong in a document is told, never raised by the driver.
_LENIENT: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)


class MongoSource:
    def __init__(self, db: Db) -> None:
        self._db = db.with_options(codec_options=_LENIENT, read_concern=ReadConcern("majority"))

    def count(self, start: datetime, end: datetime) -> int:
        """Transactions with start <= event_time < end."""
        with translated():
            return self._db["transactions"].count_documents(_between(start, end), hint="newest")

    def read(self, start: datetime, end: datetime, at: datetime | None, *, tick: Callable[[], None]) -> Rows:
        """Raises Gone when MongoDB does not remember the moment `at`. `tick` is called with every batch."""
        command: Document = {
            "find": "transactions",
            "filter": _between(start, end),
            "projection": _PROJECTION,
            "hint": "newest",
            "batchSize": _BATCH,
        }
        if at is not None:
            stamp = Timestamp(int(at.timestamp()), 2**31 - 1)
            command["readConcern"] = {"level": "snapshot", "atClusterTime": stamp}
        else:
            command["readConcern"] = {"level": "majority"}
        try:
            with translated(), self._db.cursor_command(command) as cursor:
                return _rows(cursor, tick)
        except OperationFailure as error:
            if error.code not in _FORGOTTEN:
                raise
            raise Gone("MongoDB does not remember that moment any more.") from error

    def latest(self, ids: Sequence[str]) -> pa.Table:
        """These documents as they are now, those that can be rows."""
        with translated(), self._db["transactions"].find({"_id": {"$in": list(ids)}}, _PROJECTION) as cursor:
            return _rows(cursor, lambda: None).table

    def stream_place(self) -> StreamPlace | None:
        """Where the desk's own stream is; None where something else fills the raw zone."""
        with translated():
            place = self._db["positions"].find_one({"_id": "stream"})
        if place is None or not place.get("updated_at"):
            return None
        copying = place.get("started_at") is None or place.get("copying") is not None
        return StreamPlace(dict(place.get("offsets") or {}), place["updated_at"], copying)


def _between(start: datetime, end: datetime) -> Document:
    return {"event_time": {"$gte": start, "$lt": end}}


def _rows(documents: Iterator[Document] | Any, tick: Callable[[], None]) -> Rows:
    pieces: list[pa.Table] = [MONGO_SCHEMA.empty_table()]
    refused: list[Refused] = []
    batch: list[list[Any]] = []
    for document in documents:
        values = [_value(name, document, path) for name, path in _PATHS.items()]
        batch.append(values)
        if len(batch) >= _BATCH:
            pieces.append(_table(batch, refused))
            batch = []
            tick()
    pieces.append(_table(batch, refused))
    return Rows(pa.concat_tables(pieces), tuple(refused))


def _value(name: str, document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = document
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if name == "score" and type(value) is int:
        return float(value)
    return 1 if name == "version" and value is None else value


def _table(batch: list[list[Any]], refused: list[Refused]) -> pa.Table:
    """Rows as a table; a document with a value of another type than the lake's column is told in `refused`."""
    if not batch:
        return MONGO_SCHEMA.empty_table()
    try:
        return _arrow(batch)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError):
        good = []
        for row in batch:
            wrong = next((f.name for value, f in zip(row, MONGO_SCHEMA, strict=True) if not _fits(value, f)), None)
            if wrong is None:
                good.append(row)
            else:
                refused.append(Refused(str(row[0])[:64], wrong, type(row[MONGO_SCHEMA.names.index(wrong)]).__name__))
        return _arrow(good) if good else MONGO_SCHEMA.empty_table()


def _fits(value: Any, field: pa.Field) -> bool:
    try:
        _column([value], field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError):
        return False
    return True


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind) and any(type(value) is bool or type(value) is float for value in values):
        raise pa.ArrowTypeError("not a whole number")  # Arrow would take them for numbers; the lake does not
    return pa.array(values, kind)


def _arrow(batch: list[list[Any]]) -> pa.Table:
    columns = [_column(values, f.type) for values, f in zip(zip(*batch, strict=True), MONGO_SCHEMA, strict=True)]
    return pa.Table.from_arrays(columns, schema=MONGO_SCHEMA)
