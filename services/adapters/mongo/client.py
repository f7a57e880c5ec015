"""The one place that opens MongoDB, and the one translation of its failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidName,
    NotPrimaryError,
    PyMongoError,
    WTimeoutError,
)

from services.errors import Unavailable
from services.settings import Settings

Document = dict[str, Any]
Db = Database[Document]
T = TypeVar("T")

# Transaction commits whose outcome is unknown are retried by pymongo under the same transaction number, so a lost
# reply never doubles a write; the loop is bounded by the client's own 120 s limit.
READ_TIMEOUT_SECONDS = 3.0
# Post-image gone, place overwritten, token unusable, stream broken, history lost: no trying again brings changes back.
HISTORY_LOST_CODES = frozenset({47, 136, 260, 280, 286})


def connect(settings: Settings, *, timeout_seconds: float = READ_TIMEOUT_SECONDS, app: str = "fraud-desk") -> Db:
    """The desk's database. Lazy: nothing is sent until the first operation.

    Every operation is bounded: finding a server, connecting and waiting for a reply each take at most
    `timeout_seconds` before `Unavailable` is raised (see `translated`). Times come back aware, in UTC. Raises
    Unavailable at once for an address that is none, or whose host name cannot be looked up (mongodb+srv).
    """
    milliseconds = int(timeout_seconds * 1000)
    unusable = Unavailable(
        "MONGODB_URI or FRAUD_DESK_DATABASE cannot be used: check the address, its host name and its options, and "
        "that the name of the database has no dots or spaces.",
        dependency="MongoDB",
    )
    # Raised from nothing: the driver's words, and those it has from its own parser, can quote the password.
    try:
        client: MongoClient[Document] = MongoClient(
            settings.mongodb_uri,
            appname=app,
            tz_aware=True,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=max(milliseconds, 10_000) if timeout_seconds > READ_TIMEOUT_SECONDS else milliseconds,
            maxPoolSize=50,
            waitQueueTimeoutMS=milliseconds,
        )
    except (ConfigurationError, ValueError):
        raise unusable from None
    try:
        return client[settings.database]
    except InvalidName:
        client.close()
        raise unusable from None


@contextmanager
def translated() -> Iterator[None]:
    """Turn "the database did not answer" into `Unavailable`; every other error is ours and propagates."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, NotPrimaryError, WTimeoutError) as error:
        raise Unavailable("MongoDB is not reachable.", dependency="MongoDB") from error
    except PyMongoError as error:
        # Transient by MongoDB's own word (step-down, shutdown in progress, snapshot gone): trying again can succeed.
        if error.has_error_label("TransientTransactionError") or getattr(error, "code", None) in (91, 11600, 189):
            raise Unavailable("MongoDB is not reachable.", dependency="MongoDB") from error
        raise


def in_transaction(db: Db, work: Callable[[ClientSession], T], session: ClientSession | None = None) -> T:
    """Run `work(session)` as one database transaction: all of its writes happen, or none.

    `work` may run more than once (transient conflicts); it must build everything from its arguments.
    """
    with translated():
        if session is not None:
            return session.with_transaction(work)
        with db.client.start_session() as own:
            return own.with_transaction(work)
