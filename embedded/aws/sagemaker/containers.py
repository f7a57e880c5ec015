"""One serving container: a process by the container contract, watched and restarted for as long as it is wanted."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from embedded.aws.archives import BadArchive, extract_tar
from embedded.aws.config import Config
from embedded.aws.log_files import LogFiles
from embedded.aws.objects import ObjectError, Objects
from embedded.aws.processes import Child, Processes, base_environment
from embedded.aws.upstream import Upstream, UpstreamGone

log = logging.getLogger(__name__)

_MODEL_BYTES = 2 * 2**30
_PING_SECONDS = 2.0
_WATCH_SECONDS = 5.0
_HUNG_AFTER = 3
_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 30.0
_TERM_SECONDS = 10.0
_DEFAULT_STARTUP_SECONDS = 120


class ContainerFailed(Exception):
    """The container did not become healthy; the text is the endpoint's FailureReason."""


def free_port() -> int:
    """A port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Container:
    """Serves one variant. `spec`: VariantName, ModelDataUrl (or absent), Environment, StartupSeconds.

    `ready` tells whether requests can be sent to `upstream` now.
    """

    def __init__(
        self,
        endpoint: str,
        identity: str,
        spec: Mapping[str, Any],
        *,
        config: Config,
        objects: Objects,
        processes: Processes,
        logs: LogFiles,
    ) -> None:
        self.variant: str = spec["VariantName"]
        self.weight = float(spec["Weight"])
        self.inflight = 0
        self.ready = False
        self.upstream: Upstream | None = None
        self._endpoint = endpoint
        self._spec = spec
        self._config = config
        self._objects = objects
        self._processes = processes
        self._folder = config.state / "endpoints" / endpoint / f"{self.variant}-{identity}"
        self._group = f"/aws/sagemaker/Endpoints/{endpoint}"
        self._logs = logs.writer(self._group, lambda n: f"{self.variant}/i-{identity}-{n}", max_bytes=8 * 2**20, keep=2)
        logs.prune(self._group, keep=20)
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def log_stream(self) -> str:
        return self._logs.stream

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(self) -> None:
        """Fetch the artifact, start, wait for the first 200 of /ping. Raises ContainerFailed; then nothing is left."""
        try:
            await self._fetch()
            # A second try covers a port that another program took in between.
            for attempt in (1, 2):
                try:
                    await self._launch()
                    break
                except ContainerFailed:
                    if attempt == 2:
                        raise
        except BaseException:
            await self.stop(drain_seconds=0)
            raise
        self._watch = asyncio.create_task(self._supervise(), name=f"container-{self._endpoint}-{self.variant}")

    async def stop(self, *, drain_seconds: float = 60.0) -> None:
        """Let requests in flight end, then end the process and remove its files."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        deadline = time.monotonic() + drain_seconds
        while self.inflight and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        self.ready = False
        if self.upstream is not None:
            self.upstream.close()
        if self._child is not None:
            await self._child.end(_TERM_SECONDS)
        self._logs.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _fetch(self) -> None:
        model = self._folder / "ml" / "model"
        model.mkdir(parents=True, exist_ok=True)
        url = self._spec.get("ModelDataUrl")
        if not url:
            return
        archive = self._folder / "model.tar.gz"

        def fetch() -> None:
            self._objects.download(url, archive, max_bytes=_MODEL_BYTES)
            extract_tar(archive, model, max_bytes=2 * _MODEL_BYTES)
            archive.unlink()

        try:
            await asyncio.to_thread(fetch)
        except (ObjectError, BadArchive) as exc:
            reason = f'Failed to download model data for container "container_1" from URL: "{url}". {exc}'
            raise ContainerFailed(reason) from exc

    async def _launch(self) -> None:
        """Start the process on a fresh port and wait until it answers /ping."""
        base = self._folder / "ml"
        code = base / "model" / "code"
        program = self._spec["Environment"].get("SAGEMAKER_PROGRAM", "inference.py")
        path = (code / program).resolve()
        if not path.is_relative_to(code.resolve()) or not path.is_file():
            raise ContainerFailed(f"The model artifact has no program code/{program} to serve it.")
        port = free_port()
        env = {
            **base_environment(),
            "AWS_REGION": self._config.region,
            "SM_MODEL_DIR": str(base / "model"),
            # In AWS an instance serves with all its cores; this machine is the whole desk's.
            "SAGEMAKER_MODEL_SERVER_WORKERS": str(max(1, (os.cpu_count() or 1) // 2)),
            **self._spec["Environment"],
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_BIND_TO_PORT": str(port),
        }
        what = f"endpoint {self._endpoint} {self.variant}"
        argv = [sys.executable, str(path)]
        child = await self._processes.start(what, argv, cwd=code, env=env, sink=self._logs.write)
        self._child = child
        upstream = Upstream(port)
        deadline = time.monotonic() + float(self._spec["StartupSeconds"] or _DEFAULT_STARTUP_SECONDS)
        while time.monotonic() < deadline and child.running:
            if await self._healthy(upstream):
                self.upstream = upstream
                self.ready = True
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), 0.05)
        upstream.close()
        await child.end(0.5)
        raise ContainerFailed(
            f"The primary container for production variant {self.variant} did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint."
        )

    @staticmethod
    async def _healthy(upstream: Upstream) -> bool:
        try:
            answer = await upstream.request("GET", "/ping", headers={}, timeout_seconds=_PING_SECONDS)
        except (UpstreamGone, TimeoutError):
            return False
        return answer.status == 200

    async def _supervise(self) -> None:
        """Restart the process whenever it ends or hangs; the pause doubles up to 30 s while it does not come up."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            await self._until_lost()
            self.ready = False
            if self.upstream is not None:
                self.upstream.close()
            self._logs.write("The container ended and is started again.")
            log.warning("container_lost endpoint=%s variant=%s", self._endpoint, self.variant)
            while not self.ready:
                await asyncio.sleep(backoff)
                try:
                    await self._launch()
                    backoff = _FIRST_BACKOFF_SECONDS
                except ContainerFailed as exc:
                    backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)
                    log.warning("container_not_back endpoint=%s variant=%s %s", self._endpoint, self.variant, exc)

    async def _until_lost(self) -> None:
        child, upstream = self._child, self.upstream
        if child is None or upstream is None:
            return
        missed = 0
        while child.running:
            try:
                await asyncio.wait_for(child.wait(), _WATCH_SECONDS)
            except TimeoutError:
                # A process busy with requests may be late with /ping; one that answers nothing at all is hung.
                missed = 0 if await self._healthy(upstream) else missed + 1
                if missed >= _HUNG_AFTER and not self.inflight:
                    child.signal(signal.SIGKILL)


def remove_leftovers(state: Path) -> None:
    """Folders of containers that a killed server left; must run before any container starts."""
    shutil.rmtree(state / "endpoints", ignore_errors=True)
