"""Starts the real desk for a measurement or an end-to-end test: `streamlit run app.py` on a state folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Whatever the person has set would point the measured desk at something else.
_OWN = ("MONGODB_URI", "FRAUD_DESK_", "AWS_", "STREAMLIT_")


class DeskError(Exception):
    """The desk did not come up; the message ends with what it last said."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(extra or {})


@dataclass
class Desk:
    """One running `streamlit run app.py`. `started` is the monotonic time just before the process was made."""

    state: Path
    port: int
    process: subprocess.Popen[bytes]
    started: float
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    # The stack was running before and is not this desk's to stop.
    found: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def start(cls, state: Path, *, port: int | None = None, extra: Mapping[str, str] | None = None) -> Desk:
        state.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        environment = clean_environment({"FRAUD_DESK_STATE": str(state)} | dict(extra or {}))
        asked = [sys.executable, "-m", "embedded", "status", "--state", str(state), "--json"]
        status = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
        found = status.returncode == 0 and bool(json.loads(status.stdout or b"{}").get("processes"))
        log = state.parent / f"{state.name}-app.log"
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        started = time.monotonic()
        with log.open("ab") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        return cls(state, port, process, started, log, environment, found)

    def progress(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.state / "progress.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_stcore/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def wait_answering(self, seconds: float = 60) -> float:
        return self._wait(self.answers, seconds, "the web server did not answer")

    def wait_ready(self, seconds: float = 300) -> float:
        """Seconds from start until the desk is usable: set up, scoring, with live traffic."""

        def ready() -> bool:
            progress = self.progress()
            if progress.get("failed"):
                raise DeskError(str(progress["failed"]))
            return bool(progress.get("ready")) and self.answers()

        return self._wait(ready, seconds, "the desk did not become ready")

    def people(self) -> dict[str, dict[str, str]]:
        """The demo sign-ins by role: {role: {email, password, name}}."""
        held = json.loads((self.state / "people.json").read_text())["people"]
        return {person["role"]: person for person in held}

    def stack_environment(self) -> dict[str, str]:
        """The variables of the stack: MONGODB_URI, AWS_*, FRAUD_DESK_*."""
        return dict(json.loads((self.state / "environment.json").read_text()))

    def stop(self, seconds: float = 40) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.found:
            return
        # The stack ends with its parent; wait until its folder is free again.
        down = [sys.executable, "-m", "embedded", "down", "--state", str(self.state)]
        subprocess.run(down, cwd=ROOT, env=self.environment, capture_output=True, timeout=60, check=False)

    def _wait(self, condition: Any, seconds: float, failure: str) -> float:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return time.monotonic() - self.started
            if self.process.poll() is not None:
                raise DeskError(f"The desk ended with code {self.process.returncode}: {self._tail()}")
            time.sleep(0.05)
        raise DeskError(f"Within {seconds:.0f} s {failure}: {self._tail()}")

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""
