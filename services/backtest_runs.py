"""Backtests from the screen: a process beside the desk, followed by its progress, one at a time.

It is a process of its own, `python -m services backtest`, because it computes for minutes: a thread would hold up
everybody's screens. What it prints is what the command prints; the last report is kept until the next run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from services.access import Actor, Permission, require
from services.backtest_command import BELIEVABLE, LEAK
from services.backtest_protocol import Request
from services.errors import Conflict
from services.worker_status import utc_now

_ROOT = Path(__file__).resolve().parent.parent
# Screens and workers go first.
_NICE = 10
_STOP_SECONDS = 5.0


class State(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """`report` is services.backtest_report.Report.as_dict(), when it is done. `step` and `share` tell how far it is."""

    run_id: str
    state: State
    source: str
    request: Request
    started_by: str
    started_at: datetime
    finished_at: datetime | None = None
    step: str = "Starting"
    share: float = 0.0
    report: dict[str, Any] | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class FileSource:
    """Two files on this machine; `done` is called when the run has ended, however it did."""

    file: Path
    mapping: Path
    name: str
    done: Callable[[], None] = lambda: None


class BacktestRuns:
    def __init__(
        self, *, clock: Callable[[], datetime] = utc_now, command: Sequence[str] = (sys.executable, "-m", "services")
    ) -> None:
        self._clock, self._command = clock, tuple(command)
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def start(self, request: Request, source: FileSource | None, *, actor: Actor) -> str:
        """Begin a backtest of a file, or of the desk's own lake (None), and return at once with the run's id.

        Raises Denied, and Conflict while another one is under way.
        """
        require(actor, Permission.TRAIN)
        with self._lock:
            if self._run is not None and self._run.state is State.RUNNING:
                since = f"{self._run.started_at:%H:%M:%S} UTC"
                raise Conflict(f"{self._run.started_by} started a backtest at {since}; wait for it or cancel it.")
            name = source.name if source else "The desk's own transactions"
            run = Run(uuid.uuid4().hex, State.RUNNING, name, request, actor.name, self._clock())
            self._run, self._process = run, self._spawn(request, source)
            self._thread = threading.Thread(target=self._follow, args=(self._process, source), daemon=True)
            self._thread.start()
        return run.run_id

    def latest(self) -> Run | None:
        """The run under way, else the last one of this process; None when there was none."""
        return self._run

    def cancel(self, *, actor: Actor) -> None:
        """End the run; nothing of it is kept."""
        require(actor, Permission.TRAIN)
        with self._lock:
            if self._run is not None and self._run.state is State.RUNNING and self._process is not None:
                self._note(state=State.CANCELLED, finished_at=self._clock())
                self._process.terminate()

    def wait(self, seconds: float) -> Run | None:
        """Until the run has ended, at most this long."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._run

    def close(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
        self.wait(_STOP_SECONDS)

    def _spawn(self, request: Request, source: FileSource | None) -> subprocess.Popen[str]:
        what = [str(source.file), "--mapping", str(source.mapping)] if source else ["--lake"]
        arguments = [
            *("--from", request.first.isoformat(), "--to", request.last.isoformat()),
            *("--train-days", str(request.train_days), "--delay-days", str(request.delay_days)),
            *("--test-days", str(request.test_days), "--label-days", str(request.known_after)),
            *("--seed", str(request.seed), "--json", "--progress"),
        ]
        if request.most_ap is not None:
            arguments += ["--most-ap", str(request.most_ap)]
        process = subprocess.Popen(
            [*self._command, "backtest", *what, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        return process

    def _follow(self, process: subprocess.Popen[str], source: FileSource | None) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        said: list[str] = []
        told = threading.Thread(target=self._progress, args=(process.stderr, said), daemon=True)
        told.start()
        out = process.stdout.read()
        code = process.wait()
        told.join()
        process.stdout.close()
        process.stderr.close()
        if source is not None:
            source.done()
        with self._lock:
            if self._run is None or self._run.state is not State.RUNNING:
                return
            if code in (BELIEVABLE, LEAK):
                self._note(state=State.DONE, report=json.loads(out), share=1.0, finished_at=self._clock())
            else:
                failure = said[-1] if said else f"The backtest's process ended with code {code}."
                self._note(state=State.FAILED, failure=failure, finished_at=self._clock())

    def _progress(self, lines: IO[str], said: list[str]) -> None:
        """Steps become the run's progress; everything else is kept as what was said."""
        for line in lines:
            text = line.strip()
            if text.startswith('{"step"'):
                step = json.loads(text)
                with self._lock:
                    if self._run is not None and self._run.state is State.RUNNING:
                        self._note(step=step["step"], share=float(step["share"]))
            elif text:
                said.append(text)

    def _note(self, **changes: Any) -> None:
        assert self._run is not None
        self._run = replace(self._run, **changes)
