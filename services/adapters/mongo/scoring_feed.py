"""What the scorer reads and writes: new transactions and labels in commit order, and one commit a batch.

The place in the feed is saved in the same database transaction as the work done up to it. A scorer that is killed
anywhere therefore repeats nothing and misses nothing, and one that was suspended and replaced (its fence number is no
longer the current one) cannot commit. What a killed one had begun holds its documents for a minute, unless whoever
takes over ends it: so every scorer leaves the name of its session in a document that no transaction touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

from pymongo import InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.change_stream import DatabaseChangeStream
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from services.adapters.mongo.client import HISTORY_LOST_CODES, Db, Document, in_transaction, translated
from services.errors import Conflict, HistoryLost
from services.worker_status import utc_now

POSITION = "scorer"
_SESSION = "scorer.session"
_PIPELINE: list[Mapping[str, Any]] = [
    {
        "$match": {
            "operationType": "insert",
            "ns.coll": {"$in": ["transactions", "labels"]},
            # The demo's history carries its score; only what nobody scored yet is ours.
            "fullDocument.score": {"$exists": False},
            # An imported verdict that came with its transaction and changes no state.
            "fullDocument.no_news": {"$exists": False},
        }
    },
    {"$project": {"fullDocument": 1, "ns": 1, "operationType": 1}},
]


_Item = tuple[str, Document, Mapping[str, Any]] | Exception


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Documents in commit order, each with its collection; `token` is the place after the last one
    (empty when nothing was read)."""

    documents: tuple[tuple[str, Document], ...]
    token: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScoredWrite:
    """What is written back to one transaction: `changes` are top-level fields to set."""

    transaction_id: str
    changes: dict[str, Any]
    alert_event: dict[str, Any] | None


