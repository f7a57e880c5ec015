"""Runs the first-start set-up as a child and turns what it says into progress.

The child prints JSON lines on stdout: {"steps": [{"key", "title"}, ..]} may announce what is to come,
{"step": key, "title": str, "fraction": 0..1 | null, "detail": str} moves a step, {"step": key, "done": true} ends it.
Everything else that it says goes to its log; its last words are the reason when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Mapping
from typing import IO, Any

from embedded import logs, processes
from embedded.progress import Progress
from embedded.state_folder import StateFolder
from services.errors import ServiceError

_LINE_LIMIT = 1_000_000


class SetUpFailed(ServiceError):
    """The stack cannot become ready; the message says why and where to look."""


async def run(
    command: tuple[str, ...], *, folder: StateFolder, env: Mapping[str, str], progress: Progress, before: str
) -> None:
    """Run the set-up to its end; its steps appear in front of the step `before`. Raises SetUpFailed.

    Cancelling ends the child with everything it started.
    """
    log = folder.log("seed")
    began_at = log.stat().st_size if log.exists() else 0
    process = processes.spawn(command, env=env, log=log, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with log.open("ab") as sink:
            async for line in _lines(process.stdout):
                if not _apply(line, progress, before):
                    sink.write(line)
                    sink.flush()
        while process.poll() is None:
            await asyncio.sleep(0.05)
    finally:
        await _end(process)
    if process.returncode:
        words = logs.last_words(log, since=began_at) or f"exit code {process.returncode}"
        raise SetUpFailed(f"The first-start set-up stopped: {words} (log: {log})")


async def _lines(stream: IO[bytes]) -> Any:
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), stream
    )
    try:
        while line := await reader.readline():
            yield line
    finally:
        transport.close()


def _apply(line: bytes, progress: Progress, before: str) -> bool:
    """Merge one line into the progress; False when it is not one of the protocol's."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            return False
        for step in entry.get("steps", ()):
            progress.announce(step["key"], step["title"], before=before)
        if "step" not in entry:
            return "steps" in entry
        key = str(entry["step"])
        progress.announce(key, str(entry.get("title") or progress.title(key) or key), before=before)
        if entry.get("done"):
            progress.done(key, detail=entry.get("detail"))
        else:
            progress.running(key, detail=str(entry.get("detail") or ""), fraction=entry.get("fraction"))
    except (ValueError, KeyError, TypeError):
        return False
    return True


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        for _ in range(50):
            if process.poll() is not None:
                break
            await asyncio.sleep(0.1)
    processes.signal_group(process.pid, signal.SIGKILL)
    process.wait()
