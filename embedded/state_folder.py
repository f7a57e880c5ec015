"""The one folder that holds everything the embedded stack keeps: data, secrets, logs, and who is running it.

    lock               held (flock) by the supervisor that owns the folder, for as long as it lives
    control.json       where that supervisor listens, and the token it wants
    children.json      the processes it started, for whoever has to clean up after it
    ports.json         the loopback ports, kept from one start to the next
    secrets.json       keys generated once; people.json the demo sign-ins; environment.json what clients read
    progress.json      the first start, step by step
    data.json          whose data it holds: the demo's, or a company's own and by which mapping
    mongo/ s3/ aws/ oidc/ logs/ catalog.db

The folder is private to its user (0700); files with secrets are 0600. JSON files are replaced whole, so a reader sees
the old or the new one and never half of either.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from services.errors import ServiceError

PROJECT = Path(__file__).resolve().parent.parent
MIN_FREE_BYTES = 1_000_000_000  # a first start writes about 0.5 GB: 120,000 transactions, journal, lake, one model


class StateFolderUnusable(ServiceError):
    """The state folder cannot be created, written, or has no room."""


def _unusable(path: object, error: Exception) -> StateFolderUnusable:
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return StateFolderUnusable(
        f"The state folder {path} cannot be used ({reason.rstrip('.')}); "
        "choose another with --state or FRAUD_DESK_STATE."
    )


def write_json(path: Path, value: Any, *, private: bool = True) -> None:
    """Replace `path` atomically. `private` files are readable by their owner only from the first byte on."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
        os.chmod(name, 0o600 if private else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where there is none (or one that is damaged: it is written anew)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


@dataclass(frozen=True, slots=True)
class StateFolder:
    """An absolute path without symbolic links, so that two spellings of one folder are one stack."""

    path: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> StateFolder:
        """`path`, else FRAUD_DESK_STATE, else `.fraud-desk` in the project; it need not exist.

        Raises StateFolderUnusable for what can never be a folder: nobody's home, links in a circle, too long a name.
        """
        chosen = path or os.environ.get("FRAUD_DESK_STATE") or PROJECT / ".fraud-desk"
        try:
            resolved = Path(chosen).expanduser().resolve()
            with suppress(FileNotFoundError, NotADirectoryError):
                (resolved / "lock").stat()
        except (OSError, RuntimeError, ValueError) as error:
            raise _unusable(chosen, error) from error
        return cls(resolved)

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def control(self) -> Path:
        return self.path / "control.json"

    @property
    def children(self) -> Path:
        return self.path / "children.json"

    @property
    def ports(self) -> Path:
        return self.path / "ports.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def people(self) -> Path:
        return self.path / "people.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def seeded(self) -> Path:
        return self.path / "seeded.json"

    @property
    def data(self) -> Path:
        """Whose data the stack holds (`embedded.own_data`)."""
        return self.path / "data.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.db"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Create the folder and its parts. Raises StateFolderUnusable, in one sentence, when that cannot work."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            os.chmod(self.path, 0o700)
            for part in ("mongo", "s3", "aws", "oidc", "logs"):
                (self.path / part).mkdir(exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"1")
            probe.unlink()
        except OSError as error:
            raise _unusable(self.path, error) from error
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            raise StateFolderUnusable(
                f"The disk of {self.path} has {free // 1_000_000} MB free and the embedded stack needs "
                f"{MIN_FREE_BYTES // 1_000_000} MB; free some space or choose another folder with --state."
            )

    def try_lock(self) -> IO[bytes] | None:
        """The held lock, or None while another process holds it. Keep the file open: closing it releases the lock."""
        file = open(self.lock, "ab")  # noqa: SIM115 - held for the life of the process
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file
