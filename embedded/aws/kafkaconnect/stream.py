"""The connector that is really there: `workers.stream`, by what it reports and by what it is told.

It reports in `workers` and obeys `controls` of the desk's database (docs/contracts.md); nothing is remembered here that
those do not say, so what is shown is what is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import PyMongoError

from embedded.aws.cloudwatch.counters import Metrics
from embedded.aws.config import Config
from embedded.aws.store import Store, now

log = logging.getLogger(__name__)

NAME = "fraud-desk-stream"
WORKER = "stream"
_SILENT_AFTER = timedelta(seconds=10)
_SAMPLE_SECONDS = 5.0
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """The connector at one moment: `state` in MSK Connect's words, `task` in Kafka Connect's, `trace` what is wrong."""

    state: str
    task: str
    trace: str | None
    started_at: datetime | None
    paused: bool
    worker_id: str


class StreamConnector:
    """What the worker says and what it was told, read from the desk's database; pausing is writing `controls`."""

    def __init__(self, config: Config, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._desk = store.other_database(config.desk_database)
        self._sampling: asyncio.Task[None] | None = None
        self.arn = config.arn("kafkaconnect", f"connector/{NAME}/5f2c1d0e-stream-1")

    async def open(self) -> None:
        self._sampling = asyncio.create_task(self._sample(), name="connect-metrics")

    async def close(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
            with suppress(asyncio.CancelledError):
                await self._sampling

    async def look(self) -> Seen | None:
        """None before the worker's first start: then there is no connector. AwsError 503 while MongoDB is away."""
        status = await self._store.guarded(self._desk["workers"].find_one({"_id": WORKER}))
        control = await self._store.guarded(self._desk["controls"].find_one({"_id": WORKER})) or {}
        return _seen(status, control, now()) if status else None

    async def tell(self, *, paused: bool) -> None:
        """The API knows no person: who asked for it is in the audit of whoever called."""
        control = {"paused": paused, "by": "the Kafka Connect API", "at": now()}
        await self._store.guarded(self._desk["controls"].replace_one({"_id": WORKER}, control, upsert=True))

    async def _sample(self) -> None:
        """The metrics of AWS/KafkaConnect, several times a minute."""
        while True:
            if self._store.available:
                try:
                    status = await self._desk["workers"].find_one({"_id": WORKER})
                    control = await self._desk["controls"].find_one({"_id": WORKER}) or {}
                except PyMongoError as error:
                    log.warning("connect_metrics_missed error=%s", type(error).__name__)
                else:
                    if status:
                        self._count(_seen(status, control, now()))
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _count(self, seen: Seen) -> None:
        values = {
            "RunningTaskCount": float(seen.task == "RUNNING"),
            "PausedTaskCount": float(seen.task == "PAUSED"),
            "ErroredTaskCount": float(seen.task == "FAILED"),
        }
        self._metrics.gauges(NAME, values)


def _seen(status: Document, control: Document, at: datetime) -> Seen:
    paused, waiting = bool(control.get("paused")), status["state"] == "waiting"
    state, task, trace = "RUNNING", "RUNNING", None
    error = (status.get("last_error") or {}).get("message")
    silent = at - status["heartbeat_at"].astimezone(UTC) > _SILENT_AFTER
    if silent or status["state"] in ("failed", "stopped"):
        trace = error if status["state"] == "failed" else f"No heartbeat since {status['heartbeat_at']:%H:%M:%S} UTC."
        state, task = "FAILED", "FAILED"
    elif paused:
        state, task = ("PAUSED", "PAUSED") if waiting else ("PAUSING", "RUNNING")
    elif waiting and str(error).startswith("Paused"):
        state, task = "RESUMING", "PAUSED"
    elif waiting:
        trace = error
    elif status["state"] == "starting":
        state, task = "RESTARTING", "UNASSIGNED"
    return Seen(state, task, trace, status.get("started_at"), paused, f"127.0.0.1:{status['pid']}")
