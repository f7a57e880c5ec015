"""One embedded stack as an operator has it: started, killed in parts or altogether, started again by `up`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.desk import ROOT, clean_environment
from embedded import processes
from embedded.state_folder import StateFolder

T = TypeVar("T")
UP_SECONDS = 120.0
# Small objects and quick folds: more places to be killed in, less to wait for.
_QUICK = {"FRAUD_DESK_STREAM_FLUSH_SECONDS": "1", "FRAUD_DESK_CURATOR_SECONDS": "1"}


def wait_for(condition: Callable[[], T], seconds: float, what: str | Callable[[], object]) -> T:
    """The first true value of `condition`. `what` says in the failure what did not happen."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what() if callable(what) else what}")
        time.sleep(0.2)


class Stack:
    """`python -m embedded` on one state folder. Dead processes stay dead until `up` is called again."""

    def __init__(self, state: Path, *, history: int, rate: float) -> None:
        self.state = state
        self._options = ["--history", str(history), "--rate", f"{rate:g}", "--no-restart"]
        self._log = (state.parent / "up.log").open("ab")
        self._owner: subprocess.Popen[bytes] | None = None

    def up(self) -> dict[str, Any]:
        """Start, heal or recover the stack; returns once it is ready. The process that owns it is kept running."""
        process = self._run("up", *self._options)
        line = self._first_line(process)
        if self._owner is None or self._owner.poll() is not None:
            self._owner = process
        else:  # it found the stack and healed it; what it would do from here is wait for its end
            process.terminate()
            _end(process, 20)
        return line

    def _run(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "embedded", command, "--state", str(self.state), *arguments],
            cwd=ROOT,
            env=clean_environment(_QUICK),
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def _first_line(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], UP_SECONDS)
        line = process.stdout.readline() if ready else b""
        if not line:
            process.kill()
            process.wait()
            process.stdout.close()
            raise AssertionError(f"up did not become ready: {(self.state.parent / 'up.log').read_text()[-3000:]}")
        return dict(json.loads(line))

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "embedded", "status", "--state", str(self.state), "--json"],
            cwd=ROOT, env=clean_environment(), capture_output=True, timeout=30, check=True,
        )  # fmt: skip
        return dict(json.loads(done.stdout))

    def pid(self, name: str) -> int:
        found = next(p["pid"] for p in self.status()["processes"] if p["name"] == name)
        assert found, f"{name} does not run"
        return int(found)

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def model_container(self) -> int | None:
        """The process that serves the model, as the AWS services wrote it down."""
        for file in (self.state / "aws" / "pids").glob("*.json"):
            try:
                held = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            if held["what"].startswith("endpoint") and processes.identify(held["pid"]):
                return int(held["pid"])
        return None

    def kill_everything(self) -> None:
        """The supervisor first, so that it cannot tidy up, then every process it had."""
        assert self._owner is not None
        children = [p["pid"] for p in self.status()["processes"] if p["pid"]]
        self._owner.kill()
        _end(self._owner, 10)
        folder = StateFolder.at(str(self.state))
        for pid in {*children, *processes.leftovers(folder)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def environment(self) -> dict[str, str]:
        return dict(json.loads((self.state / "environment.json").read_text()))

    def down(self) -> None:
        _end(self._run("down"), 90)
        if self._owner is not None:
            _end(self._owner, 30)
        self._log.close()


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for it and let go of its pipe."""
    try:
        process.wait(seconds)
    finally:
        process.kill()
        process.__exit__(None, None, None)
