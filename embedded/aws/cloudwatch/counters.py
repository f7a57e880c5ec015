"""What endpoints did, minute by minute: counted in memory, written to MongoDB every few seconds, kept 15 days."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ReplaceOne
from pymongo.errors import PyMongoError

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 3.0
_KEPT_DAYS = 15
# Latencies are kept as counts in buckets 4 % wide, enough for percentiles.
_BUCKET_WIDTH = math.log(1.04)


@dataclass(slots=True)
class Minute:
    """Statistics of one metric in one minute (or more, when merged)."""

    count: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        bucket = math.floor(math.log(value) / _BUCKET_WIDTH) if value > 0 else -1_000_000
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: Minute) -> None:
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def percentile(self, share: float) -> float:
        """Nearest rank over the buckets, within 4 %; `share` in (0, 1]."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                middle = math.exp((bucket + 0.5) * _BUCKET_WIDTH) if bucket > -1_000_000 else 0.0
                return min(max(middle, self.low), self.high)
        return self.high


Key = tuple[str, str, str]
# In the place of a variant, where the metric is a connector's. No variant can have this name.
CONNECTORS = "AWS/KafkaConnect"


class Metrics:
    """Counters by (endpoint, variant, metric). What was counted in the last seconds before a kill is lost."""

    def __init__(self, database: Any, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._collection = database["metric_minutes"]
        self._now = now
        self._minutes: dict[Key, dict[int, Minute]] = {}
        self._dirty: set[tuple[Key, int]] = set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load what is kept. Needs MongoDB."""
        await self._collection.create_index("at", expireAfterSeconds=_KEPT_DAYS * 86_400)
        since = self._now() - timedelta(days=_KEPT_DAYS)
        async for document in self._collection.find({"at": {"$gte": since}}):
            key = (document["endpoint"], document["variant"], document["metric"])
            buckets = dict(document["buckets"])
            minute = Minute(document["count"], document["total"], document["low"], document["high"], buckets)
            self._minutes.setdefault(key, {})[int(document["at"].timestamp()) // 60] = minute
        self._task = asyncio.create_task(self._flushing(), name="metrics-flush")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(PyMongoError):
            await self._flush()

    def invocation(
        self, endpoint: str, variant: str, *, status: int, model_us: float | None, overhead_us: float | None
    ) -> None:
        """Count one request that reached a variant. `status` is the container's, or ours when it gave none."""
        minute = int(self._now().timestamp()) // 60
        values = {
            "Invocations": 1.0,
            "Invocation4XXErrors": float(400 <= status < 500),
            "Invocation5XXErrors": float(status >= 500),
            "ModelLatency": model_us,
            "OverheadLatency": overhead_us,
        }
        for metric, value in values.items():
            if value is not None:
                key = (endpoint, variant, metric)
                self._minutes.setdefault(key, {}).setdefault(minute, Minute()).add(value)
                self._dirty.add((key, minute))

    def gauges(self, connector: str, values: Mapping[str, float]) -> None:
        """One sample of each metric of a connector."""
        minute = int(self._now().timestamp()) // 60
        for metric, value in values.items():
            key = (connector, CONNECTORS, metric)
            self._minutes.setdefault(key, {}).setdefault(minute, Minute()).add(value)
            self._dirty.add((key, minute))

    def series(self, key: Key, start: datetime, end: datetime, period_seconds: int) -> list[tuple[datetime, Minute]]:
        """Periods in [start, end) that have data, oldest first; periods are aligned to the epoch."""
        merged: dict[int, Minute] = {}
        first, last = int(start.timestamp()), math.ceil(end.timestamp())
        for minute, statistics in self._minutes.get(key, {}).items():
            at = minute * 60
            period = at // period_seconds * period_seconds
            if first // period_seconds * period_seconds <= at < last:
                merged.setdefault(period, Minute()).merge(statistics)
        return [(datetime.fromtimestamp(at, UTC), merged[at]) for at in sorted(merged)]

    async def _flushing(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                await self._flush()
                self._forget_old()
            except PyMongoError as exc:
                log.warning("metrics_not_written error=%s", type(exc).__name__)

    async def _flush(self) -> None:
        writing, self._dirty = self._dirty, set()
        if not writing:
            return
        try:
            await self._collection.bulk_write(
                [self._replacement(key, minute) for key, minute in writing], ordered=False
            )
        except PyMongoError:
            self._dirty |= writing
            raise

    def _replacement(self, key: Key, minute: int) -> ReplaceOne[dict[str, Any]]:
        statistics = self._minutes[key][minute]
        endpoint, variant, metric = key
        identity = f"{endpoint}/{variant}/{metric}/{minute}"
        document = {
            "_id": identity,
            "at": datetime.fromtimestamp(minute * 60, UTC),
            "endpoint": endpoint,
            "variant": variant,
            "metric": metric,
            "count": statistics.count,
            "total": statistics.total,
            "low": statistics.low,
            "high": statistics.high,
            "buckets": [[bucket, count] for bucket, count in statistics.buckets.items()],
        }
        return ReplaceOne({"_id": identity}, document, upsert=True)

    def _forget_old(self) -> None:
        oldest = int(self._now().timestamp()) // 60 - _KEPT_DAYS * 1440
        for minutes in self._minutes.values():
            for minute in [m for m in minutes if m < oldest]:
                del minutes[minute]
