"""What happened in MongoDB, in commit order, and the committed place of the one process that copies it out.

Invariants: a place is only ever advanced by the holder of the newest fence, so a process that was stopped for longer
than its lease cannot move it; reading from a committed place again yields the same changes in the same order.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.timestamp import Timestamp
from pymongo import ReturnDocument
from pymongo.change_stream import DatabaseChangeStream
from pymongo.errors import DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern

from services.adapters.mongo.client import HISTORY_LOST_CODES, Db, Document, translated
from services.errors import Conflict, HistoryLost

LEASE_SECONDS = 10.0
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


@dataclass(frozen=True, slots=True)
class Place:
    """How far the raw zone is complete.

    `offsets`: the next offset per topic. `copying`: progress of the first copy ({collection, after}), None when it is
    over or not begun. `started_at`: the time the first copy speaks for, after which changes are read. `token`: the
    stream's own mark, None until the first change or idle batch after the copy.
    """

    offsets: Mapping[str, int] = field(default_factory=dict)
    token: Mapping[str, Any] | None = None
    started_at: Timestamp | None = None
    copying: Mapping[str, Any] | None = None
    cluster_time: datetime | None = None


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
            "skipped. Copy everything again with: python -m workers.stream --copy-again"
        ) from error


def _node() -> str:
    """Identifies the set of process ids this process can see: host, boot and pid namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if "/ns/" in path else Path(path).read_text("ascii").strip())
        except OSError:
            continue
    return "|".join(parts)


def _is_gone(owner: Mapping[str, Any]) -> bool:
    """True when the owner certainly died: it ran where we can see it, and is not there."""
    if owner.get("node") != _node():
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class PlaceStore:
    """The document of one worker in `positions`, with its lease and fence. Not shared between threads."""

    def __init__(self, db: Db, worker: str) -> None:
        self._positions, self._worker = db["positions"], worker
        self._id = uuid.uuid4().hex
        self._fence = -1
        self._held_until = 0.0

    def claim(self) -> Place:
        """Become the only writer. Raises Conflict while another live process holds the lease."""
        owner = {"node": _node(), "pid": os.getpid(), "id": self._id}
        fence = {"fence": {"$add": [{"$ifNull": ["$fence", 0]}, 1]}, "owner": {"$literal": owner}}
        with translated():
            current = self._positions.find_one({"_id": self._worker})
            query: Document = {"_id": self._worker}
            if current is not None:
                former = current.get("owner")
                if former is None or former.get("id") == self._id or _is_gone(former):
                    query["fence"] = current["fence"]
                else:
                    query["$expr"] = {"$lte": ["$lease_until", "$$NOW"]}
            at = time.monotonic()
            try:
                taken = self._positions.find_one_and_update(
                    query,
                    [{"$set": fence | _lease()}],
                    upsert=current is None,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                taken = None
        if taken is None:
            raise Conflict("Another process is writing the raw zone; this one waits for it to end.")
        self._fence, self._held_until = taken["fence"], at + LEASE_SECONDS
        return Place(
            offsets=taken.get("offsets") or {},
            token=taken.get("token"),
            started_at=taken.get("started_at"),
            copying=taken.get("copying"),
            cluster_time=taken.get("cluster_time"),
        )

    def require_held(self) -> None:
        """Prove the lease before writing where MongoDB cannot stop us. Raises Conflict when it was lost."""
        if time.monotonic() > self._held_until - LEASE_SECONDS / 2:
            self._update(_lease())

    def commit(self, place: Place) -> None:
        """Move the place and renew the lease. Raises Conflict when another process took over: nothing was moved."""
        values: Document = {
            "offsets": {"$literal": dict(place.offsets)},
            "token": {"$literal": place.token},
            "started_at": {"$literal": place.started_at},
            "copying": {"$literal": place.copying},
            "cluster_time": {"$literal": place.cluster_time},
            "updated_at": "$$NOW",
        }
        self._update(values | _lease())

    def release(self) -> None:
        """Let the next process start at once."""
        with translated():
            self._positions.update_one({"_id": self._worker, "fence": self._fence}, {"$set": {"owner": None}})

    def forget(self) -> None:
        """Copy everything again at the next start; offsets go on counting. For an operator, after HistoryLost."""
        place = self.claim()
        self.commit(Place(offsets=place.offsets))
        self.release()

    def _update(self, values: Document) -> None:
        at = time.monotonic()
        with translated():
            answer = self._positions.update_one({"_id": self._worker, "fence": self._fence}, [{"$set": values}])
        if answer.matched_count == 0:
            raise Conflict("Another process took over writing the raw zone; this one stops.")
        self._held_until = at + LEASE_SECONDS


def _lease() -> Document:
    return {"lease_until": {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}}


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
            raise HistoryLost(
                f"A collection that feeds the lake was removed or renamed ({operation}). Restore it, or copy "
                "everything again with: python -m workers.stream --copy-again"
            )
        seconds = event["clusterTime"].time
        if seconds != self._stamp[0]:
            self._stamp = (seconds, datetime.fromtimestamp(seconds, UTC))
        document = event.get("fullDocument")
        return Change(event["ns"]["coll"], operation, self._stamp[1], event["documentKey"]["_id"], document)
