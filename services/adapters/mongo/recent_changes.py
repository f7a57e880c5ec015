"""What MongoDB held last at a given moment: the yardstick for whether the lake has caught up."""

from __future__ import annotations

from datetime import datetime

from services.adapters.mongo.client import Db, translated


class MongoRecentChanges:
    """`MongoRecentChanges(db)`. Satisfies `workers.lifecycle_lake.RecentChanges`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def labels(self, until: datetime, *, limit: int) -> dict[str, datetime]:
        """The last `limit` verdicts known by `until` (inclusive): label id -> labelled_at."""
        with translated():
            cursor = (
                self._db["labels"]
                .find({"labelled_at": {"$lte": until}}, {"labelled_at": 1})
                .sort([("labelled_at", -1), ("_id", -1)])
                .limit(limit)
            )
            return {document["_id"]: document["labelled_at"] for document in cursor}

    def transactions(self, until: datetime, *, limit: int) -> dict[str, datetime]:
        """Of the latest `limit` transactions that happened by `until`, those received by then: id -> event_time."""
        with translated():
            cursor = (
                self._db["transactions"]
                .find({"event_time": {"$lte": until}}, {"event_time": 1, "received_at": 1})
                .sort([("event_time", -1), ("_id", -1)])
                .limit(limit)
            )
            return {d["_id"]: d["event_time"] for d in cursor if d["received_at"] <= until}
