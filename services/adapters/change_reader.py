"""An open change stream, read ahead by a thread of its own: while one batch is worked on, MongoDB prepares the next.

Events can be larger than a document may be: 16 MB of document and its change. The description of the change is never
asked for, so only a document of 16 MB with an `_id` of kilobytes is still too large; such an event is read without its
document, and the document as it is by then takes its place: at least as new, and its later changes follow.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.change_stream import ChangeStream
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from services.adapters.mongo.client import HISTORY_LOST_CODES, Document, translated
from services.errors import HistoryLost

REMEDY = "Copy every document again, in a new epoch, with: python -m services backfill"
# Documents are copied as they are: naive UTC times are the cheapest to write, and a time no calendar has, or bytes
# that are not UTF-8, must not stop everybody else's changes.
LENIENT: CodecOptions[Document] = CodecOptions(
    tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
_RAW = CodecOptions(document_class=RawBSONDocument)
_OPERATIONS = frozenset({"insert", "update", "replace", "delete"})
_TOO_LARGE = 10334
_SERVER_BATCH = 1000
# What is read ahead is bounded: one batch being filled, some in the queue, one being worked on.
_BATCH_EVENTS, _BATCH_BYTES, _AHEAD = 500, 4 * 1024 * 1024, 4


class Change(NamedTuple):
    """One change. `cluster_time` is aware UTC in whole seconds; `document` is the state after it, None for a delete.

    `token` resumes after it; None for a copied document.
    """

    collection: str
    operation: str
    cluster_time: datetime
    document_id: Any
    document: Document | None
    token: Mapping[str, Any] | None = None


class Changes(NamedTuple):
    """Some changes in commit order, none when nothing happened; `token` resumes after all of them (None: as before)."""

    events: Sequence[Change]
    token: Mapping[str, Any] | None


class _Batch(NamedTuple):
    """Events as they came, and the token after them."""

    events: Sequence[RawBSONDocument]
    token: Mapping[str, Any] | None


@contextmanager
def history() -> Iterator[None]:
    """Tell a stream that can never be read on from a database that does not answer at the moment."""
    try:
        with translated():
            yield
    except OperationFailure as error:
        if error.code not in HISTORY_LOST_CODES:
            raise
        raise HistoryLost(
            f"MongoDB no longer has the changes since the last committed place (error {error.code}). Nothing was "
            f"skipped. {REMEDY}"
        ) from error


class ChangeReader:
    """Use as a context manager, from one thread."""

    def __init__(
        self,
        db: Database[Document],
        pipeline: Sequence[Mapping[str, Any]],
        *,
        token: Mapping[str, Any] | None,
        started_at: Timestamp | None,
        wait_seconds: float,
    ) -> None:
        """Begins after `token`; where there is none, at `started_at`. An empty answer takes about `wait_seconds`."""
        self._db, self._raw = db, db.with_options(codec_options=_RAW)
        self._pipeline, self._wait_ms = list(pipeline), int(wait_seconds * 1000)
        self._read_to, self._started_at = token, started_at
        self._ready: queue.Queue[_Batch | Exception] = queue.Queue(_AHEAD)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
        self._stamp: tuple[int, datetime] = (0, datetime.fromtimestamp(0, UTC))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def next(self) -> Changes:
        """What came next; empty when nothing happened within the stream's waiting time.

        Raises HistoryLost or Unavailable; what was not returned is read again from the last token.
        """
        try:
            batch = self._ready.get(timeout=1.0)
        except queue.Empty:
            return Changes((), None)
        if isinstance(batch, Exception):
            raise batch
        return Changes([self._change(event) for event in batch.events], batch.token)

    def _change(self, raw: RawBSONDocument) -> Change:
        event = bson.decode(raw.raw, LENIENT)
        operation = event["operationType"]
        if operation not in _OPERATIONS:
            raise HistoryLost(f"A collection that feeds the lake was removed or renamed ({operation}). {REMEDY}")
        seconds = event["clusterTime"].time
        if seconds != self._stamp[0]:
            self._stamp = (seconds, datetime.fromtimestamp(seconds, UTC))
        collection, key, document = event["ns"]["coll"], event["documentKey"]["_id"], event.get("fullDocument")
        if document is None and operation != "delete":
            document = self._latest(collection, key)
            operation = operation if document is not None else "delete"  # its own follows
        return Change(collection, operation, self._stamp[1], key, document, event["_id"])

    def _latest(self, collection: str, key: Any) -> Document | None:
        with translated():
            return self._db[collection].find_one({"_id": key})

    def _run(self) -> None:
        """The thread: read until closed or something fails, which whoever asks next is told."""
        try:
            with history():
                self._read()
        except Exception as error:
            self._put(error)

    def _read(self) -> None:
        careful = False
        while not self._closing.is_set():
            try:
                most = 1 if careful else _BATCH_EVENTS
                with self._open(batch_size=1 if careful else _SERVER_BATCH) as stream:
                    while not self._closing.is_set():
                        self._put(self._fill(stream, most))
            except OperationFailure as error:
                if error.code != _TOO_LARGE:
                    raise
                # Some event of the server's batch: go on one by one, and when it is the very next, step over it.
                if careful:
                    with self._open(batch_size=1, documents=False) as stream:
                        self._put(self._fill(stream, 1))
                careful = not careful

    def _open(self, *, batch_size: int, documents: bool = True) -> ChangeStream[RawBSONDocument]:
        start = {"resume_after": self._read_to} if self._read_to else {"start_at_operation_time": self._started_at}
        wanted = ("operationType", "clusterTime", "documentKey", "ns", *(("fullDocument",) if documents else ()))
        return self._raw.watch(
            [*self._pipeline, {"$project": dict.fromkeys(wanted, 1)}],
            full_document="required" if documents else None,
            batch_size=batch_size,
            max_await_time_ms=self._wait_ms,
            **start,
        )

    def _fill(self, stream: ChangeStream[RawBSONDocument], most: int) -> _Batch:
        """The next events, at most `most`; fewer when they are large or no more are there. Moves the reading place."""
        events: list[RawBSONDocument] = []
        size = 0
        more = True
        while more and len(events) < most and size < _BATCH_BYTES:
            try:
                event = stream.try_next()
            except PyMongoError:
                if events:
                    self._put(self._batch(events, events[-1]["_id"]))
                raise
            more = event is not None
            if event is not None:
                events.append(event)
                size += len(event.raw)
        return self._batch(events, events[-1]["_id"] if more else stream.resume_token)

    def _batch(self, events: Sequence[RawBSONDocument], token: Any) -> _Batch:
        if token is not None:
            self._read_to = bson.decode(token.raw)
        return _Batch(events, self._read_to)

    def _put(self, batch: _Batch | Exception) -> None:
        while not self._closing.is_set():
            try:
                self._ready.put(batch, timeout=0.2)
            except queue.Full:
                continue
            return
