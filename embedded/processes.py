"""Starting, ending and recognising the processes of one stack.

Every child leads a session of its own, so that a Ctrl-C in the terminal reaches only the supervisor and a child can be
ended together with everything it started. A process that a dead supervisor left behind is recognised by two
independent proofs, never by its number alone: numbers are reused, and nobody else's process may ever be signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded.environment import STACK_MARK
from embedded.state_folder import PROJECT, StateFolder, read_json, write_json

_TETHER = Path(__file__).with_name("tether.py")
_LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, not one number: `started` is the kernel's start time of the process, in whatever unit it uses."""

    pid: int
    started: str
    command: tuple[str, ...]


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` in the project's folder, its output appended to `log` (its stdout to `stdout` where given)."""
    if _LINUX:
        command = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *command]
    with log.open("ab") as sink:
        return subprocess.Popen(
            list(command),
            cwd=PROJECT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            start_new_session=True,
        )


def signal_group(pid: int, number: int) -> None:
    """Signal a child and everything in its process group; nothing happens when all of it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def identify(pid: int) -> Identity | None:
    """Who has this number now, or None when nobody has (a zombie counts as nobody)."""
    try:
        if _LINUX:
            stat = Path(f"/proc/{pid}/stat").read_text()
            fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may contain spaces
            if fields[0] in ("Z", "X"):
                return None
            command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            return Identity(pid, fields[19], tuple(part.decode(errors="replace") for part in command))
        seen = subprocess.run(
            ["ps", "-o", "lstart=,command=", "-p", str(pid)], capture_output=True, text=True, timeout=5
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if seen.returncode or len(seen.stdout) < 25:
        return None
    return Identity(pid, seen.stdout[:24].strip(), tuple(seen.stdout[24:].split()))


def remember(folder: StateFolder, children: Mapping[int, Sequence[str]]) -> None:
    """Write who is running (command line by process number), for whoever comes after a crash of this supervisor."""
    known = []
    for pid, command in children.items():
        who = identify(pid)
        if who is not None:
            known.append({"pid": pid, "started": who.started, "command": list(command)})
    write_json(folder.children, known)


def leftovers(folder: StateFolder) -> list[int]:
    """Processes that outlived their supervisor: those it wrote down, and on Linux all that carry the stack's mark.

    One that was written down counts only if number, start time and command line all still agree.
    """
    found: set[int] = set()
    for entry in read_json(folder.children) or ():
        who = identify(entry["pid"])
        if who and who.started == entry["started"] and _runs(who.command, entry["command"]):
            found.add(who.pid)
    found.update(_marked(folder))
    return sorted(found - _ancestry())


def _runs(actual: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether a command line is the expected one, seen before or after the tether replaced itself by it.

    Off Linux `ps` gives one string, so the words are compared.
    """
    words = [word for part in expected for word in part.split()] if not _LINUX else list(expected)
    return list(actual[-len(words) :]) == words


def _marked(folder: StateFolder) -> set[int]:
    if not _LINUX:
        return set()
    mark = f"{STACK_MARK}={folder.path}".encode()
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path(entry.path, "environ").read_bytes().split(b"\0") and identify(int(entry.name)):
                    found.add(int(entry.name))
    return found


def _ancestry() -> set[int]:
    """This process and those above it, which may carry the mark when `up` is called from inside a stack."""
    chain, pid = {os.getpid()}, os.getppid()
    while _LINUX and pid > 1 and pid not in chain:
        chain.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            pid = int(stat[stat.rindex(")") + 2 :].split()[1])
        except (OSError, ValueError):
            break
    return chain | {pid}


def end_leftovers(folder: StateFolder, *, grace_s: float = 5.0) -> int:
    """End what a dead supervisor left behind; returns how many processes that were. SIGTERM, then SIGKILL."""
    ended: set[int] = set()
    for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        # A stopped process (SIGSTOP) takes SIGTERM only after it continues.
        deadline = time.monotonic() + patience
        while (alive := leftovers(folder)) and time.monotonic() < deadline:
            for pid in alive:
                if pid not in ended or number == signal.SIGKILL:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
                        os.kill(pid, signal.SIGCONT)
                ended.add(pid)
            time.sleep(0.05)
        if not alive:
            break
    folder.children.unlink(missing_ok=True)
    return len(ended)
