"""The harness's side of the nursery: start a worker, see it end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.faults.calls import Shot

ROOT = Path(__file__).parents[2]


@dataclass
class Child:
    """One run of one program. `status` is its exit code, negative for a signal, None while it lives."""

    number: int
    log: Path
    calls: Path
    pid: int = 0
    status: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def signal(self, number: int) -> None:
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        with suppress(FileNotFoundError):
            return Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] in "Tt"
        return False

    def reported(self, word: str) -> list[str]:
        """What the program told of its calls: `seen` names, `fired` points."""
        lines = self.calls.read_text("utf-8").splitlines() if self.calls.exists() else []
        return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]

    def end(self, seconds: float = 20.0) -> int | None:
        """SIGTERM, then SIGKILL after `seconds`; its status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if not self.ended.wait(seconds):
            self.kill()
        return self.status

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if not self.ended.wait(10):
            raise TimeoutError(f"process {self.pid} survived SIGKILL")


class Nursery:
    """Use as a context manager; nothing of it outlives the block."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count(1)
        self._children: dict[int, Child] = {}
        self._pids: dict[int, threading.Event] = {}
        self._ready = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._process.stdout.close()

    def start(
        self,
        program: str,
        environment: Mapping[str, str],
        *,
        shots: Sequence[Shot] = (),
        constants: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Child:
        """Fork a worker; returns once its process id is known."""
        if not self._ready.wait(60):
            raise TimeoutError("the nursery did not start")
        number = next(self._numbers)
        name = f"{number:04d}-{program}"
        child = Child(number, self._folder / f"{name}.log", self._folder / f"{name}.calls")
        forked = threading.Event()
        self._children[number], self._pids[number] = child, forked
        order = {
            "id": number,
            "program": program,
            "environment": dict(environment),
            "log": str(child.log),
            "calls": str(child.calls),
            "shots": [[shot.point.call, shot.point.moment, shot.nth, shot.deed] for shot in shots],
            "constants": constants or {},
        }
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        if not forked.wait(20):
            raise TimeoutError("the nursery did not fork")
        return child

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "ready" in message:
                self._ready.set()
            elif "pid" in message:
                self._children[message["id"]].pid = message["pid"]
                self._pids.pop(message["id"]).set()
            else:
                child = self._children.pop(message["id"])
                child.status = message["status"]
                child.ended.set()