class _Reader:
    """Reads the change stream ahead on a thread, so that a batch is never held back waiting for one more event."""

    def __init__(self, stream: DatabaseChangeStream[Document]) -> None:
        self._stream = stream
        self._ahead: Queue[_Item] = Queue(maxsize=1000)
        self._stopping = Event()
        Thread(target=self._run, name="scoring-feed", daemon=True).start()

    def take(self, limit: int, wait_seconds: float) -> FeedBatch:
        documents: list[tuple[str, Document]] = []
        token: Mapping[str, Any] = {}
        while len(documents) < limit:
            try:
                item = self._ahead.get(timeout=wait_seconds) if not documents else self._ahead.get_nowait()
            except Empty:
                break
            if isinstance(item, Exception):
                raise item
            collection, document, token = item
            if collection:
                documents.append((collection, document))
        return FeedBatch(tuple(documents), token)

    def stop(self) -> None:
        """End the thread; it closes the stream itself within one wait of the server (a cursor has one user)."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            with self._stream as stream:
                while not self._stopping.is_set():
                    change = stream.try_next()
                    if change is not None:
                        self._put((change["ns"]["coll"], change["fullDocument"], change["_id"]))
                    elif not stream.alive:
                        raise HistoryLost(
                            "A collection that the scorer reads was removed. Restore it, then start again."
                        )
                    elif stream.resume_token and self._ahead.empty():
                        # Nothing for us, but the place moves on: saved, it keeps a quiet desk inside the oplog.
                        self._put(("", {}, stream.resume_token))
        except Exception as error:  # handed to the consumer, which knows what to do with it
            self._put(error)

    def _put(self, item: _Item) -> None:
        while not self._stopping.is_set():
            try:
                self._ahead.put(item, timeout=0.5)
            except Full:
                continue
            return


class MongoScoringFeed:
    def __init__(self, db: Db) -> None:
        self._db = db
        self._fence = 0
        self._reader: _Reader | None = None
        self._session: ClientSession | None = None

    def open(self) -> None:
        """Take over as the one scorer and continue after the last commit (first ever start: from now on)."""
        self.close()
        with translated():
            now = self._db.client.admin.command("ping")["operationTime"]
            self._take_session()
            position = self._db["positions"].find_one_and_update(
                {"_id": POSITION}, {"$inc": {"fence": 1}}, upsert=True, return_document=ReturnDocument.AFTER
            )
            assert position is not None, "an upsert returns its document"
            self._fence = position["fence"]
            if "resume_token" in position:
                place: dict[str, Any] = {"resume_after": position["resume_token"]}
            else:
                start_at = position.get("start_at") or now
                self._db["positions"].update_one(
                    {"_id": POSITION, "fence": self._fence}, {"$set": {"start_at": start_at}}
                )
                place = {"start_at_operation_time": start_at}
            try:
                stream = self._db.watch(_PIPELINE, max_await_time_ms=500, batch_size=500, **place)
            except OperationFailure as error:
                raise _translated_history(error) from error
        self._reader = _Reader(stream)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        if self._session is not None:
            self._session.end_session()
            self._session = None

    def _take_session(self) -> None:
        """End what the former scorer left unfinished, if anything, and say which session is ours."""
        former = self._db["positions"].find_one({"_id": _SESSION})
        if former is not None:
            self._db.client.admin.command("killSessions", [former["session"]])
        self._session = self._db.client.start_session()
        mine = {"_id": _SESSION, "session": dict(self._session.session_id)}
        self._db["positions"].replace_one({"_id": _SESSION}, mine, upsert=True)

    def read(self, limit: int, *, wait_seconds: float = 0.5) -> FeedBatch:
        """What has arrived, at most `limit` documents, in commit order; waits only while there is nothing at all."""
        assert self._reader is not None, "open() first"
        with translated():
            try:
                return self._reader.take(limit, wait_seconds)
            except OperationFailure as error:
                raise _translated_history(error) from error

    def commit(self, token: Mapping[str, Any], *, states: Mapping[str, Any], writes: Sequence[ScoredWrite]) -> int:
        """Save states, scores, alerts and the place, all or nothing. Returns how many transactions were scored.

        Raises Conflict when another scorer has taken over: nothing of this batch was written.
        """
        now = utc_now()
        transactions = [
            UpdateOne({"_id": w.transaction_id, "score": None}, {"$set": w.changes, "$inc": {"version": 1}})
            for w in writes
        ]
        events = [InsertOne(w.alert_event) for w in writes if w.alert_event]
        entities = [
            ReplaceOne({"_id": key}, {"kind": key.partition(":")[0], "state": state, "updated_at": now}, upsert=True)
            for key, state in states.items()
        ]

        def work(session: ClientSession) -> int:
            moved = self._db["positions"].update_one(
                {"_id": POSITION, "fence": self._fence},
                {"$set": {"resume_token": token, "saved_at": now}},
                session=session,
            )
            if not moved.matched_count:
                raise Conflict("Another scorer took over; this one stops.")
            scored = 0
            if transactions:
                scored = self._db["transactions"].bulk_write(transactions, session=session).modified_count
            if events:
                self._db["case_events"].bulk_write(events, session=session)
            if entities:
                self._db["entities"].bulk_write(entities, session=session)
            return scored

        return in_transaction(self._db, work, self._session)


def _translated_history(error: OperationFailure) -> Exception:
    if error.code in HISTORY_LOST_CODES:
        return HistoryLost(
            "MongoDB no longer has the changes since the scorer last ran (its oplog is too short). Enlarge the oplog, "
            "then remove the document 'scorer' from 'positions' to continue from now."
        )
    return error


def opened_event(transaction_id: str, at: datetime, *, score: float, model_version: str) -> dict[str, Any]:
    """The timeline entry of an alert; its id makes a second one impossible."""
    return {
        "_id": f"{transaction_id}:alert",
        "transaction_id": transaction_id,
        "at": at,
        "actor": {"subject": "system:scorer", "name": "scorer", "role": "system"},
        "kind": "alert_opened",
        "detail": {"score": score, "model_version": model_version},
    }
