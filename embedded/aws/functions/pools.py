"""The processes of each function: one started warm, one more when both are needed, reused until the code changes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from embedded.aws.config import Config
from embedded.aws.errors import AwsError
from embedded.aws.functions.workers import Outcome, Worker, WorkerLost
from embedded.aws.log_files import LogFiles
from embedded.aws.processes import Processes
from embedded.aws.store import Record

log = logging.getLogger(__name__)

MOST_PROCESSES = 2


class Pool:
    """All processes of one version of one function's code and configuration."""

    def __init__(self, record: Record, code: Path, config: Config, processes: Processes, logs: LogFiles) -> None:
        self._new = lambda: Worker(record, code, config, processes, logs)
        self._timeout = float(record["Timeout"])
        self._name = record["FunctionName"]
        self._idle: list[Worker] = []
        self._slots = asyncio.Semaphore(MOST_PROCESSES)
        self._warming: asyncio.Task[None] | None = None
        self._busy = 0
        self._closed = False

    def warm(self) -> None:
        """Start the first process in the background; a handler that cannot be loaded is reported when invoked."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm(), name=f"warm-{self._name}")

    async def _warm(self) -> None:
        async with self._slots:
            if self._idle or self._closed:
                return
            try:
                await self._add_idle()
            except WorkerLost as exc:
                log.warning("function_not_warm name=%s %s", self._name, exc.payload[:300].decode("utf-8", "replace"))

    async def _add_idle(self) -> None:
        worker = self._new()
        try:
            await worker.start()
        except BaseException:
            await worker.stop()
            raise
        self._idle.append(worker)

    async def invoke(self, payload: bytes, client_context: str | None) -> Outcome:
        """Raises AwsError 429 when both processes stay busy for the length of the function's timeout."""
        try:
            await asyncio.wait_for(self._slots.acquire(), max(self._timeout, 1.0))
        except TimeoutError:
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields={"Type": "User"}) from None
        self._busy += 1
        worker: Worker | None = None
        try:
            worker = await self._take()
            return await worker.invoke(payload, client_context)
        except WorkerLost as exc:
            return Outcome(exc.payload, "Unhandled", "")
        finally:
            if worker is not None:
                if worker.alive and not self._closed:
                    self._idle.append(worker)
                else:
                    await asyncio.shield(worker.stop())
            self._busy -= 1
            self._slots.release()
            if worker is not None and not self._idle and not self._closed:
                self.warm()

    async def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.stop()
        await self._add_idle()
        return self._idle.pop()

    async def close(self, *, drain: bool) -> None:
        """End idle processes now, busy ones when their event is done (`drain`) or at once."""
        self._closed = True
        if self._warming is not None:
            if not drain:
                self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        while drain and self._busy:
            await asyncio.sleep(0.02)
        while self._idle:
            await self._idle.pop().stop()


class Pools:
    """The pool in use for each function; a new version takes over at once and the former one drains."""

    def __init__(self, config: Config, processes: Processes, logs: LogFiles) -> None:
        self._config = config
        self._processes = processes
        self._logs = logs
        self._pools: dict[str, Pool] = {}
        self._draining: set[asyncio.Task[Any]] = set()
        self._events: set[asyncio.Task[Any]] = set()

    def use(self, record: Record, code: Path) -> None:
        name = record["FunctionName"]
        self.drop(name)
        pool = self._pools[name] = Pool(record, code, self._config, self._processes, self._logs)
        pool.warm()

    def drop(self, name: str) -> None:
        former = self._pools.pop(name, None)
        if former is not None:
            task = asyncio.create_task(former.close(drain=True))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    def get(self, name: str) -> Pool | None:
        return self._pools.get(name)

    def in_background(self, pool: Pool, payload: bytes, client_context: str | None) -> None:
        """Run an Event invocation; its outcome is in the log only."""
        task = asyncio.create_task(pool.invoke(payload, client_context))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def close(self) -> None:
        for task in (*self._draining, *self._events):
            task.cancel()
        await asyncio.gather(*(pool.close(drain=False) for pool in self._pools.values()), return_exceptions=True)
