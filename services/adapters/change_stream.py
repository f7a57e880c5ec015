"""What is in MongoDB and what happens there, in commit order.

Invariant: reading from a committed place again yields the same changes in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.timestamp import Timestamp
from pymongo.change_stream import DatabaseChangeStream
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from services.adapters.mongo.client import HISTORY_LOST_CODES, Db, Document, translated
from services.adapters.stream_place import Place
from services.errors import HistoryLost

REMEDY = "Copy every document again, in a new epoch, with: python -m services backfill"
_OPERATIONS = ("insert", "update", "replace", "delete")
# Documents are copied as they are: naive UTC times are the cheapest to write, and a time no calendar has, or bytes
# that are not UTF-8, must not stop everybody else's changes.
_LENIENT: CodecOptions[Document] = CodecOptions(
    tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)


class Change(NamedTuple):
    """One change. `cluster_time` is aware UTC in whole seconds; `document` is the state after it, None for a delete."""

    collection: str
    operation: str
    cluster_time: datetime
    document_id: Any
    document: Document | None


@contextmanager
def _history() -> Iterator[None]:
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


class ChangeSource:
    """Reads the collections in `collections`: first as they are, then as they change."""

    def __init__(self, db: Db, collections: Sequence[str], *, batch_size: int = 2000) -> None:
        self._db = db.with_options(codec_options=_LENIENT, read_concern=ReadConcern("majority"))
        self._collections, self._batch_size = tuple(collections), batch_size

    def now(self) -> Timestamp:
        """The operation time of the database: every change committed before it is visible to a copy begun now."""
        with translated():
            stamp: Timestamp = self._db.client.admin.command("ping")["operationTime"]
            return stamp

    def copy(self, place: Place) -> Iterator[tuple[Change, Place]]:
        """Every document there is, by collection and `_id`, each with the place to commit once it is stored.

        All are stamped `place.started_at`. A document read later than that is only newer than its stamp, and its
        changes since then follow, so the latest state wins however often the copy was interrupted.
        """
        assert place.started_at is not None
        stamp = place.started_at.as_datetime()
        done = place.copying or {"collection": self._collections[0], "after": None}
        for name in self._collections[self._collections.index(done["collection"]) :]:
            after = done["after"] if name == done["collection"] else None
            with translated():
                cursor = self._db[name].find({}, batch_size=self._batch_size).hint([("_id", 1)]).sort("_id", 1)
                if after is not None:
                    cursor = cursor.min([("_id", after)])
                for document in cursor:
                    if document["_id"] == after:
                        continue
                    change = Change(name, "copy", stamp, document["_id"], document)
                    yield change, replace(place, copying={"collection": name, "after": document["_id"]})

    def changes(self, place: Place, *, wait_seconds: float = 0.25) -> ChangeReader:
        """Open the stream after `place`. Raises HistoryLost when the changes since then are gone."""
        start = {"resume_after": place.token} if place.token else {"start_at_operation_time": place.started_at}
        watched = {"ns.coll": {"$in": list(self._collections)}}
        ended = {"operationType": {"$in": ["dropDatabase", "invalidate"]}}
        with _history():
            stream = self._db.watch(
                [{"$match": {"$or": [watched, ended]}}],
                full_document="required",
                batch_size=self._batch_size,
                max_await_time_ms=int(wait_seconds * 1000),
                **start,
            )
        return ChangeReader(stream)


class ChangeReader:
    """An open change stream. Use as a context manager."""

    def __init__(self, stream: DatabaseChangeStream[Document]) -> None:
        self._stream = stream
        # Resumes after the last change returned, or after the last empty batch.
        self.token: Mapping[str, Any] | None = stream.resume_token
        self._stamp: tuple[int, datetime] = (0, datetime.fromtimestamp(0, UTC))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def next(self) -> Change | None:
        """The next change, or None when nothing happened within the stream's waiting time."""
        with _history():
            event = self._stream.try_next()
        if event is None:
            self.token = self._stream.resume_token
            return None
        self.token = event["_id"]
        operation = event["operationType"]
        if operation not in _OPERATIONS:
            raise HistoryLost(f"A collection that feeds the lake was removed or renamed ({operation}). {REMEDY}")
        seconds = event["clusterTime"].time
        if seconds != self._stamp[0]:
            self._stamp = (seconds, datetime.fromtimestamp(seconds, UTC))
        document = event.get("fullDocument")
        return Change(event["ns"]["coll"], operation, self._stamp[1], event["documentKey"]["_id"], document)
