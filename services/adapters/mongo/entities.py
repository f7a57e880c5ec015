"""The feature engine's state of each entity, and the thresholds of each model version."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from services.adapters.mongo.client import Db, translated
from services.domain.thresholds import Thresholds

_FRESH_SECONDS = 5.0


class MongoEntityStore:
    """Satisfies `services.live_scoring.EntityStore`."""

    def __init__(self, db: Db) -> None:
        self._db, self._entities = db, db["entities"]

    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        with translated():
            return {d["_id"]: d["state"] for d in self._entities.find({"_id": {"$in": list(keys)}}, {"state": 1})}

    def known(self, kind: str, limit: int) -> tuple[str, ...]:
        """Names of this kind, in order; the range of the ids is what an index has."""
        prefix = f"{kind}:"
        with translated():
            found = self._entities.find({"_id": {"$gte": prefix, "$lt": f"{kind};"}}, {"_id": 1}).sort("_id", 1)
            return tuple(d["_id"].removeprefix(prefix) for d in found.limit(limit))

    def transactions(self, ids: Sequence[str]) -> dict[str, Any]:
        """What names the entities of these transactions, by id."""
        named = {"customer_id": 1, "card.token": 1, "merchant": 1, "terminal_id": 1, "device.id": 1, "attributes": 1}
        with translated():
            return {d["_id"]: d for d in self._db["transactions"].find({"_id": {"$in": list(ids)}}, named)}


class MongoThresholdStore:
    """Satisfies `services.scoring.ThresholdStore`; a version's thresholds are remembered for a few seconds."""

    def __init__(self, db: Db) -> None:
        self._thresholds = db["thresholds"]
        self._remembered: dict[str, tuple[float, Thresholds]] = {}

    def for_version(self, model_version: str) -> Thresholds | None:
        remembered = self._remembered.get(model_version)
        if remembered and time.monotonic() - remembered[0] < _FRESH_SECONDS:
            return remembered[1]
        with translated():
            found = self._thresholds.find_one({"_id": model_version})
        if found is None:
            return None
        thresholds = Thresholds(model_version, found["review"], found["decline"])
        self._remembered[model_version] = (time.monotonic(), thresholds)
        return thresholds
