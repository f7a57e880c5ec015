"""How the screens get their stack: started as a child on a leash, or found running.

The leash is a socket pair. The supervisor says over it, once, that environment.json is in force; from then on it
carries nothing, and its end is the point: when this process dies, however it dies, the kernel closes our side, the
supervisor reads the end of file and stops the stack.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded import environment, logs, own_data
from embedded.progress import Progress
from embedded.state_folder import PROJECT, StateFolder, read_json
from services.errors import ServiceError

_ENVIRONMENT_WITHIN_SECONDS = 30.0  # half a second as a rule; longer after a crash that left processes behind
_STOP_WITHIN_SECONDS = 45.0
# Options of `up` that the person may give to `streamlit run` as variables.
_OPTIONS = {"FRAUD_DESK_HISTORY": "--history", "FRAUD_DESK_RATE": "--rate", "FRAUD_DESK_SEED": "--seed"}
UP = (sys.executable, "-m", "embedded", "up")


class NotStarted(ServiceError):
    """The stack could not be started; the message says why."""


@dataclass(slots=True)
class Leash:
    """Held by the process that started a stack. Dropping it ends the stack, unless it was found running."""

    process: subprocess.Popen[bytes]
    socket: socket.socket

    def release(self) -> None:
        """End the stack and wait for it, so that the next start finds the folder free."""
        self.socket.close()
        try:
            self.process.wait(_STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.terminate()


def start(folder: StateFolder, *, up: Sequence[str] = UP) -> Leash:
    """Start the stack, or find it, and return once environment.json is in force. Raises ServiceError in a sentence."""
    folder.prepare()
    own_data.decide(folder, os.environ)
    log = folder.log("supervisor")
    began_at = log.stat().st_size if log.exists() else 0
    ours, theirs = socket.socketpair()
    options = [part for name, option in _OPTIONS.items() if os.environ.get(name) for part in (option, os.environ[name])]
    with theirs, log.open("ab") as sink:
        process = subprocess.Popen(
            [*up, "--state", str(folder.path), "--leash", str(theirs.fileno()), *options],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    ours.settimeout(_ENVIRONMENT_WITHIN_SECONDS)
    try:
        said = ours.recv(65_536).decode(errors="replace").strip()
    except OSError as error:
        ours.close()
        process.terminate()
        raise NotStarted(f"The embedded stack did not begin to start (log: {log}).") from error
    if said.startswith("environment"):
        return Leash(process, ours)
    ours.close()
    process.wait(5)
    reason = said.removeprefix("failed: ") or logs.last_words(log, since=began_at) or "it ended at once"
    raise NotStarted(reason)


def environment_of(folder: StateFolder) -> Mapping[str, str]:
    """The variables of the stack that `start` returned for."""
    known: Mapping[str, str] = read_json(folder.environment) or {}
    return known


def announce(folder: StateFolder) -> None:
    """Print the demo sign-ins, the first time that the screens run on this folder."""
    shown = folder.path / "announced"
    if shown.exists():
        return
    people, _ = environment.load_people(folder)
    print(environment.sign_in_block(people, folder), file=sys.stderr, flush=True)
    shown.touch()


def failed_environment(sentence: str) -> dict[str, str]:
    """Variables of a desk whose stack could not be started: the start-up page says why, and nothing else is reached.

    The address is of the reserved domain `.invalid`, which never resolves.
    """
    path = Path(tempfile.mkdtemp(prefix="fraud-desk-")) / "progress.json"
    Progress(path, [("stores", "Start the database and object storage")]).fail(sentence)
    return {
        "MONGODB_URI": "mongodb://not-started.invalid/",
        "FRAUD_DESK_BUCKET": environment.BUCKET,
        "FRAUD_DESK_SETUP_PROGRESS": str(path),
    }
