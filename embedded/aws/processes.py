"""Child processes that never outlive the server: recorded by pid file, ended as a group, orphans ended at start."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

log = logging.getLogger(__name__)

LineSink = Callable[[str], None]
_LAUNCHER = Path(__file__).with_name("launch.py")
_LONGEST_LINE = 256 * 1024
# Jobs yield the cores to whatever somebody waits for: a score, a page.
_JOB_NICENESS = 5


def start_identity(pid: int) -> str | None:
    """Text that tells a process from a later one with the same pid; None when there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


class Child(asyncio.SubprocessProtocol):
    """One running process. Its output (both streams) goes to `sink` line by line, in the event loop's thread."""

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink
        self._partial = b""
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.pid = 0
        self.pid_file: Path | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._partial) > _LONGEST_LINE:
            self._emit(self._partial)
            self._partial = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has exited and all its output has been read."""
        if self._partial:
            self._emit(self._partial)
            self._partial = b""
        code = self._transport.get_returncode() if self._transport is not None else None
        if self.pid_file is not None:
            self.pid_file.unlink(missing_ok=True)
        if not self._exited.done():
            self._exited.set_result(-signal.SIGKILL if code is None else code)

    def process_exited(self) -> None:
        # A grandchild may hold the pipe open; it belongs to the group and ends with its leader.
        self.signal(signal.SIGKILL)

    def _emit(self, line: bytes) -> None:
        self._sink(line.rstrip(b"\r").decode("utf-8", "replace"))

    @property
    def running(self) -> bool:
        return not self._exited.done()

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative numbers are signals."""
        return self._exited.result() if self._exited.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._exited)

    def signal(self, number: int) -> None:
        """To the whole process group; a group that is gone is no error."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end(self, grace_seconds: float) -> int:
        """SIGTERM, and SIGKILL when it has not exited within the grace."""
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                return await asyncio.wait_for(self.wait(), grace_seconds)
            except TimeoutError:
                self.signal(signal.SIGKILL)
        return await self.wait()


class Processes:
    """Starts children and remembers them under `<state>/pids`, one file a process."""

    def __init__(self, state: Path) -> None:
        self._pids = state / "pids"
        self._pids.mkdir(parents=True, exist_ok=True)
        self._children: set[Child] = set()

    async def start(
        self, what: str, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], sink: LineSink, job: bool = False
    ) -> Child:
        """`what` names it in logs and pid file; a `job` yields to all others. Must be called in the event loop of the
        main thread.
        """
        loop = asyncio.get_running_loop()
        niceness = str(_JOB_NICENESS if job else 0)
        command = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), niceness, *argv]
        _, child = await loop.subprocess_exec(
            lambda: Child(sink),
            *command,
            cwd=str(cwd),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        identity = start_identity(child.pid)
        if identity is not None and child.running:
            child.pid_file = self._pids / f"{child.pid}.json"
            child.pid_file.write_text(json.dumps({"pid": child.pid, "identity": identity, "what": what}))
        self._children.add(child)
        child._exited.add_done_callback(lambda _: self._children.discard(child))
        return child

    def end_orphans(self) -> int:
        """End the processes a killed server left behind; returns how many there were."""
        ended = 0
        for file in self._pids.glob("*.json"):
            with suppress(OSError, ValueError, KeyError):
                recorded = json.loads(file.read_text())
                pid = int(recorded["pid"])
                if start_identity(pid) == recorded["identity"]:
                    os.killpg(pid, signal.SIGKILL)
                    ended += 1
                    log.warning("orphan_ended pid=%d what=%s", pid, recorded.get("what"))
            file.unlink(missing_ok=True)
        return ended

    async def end_all(self, grace_seconds: float = 3.0) -> None:
        await asyncio.gather(*(child.end(grace_seconds) for child in tuple(self._children)))


def base_environment() -> dict[str, str]:
    """What a child may know of this machine: no credentials and none of the desk's settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TMP", "TEMP", "SYSTEMROOT", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {"LANG": "C.UTF-8", **env, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "TZ": "UTC"}
