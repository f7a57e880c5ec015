"""What serves an endpoint right now: the containers of one configuration, and the switch from one to the next."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping
from typing import Any

from embedded.aws.config import Config
from embedded.aws.log_files import LogFiles
from embedded.aws.objects import Objects
from embedded.aws.processes import Processes
from embedded.aws.sagemaker.containers import Container, ContainerFailed
from embedded.aws.store import Record, Table, now

log = logging.getLogger(__name__)

_INTERNAL = "Request to service failed. If failure persists after retry, contact customer support."
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0


class Fleet:
    """The containers of all variants of one endpoint configuration."""

    def __init__(self, config_name: str, containers: list[Container]) -> None:
        self.config_name = config_name
        self.containers = {container.variant: container for container in containers}
        self._ordered = list(containers)
        self._weights = [container.weight for container in containers]

    def choose(self, variant: str | None) -> Container | None:
        """The container of this variant, or one by weight; None when there is no such variant."""
        if variant is not None:
            return self.containers.get(variant)
        if len(self._ordered) == 1:
            return self._ordered[0]
        if not any(self._weights):
            return None
        return random.choices(self._ordered, self._weights)[0]

    async def start(self) -> None:
        """Raises ContainerFailed of the first that fails; the others are then stopped too."""
        results = await asyncio.gather(*(c.start() for c in self._ordered), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop(drain_seconds=0)
            raise failures[0]

    async def stop(self, *, drain_seconds: float = 60.0) -> None:
        await asyncio.gather(*(container.stop(drain_seconds=drain_seconds) for container in self._ordered))


class Fleets:
    """Endpoints' fleets by name, and the background work that moves endpoints between their states."""

    def __init__(self, config: Config, table: Table, objects: Objects, processes: Processes, logs: LogFiles) -> None:
        self._config = config
        self._table = table
        self._objects = objects
        self._processes = processes
        self._logs = logs
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self.live: dict[str, Fleet] = {}

    def _fleet(self, endpoint: str, deployment: Mapping[str, Any]) -> Fleet:
        containers = [
            Container(
                endpoint,
                uuid.uuid4().hex[:12],
                spec,
                config=self._config,
                objects=self._objects,
                processes=self._processes,
                logs=self._logs,
            )
            for spec in deployment["Variants"]
        ]
        return Fleet(deployment["EndpointConfigName"], containers)

    def begin(self, name: str) -> None:
        """Work on the endpoint in the background according to the status in its record."""
        self._tasks[name] = asyncio.create_task(self._work(name), name=f"endpoint-{name}")

    def recover(self) -> None:
        """Continue what a former server left: serve, go on with a creation or update, finish a deletion."""
        for name, _ in self._table.items():
            self.begin(name)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.gather(*(fleet.stop(drain_seconds=2) for fleet in self.live.values()))
        await asyncio.gather(*self._stopping, return_exceptions=True)

    async def _work(self, name: str) -> None:
        record = self._table.get(name)
        if record is None:
            return
        try:
            status = record["EndpointStatus"]
            if status == "Creating":
                await self._create(name, record)
            elif status == "Deleting":
                await self._delete(name)
            elif "deployed" in record:
                if name not in self.live:
                    await self._serve_again(name, record["deployed"])
                if status in ("Updating", "RollingBack"):
                    await self._update(name, record)
        except Exception:
            log.exception("endpoint_work_broke name=%s", name)
            await self._fail(name, _INTERNAL)
        finally:
            if self._tasks.get(name) is asyncio.current_task():
                del self._tasks[name]

    async def _create(self, name: str, record: Record) -> None:
        fleet = self._fleet(name, record["pending"])
        try:
            await fleet.start()
        except ContainerFailed as exc:
            await self._fail(name, str(exc))
            return
        await self._adopt(name, fleet, record)

    async def _update(self, name: str, record: Record) -> None:
        """Blue/green: the new fleet takes over only when all of it is healthy; otherwise the old one stays."""
        fleet = self._fleet(name, record["pending"])
        try:
            await fleet.start()
        except ContainerFailed as exc:
            await self._table.update_surely(
                name, lambda _: {"EndpointStatus": "RollingBack", "LastModifiedTime": now()}
            )
            changes = {
                "EndpointStatus": "InService",
                "FailureReason": str(exc),
                "pending": None,
                "LastModifiedTime": now(),
            }
            await self._table.update_surely(name, lambda _: changes)
            return
        await self._adopt(name, fleet, record)

    async def _adopt(self, name: str, fleet: Fleet, record: Record) -> None:
        """Write the new state, then switch: no request is ever without a fleet."""
        pending = record["pending"]
        changes = {
            "EndpointStatus": "InService",
            "EndpointConfigName": fleet.config_name,
            "deployed": pending,
            "pending": None,
            "FailureReason": None,
            "LastDeploymentConfig": pending.get("DeploymentConfig"),
            "LastModifiedTime": now(),
        }
        try:
            changed = await self._table.update_surely(name, lambda _: changes)
        except BaseException:
            await fleet.stop(drain_seconds=0)
            raise
        if changed is None:
            await fleet.stop(drain_seconds=0)
            return
        former = self.live.get(name)
        self.live[name] = fleet
        if former is not None:
            task = asyncio.create_task(former.stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _serve_again(self, name: str, deployment: Mapping[str, Any]) -> None:
        """After a restart of the server: the endpoint was in service, so keep trying until it is."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            fleet = self._fleet(name, deployment)
            try:
                await fleet.start()
            except ContainerFailed as exc:
                log.warning("endpoint_not_back name=%s %s", name, exc)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)
            else:
                self.live[name] = fleet
                return

    async def _delete(self, name: str) -> None:
        fleet = self.live.pop(name, None)
        if fleet is not None:
            await fleet.stop()
        await self._table.delete_surely(name)

    async def delete_now(self, name: str) -> None:
        """Stop whatever is under way for the endpoint, then work off the deletion its record asks for."""
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.begin(name)

    async def _fail(self, name: str, reason: str) -> None:
        """An endpoint that has a fleet stays in service with it, whatever went wrong on the way to another."""
        status = "InService" if name in self.live else "Failed"
        changes = {"EndpointStatus": status, "FailureReason": reason[:1024], "LastModifiedTime": now()}
        await self._table.update_surely(name, lambda _: changes | {"pending": None})
