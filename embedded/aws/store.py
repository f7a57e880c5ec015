"""Records in MongoDB, kept in memory: read from memory, written through before memory changes.

A record is what a restart must bring back. A write that MongoDB did not confirm leaves memory as it was, so what a
caller has been shown survives a kill -9. One server owns the database; collections are named by kind of record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, ExecutionTimeout, NetworkTimeout, PyMongoError, WTimeoutError

from embedded.aws.errors import AwsError, unavailable

log = logging.getLogger(__name__)

Record = dict[str, Any]
_AWAY = (AutoReconnect, ExecutionTimeout, NetworkTimeout, WTimeoutError)
_OPERATION_MS = 1500
_SELECTION_MS = 800
_PROBE_SECONDS = 1.0
_RETRY_SECONDS = 0.5


def now() -> datetime:
    """The current time in UTC, cut to the millisecond that MongoDB keeps."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class AlreadyExists(Exception):
    """A record of this key is there; it was not changed. `record` is the one found."""

    def __init__(self, record: Record) -> None:
        super().__init__("record exists")
        self.record = record


class Table:
    """All records of one kind by key. Records must be treated as read-only; `change` replaces them."""

    def __init__(self, store: Store, name: str, collection: AsyncCollection[Record]) -> None:
        self._store = store
        self._collection = collection
        self._lock = asyncio.Lock()
        self._records: dict[str, Record] = {}
        self.name = name

    async def load(self) -> None:
        self._records = {document.pop("_id"): document async for document in self._collection.find({})}

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self._records.values()))

    def items(self) -> tuple[tuple[str, Record], ...]:
        return tuple(self._records.items())

    async def create(self, key: str, record: Record) -> None:
        """Raises AlreadyExists, or AwsError 503 when MongoDB is away; nothing is kept then."""
        async with self._lock:
            found = self._records.get(key)
            if found is not None:
                raise AlreadyExists(found)
            await self._write(key, record)

    async def update(self, key: str, compute: Callable[[Record], Record]) -> Record:
        """Set the fields that `compute` derives from the record as it is now (None removes one).

        Nobody else changes the record in between. KeyError when it is gone; errors of `compute` change nothing.
        """
        async with self._lock:
            former = self._records[key]
            record = {k: v for k, v in {**former, **compute(former)}.items() if v is not None}
            await self._write(key, record)
            return record

    async def change(self, key: str, /, **fields: Any) -> Record:
        """Set fields (None removes one) of an existing record. KeyError when it is gone."""
        return await self.update(key, lambda _: fields)

    async def update_surely(self, key: str, compute: Callable[[Record], Record]) -> Record | None:
        """Like `update` for background work: waits for MongoDB as long as needed. None when the record is gone."""
        while True:
            try:
                return await self.update(key, compute)
            except KeyError:
                return None
            except AwsError:
                await asyncio.sleep(_RETRY_SECONDS)

    async def delete(self, key: str) -> None:
        """Removing what is not there is no error. AwsError 503 when MongoDB is away."""
        async with self._lock:
            await self._store.guarded(self._collection.delete_one({"_id": key}))
            self._records.pop(key, None)

    async def delete_surely(self, key: str) -> None:
        while True:
            try:
                return await self.delete(key)
            except AwsError:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _write(self, key: str, record: Record) -> None:
        await self._store.guarded(self._collection.replace_one({"_id": key}, {"_id": key, **record}, upsert=True))
        self._records[key] = record


class Store:
    """The connection, its tables, and whether MongoDB answers at the moment (`available`)."""

    TABLES = (
        "training_jobs",
        "auto_ml_jobs",
        "models",
        "endpoint_configs",
        "endpoints",
        "model_package_groups",
        "model_packages",
        "functions",
        "connector_operations",
    )

    def __init__(self, uri: str, database: str = "embedded_aws") -> None:
        self._client: AsyncMongoClient[Record] = AsyncMongoClient(
            uri,
            timeoutMS=_OPERATION_MS,
            serverSelectionTimeoutMS=_SELECTION_MS,
            connectTimeoutMS=_SELECTION_MS,
            appname="embedded-aws",
        )
        options: CodecOptions[Record] = CodecOptions(tz_aware=True, tzinfo=UTC)
        concern = WriteConcern(w="majority")
        self.database = self._client.get_database(database, codec_options=options, write_concern=concern)
        self._options, self._concern = options, concern
        self._tables = {name: Table(self, name, self.database[name]) for name in self.TABLES}
        self._probe: asyncio.Task[None] | None = None
        self.available = False

    def __getitem__(self, name: str) -> Table:
        return self._tables[name]

    def other_database(self, name: str) -> AsyncDatabase[Record]:
        """A database of the same server that somebody else owns."""
        return self._client.get_database(name, codec_options=self._options, write_concern=self._concern)

    async def open(self, patience_seconds: float = 60.0) -> None:
        """Load every table; waits for MongoDB to come up. Raises the last error when patience ends."""
        deadline = asyncio.get_running_loop().time() + patience_seconds
        while True:
            try:
                for table in self._tables.values():
                    await table.load()
                break
            except _AWAY:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
        self.available = True
        self._probe = asyncio.create_task(self._watch(), name="store-probe")

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            with suppress(asyncio.CancelledError):
                await self._probe
        await self._client.close()

    async def guarded(self, operation: Any) -> Any:
        """Await a database operation; an absent MongoDB becomes AwsError 503, every other error propagates."""
        try:
            result = await operation
        except _AWAY as exc:
            self._set(False, exc)
            raise unavailable("The service's database does not answer. Nothing was changed; try again.") from exc
        self._set(True, None)
        return result

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            try:
                await self.database.command("ping")
                self._set(True, None)
            except PyMongoError as exc:
                self._set(False, exc)

    def _set(self, available: bool, exc: BaseException | None) -> None:
        if available != self.available:
            self.available = available
            if available:
                log.info("mongodb_back")
            else:
                log.warning("mongodb_away error=%s", type(exc).__name__)
