"""Where the stream puts what it read: objects in the raw zone, or records in Kafka for somebody else to write there."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from services.adapters.kafka import Sender
from services.adapters.s3 import ObjectStore
from services.adapters.stream_place import Place, PlaceStore
from services.errors import Conflict
from workers.stream_objects import Batch

_GZIP_LEVEL = 1
# Where gzip's header has its time (RFC 1952), which nobody checks.
_STAMP = slice(4, 8)


class Target(Protocol):
    """Stores batches for good before `store` returns; storing the same again after a crash is harmless."""

    # Whether lines carry the offset that they will have in the raw zone.
    numbered: bool

    def partitions(self, topic: str) -> int: ...

    def store(self, batches: Sequence[Batch], committed: Place) -> None:
        """`committed` is the place as it stands: to prove that it is still this process that moves it."""

    def close(self) -> None: ...


class RawZone:
    """One object a batch, each topic being one partition."""

    numbered = True

    def __init__(
        self, objects: ObjectStore, places: PlaceStore, after_put: Callable[[str], None] = lambda _key: None
    ) -> None:
        """`after_put` is called with the key after each object: where a crash leaves one that nobody knows of."""
        self._objects, self._places, self._after_put = objects, places, after_put

    def partitions(self, topic: str) -> int:
        return 1

    def store(self, batches: Sequence[Batch], committed: Place) -> None:
        for batch in batches:
            # Bytes that only this turn writes: a process that was overtaken while it replaces an object must not find
            # the etag it saw, which it would if its heir had written the same lines.
            body = gzip(batch.body(), stamp=self._places.fence)
            self._places.require_held()
            try:
                self._objects.put_if(batch.key, body, former_etag=None)
            except Conflict:
                # Ours from before a crash, or of somebody who took over: the fence in MongoDB tells.
                former = self._objects.etag(batch.key)
                self._places.commit(committed)
                self._objects.put_if(batch.key, body, former_etag=former)
            self._after_put(batch.key)

    def close(self) -> None:
        pass


class KafkaTopics:
    """One record a line, by document id to a partition, so that each document's changes stay in order."""

    numbered = False

    def __init__(self, sender: Sender, places: PlaceStore, topics: Iterable[str]) -> None:
        """Makes sure that the topics are there. Raises Unavailable."""
        self._sender, self._places = sender, places
        for topic in topics:
            sender.partitions(topic)

    def partitions(self, topic: str) -> int:
        return self._sender.partitions(topic)

    def store(self, batches: Sequence[Batch], committed: Place) -> None:
        self._places.require_held()
        for batch in batches:
            for number, (line, key) in enumerate(zip(batch.lines, batch.keys, strict=True)):
                self._sender.send(
                    batch.topic, str(key).encode("utf-8", "replace"), line, partition=batch.pinned.get(number)
                )
        self._sender.flush(self._places.require_held)

    def close(self) -> None:
        self._sender.close()


def gzip(body: bytes, stamp: int = 0) -> bytes:
    """gzip with `stamp` (modulo 2**32) where others put the time: the same lines and stamp are the same bytes."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    packed = packer.compress(body) + packer.flush()
    return packed[: _STAMP.start] + (stamp % 2**32).to_bytes(4, "little") + packed[_STAMP.stop :]


def gunzip(body: bytes) -> bytes:
    """Raises Conflict for an object that `gzip` did not write."""
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(body)
    except zlib.error as error:
        raise Conflict("The raw zone has a damaged object where this one belongs; remove it.") from error
    return text
