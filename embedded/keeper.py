"""One process kept alive: started after what it needs, watched until it is ready, started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from embedded import logs, processes
from embedded.programs import Program
from embedded.state_folder import StateFolder

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# Six crashes within a minute: the seventh would not be different.
MAX_CRASHES, CRASH_WINDOW_SECONDS = 6, 60.0
_POLL_SECONDS = 0.1


class State(StrEnum):
    WAITING = "waiting"  # for what it needs, or for its turn to be started again
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"  # not started again until somebody asks (`up`)
    STOPPED = "stopped"


@dataclass
class Keeper:
    """`gates` are the events of the names in `program.after`; `on_change` is called after every start and end."""

    program: Program
    folder: StateFolder
    env: Mapping[str, str]
    gates: Mapping[str, asyncio.Event]
    restart: bool
    on_change: Callable[[], None]
    state: State = State.WAITING
    restarts: int = 0
    last_error: str | None = None
    process: subprocess.Popen[bytes] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _healed: asyncio.Event = field(default_factory=asyncio.Event)
    _crashes: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_CRASHES))
    _was_ready: bool = False

    def status(self) -> dict[str, Any]:
        return {
            "name": self.program.name,
            "pid": self.process.pid if self.process and self.process.returncode is None else None,
            "state": self.state.value,
            "restarts": self.restarts,
            "last_error": self.last_error,
        }

    def heal(self) -> None:
        """Start it now if it is dead, however often it crashed. A process that runs is left alone."""
        if self.state in (State.FAILED, State.WAITING):
            self._crashes.clear()
            self._healed.set()
            if self.state == State.FAILED:
                self.state = State.WAITING

    async def run(self) -> None:
        """Never returns by itself; cancel it, then call `stop`."""
        attempts = 0
        while True:
            for name in self.program.after:
                await self.gates[name].wait()
            self._healed.clear()
            if attempts:
                self.restarts += 1
            attempts += 1
            self.last_error = await self._once()
            logger.warning("%s ended: %s", self.program.name, self.last_error)
            await self._pause()

    async def _once(self) -> str:
        """Start it, see it through to its end, and say how it ended. Nothing of its process group is left after."""
        log = self.folder.log(self.program.name)
        began_at = log.stat().st_size if log.exists() else 0
        started_at = datetime.now(UTC) - timedelta(milliseconds=1)
        self.state = State.STARTING
        try:
            process = processes.spawn(self.program.command, env={**self.env, **self.program.env}, log=log)
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        self.process = process
        self.on_change()
        late = await self._until_ready(process, started_at)
        if not late and process.poll() is None:
            self.state, self._was_ready = State.RUNNING, True
            self.ready.set()
            while process.poll() is None:
                await asyncio.sleep(_POLL_SECONDS)
        self.ready.clear()
        processes.signal_group(process.pid, signal.SIGKILL)
        process.wait()
        self.state = State.WAITING
        self.on_change()
        if late:
            return f"it was not ready after {self.program.ready_within_s:.0f} s"
        code = process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        words = logs.last_words(log, since=began_at) if code != -signal.SIGKILL else ""
        return f"{how}: {words}" if words else how

    async def _until_ready(self, process: subprocess.Popen[bytes], started_at: datetime) -> bool:
        """Returns when it is ready or has ended; True when its time ran out."""
        deadline = time.monotonic() + self.program.ready_within_s
        while process.poll() is None:
            if await self.program.probe(process.pid, started_at):
                return False
            if time.monotonic() > deadline:
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return False

    async def _pause(self) -> None:
        """Wait before the next start: longer from crash to crash, for ever after too many, not at all once healed."""
        now = time.monotonic()
        if self._crashes and now - self._crashes[-1] > CRASH_WINDOW_SECONDS:
            self._crashes.clear()
        self._crashes.append(now)
        gave_up = len(self._crashes) == MAX_CRASHES and now - self._crashes[0] <= CRASH_WINDOW_SECONDS
        if gave_up or (self._was_ready and not self.restart):
            self.state = State.FAILED
            await self._healed.wait()
            return
        delay = BACKOFF_SECONDS[min(len(self._crashes), len(BACKOFF_SECONDS)) - 1]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._healed.wait(), delay)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after `program.stop_within_s`; returns when it and its group are gone."""
        process = self.process
        self.ready.clear()
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
                process.send_signal(signal.SIGCONT)
            began = time.monotonic()
            deadline = began + self.program.stop_within_s
            while process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            if process.poll() is None:
                logger.warning("%s did not end in %.0f s and is killed", self.program.name, self.program.stop_within_s)
            else:
                logger.info("%s ended in %.1f s", self.program.name, time.monotonic() - began)
        if process is not None:
            processes.signal_group(process.pid, signal.SIGKILL)
            process.wait()
        self.state = State.STOPPED
