"""What is in MongoDB and what happens there, in commit order.

Invariant: reading from a committed place again yields the same changes in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bson.timestamp import Timestamp
from pymongo.read_concern import ReadConcern

from services.adapters.change_reader import LENIENT, Change, ChangeReader
from services.adapters.mongo.client import Db, translated
from services.adapters.stream_place import Place


class ChangeSource:
    """Reads the collections in `collections`: first as they are, then as they change."""

    def __init__(self, db: Db, collections: Sequence[str], *, batch_size: int = 2000) -> None:
        self._db = db.with_options(codec_options=LENIENT, read_concern=ReadConcern("majority"))
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
        """What changed after `place`, to be used as a context manager."""
        watched = {"ns.coll": {"$in": list(self._collections)}}
        ended = {"operationType": {"$in": ["dropDatabase", "invalidate"]}}
        return ChangeReader(
            self._db,
            [{"$match": {"$or": [watched, ended]}}],
            token=place.token,
            started_at=place.started_at,
            wait_seconds=wait_seconds,
        )
