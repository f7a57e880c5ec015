"""What the stream is measured on: transactions of the simulator, inserted and then scored, as in the running desk."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne

from embedded.simulator import history
from services.adapters.mongo.client import Db

_BATCH = 5000
_FEATURES = [f"feature_{number:02d}_in_words" for number in range(40)]
_UNTIL = datetime(2026, 6, 1, tzinfo=UTC)


def documents(count: int, seed: int) -> Iterator[list[dict[str, Any]]]:
    return history.generate(transactions=count, seed=seed, until=_UNTIL).batches(_BATCH)


def scored(document: dict[str, Any], rng: random.Random) -> UpdateOne:
    """The change the scorer makes: a score with three reasons, and the features it came from."""
    reasons = [
        {"feature": name, "text": "The amount is far above what this customer usually pays", "value": rng.random(),
         "normal": rng.random(), "contribution": rng.random()}
        for name in _FEATURES[:3]
    ]  # fmt: skip
    score = {
        "value": rng.random(), "decision": "approve", "review_threshold": 0.5, "decline_threshold": 0.9,
        "model_version": "v1", "features_version": "1", "reasons": reasons, "latency_ms": 12.5, "scored_at": _UNTIL,
    }  # fmt: skip
    features = {name: rng.random() for name in _FEATURES}
    return UpdateOne({"_id": document["_id"]}, {"$set": {"score": score, "features": features}, "$inc": {"version": 1}})


def fill(db: Db, count: int) -> int:
    """Insert `count` transactions and score each; the number of changes this makes."""
    rng = random.Random(7)
    for batch in documents(count, seed=7):
        db["transactions"].insert_many(batch)
        db["transactions"].bulk_write([scored(document, rng) for document in batch], ordered=False)
    return 2 * count


class Steady(threading.Thread):
    """`rate` transactions a second, each inserted and scored, for `seconds`."""

    def __init__(self, db: Db, rate: int, seconds: int) -> None:
        super().__init__(name="load")
        self._db, self._rate, self._seconds = db, rate, seconds
        self.sent = 0

    def run(self) -> None:
        rng, begun = random.Random(11), time.monotonic()
        waiting = [document for batch in documents(self._rate * self._seconds, seed=11) for document in batch]
        begun = time.monotonic()
        step = self._rate // 10
        for first in range(0, len(waiting), step):
            part = waiting[first : first + step]
            self._db["transactions"].insert_many(part)
            self._db["transactions"].bulk_write([scored(document, rng) for document in part], ordered=False)
            self.sent += len(part)
            time.sleep(max(0.0, begun + self.sent / self._rate - time.monotonic()))
