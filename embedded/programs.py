"""The table of processes: what runs, after what, and how to tell that each is ready.

The order of the table is the order of the start; the stack is stopped by stage, last stage first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from embedded import mongod, s3_server
from embedded.environment import Secrets
from embedded.ports import LOOPBACK
from embedded.state_folder import StateFolder

if TYPE_CHECKING:
    from pymongo import MongoClient

# The gate that programs of the stage LIVE wait for: history is seeded and a first model is in service.
SEEDED = "seeded"
PORTS = ("mongod", "s3", "aws", "oidc")


class Stage(IntEnum):
    STORES = 0
    SERVICES = 1
    WORKERS = 2
    LIVE = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How `up` was asked to run. `history` is in transactions, `rate` in transactions a second."""

    history: int = 120_000
    rate: float = 2.0
    seed: int = 7
    restart: bool = True


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack on one state folder: what a program needs to know to be started."""

    folder: StateFolder
    ports: Mapping[str, int]
    secrets: Secrets
    environment: Mapping[str, str]
    options: Options
    # The data are the company's own: no history is made, and nothing is sent but what its systems send.
    own_data: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """`probe(pid, started_at)` is asked about ten times a second until it says True. `after` names programs or SEEDED.

    A program that is not ready `ready_within_s` after its start is ended and counts as crashed.
    """

    name: str
    title: str
    stage: Stage
    command: tuple[str, ...]
    probe: Callable[[int, datetime], Awaitable[bool]]
    after: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Table:
    """`seed` is the command that fills the stack on its first start and returns at once on later ones."""

    programs: tuple[Program, ...]
    seed: tuple[str, ...] | None


def python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def standard(stack: Stack) -> Table:
    """Everything the desk needs on one machine. Raises MongodMissing or RcloneMissing before anything is started."""
    options = stack.options
    workers = [
        Program(
            name, title, Stage.WORKERS, python(f"workers.{name}"), worker_beats(stack, name), ("mongod", "s3", "aws")
        )
        for name, title in (
            ("stream", "The stream to S3"),
            ("curator", "The lake's curator"),
            ("lifecycle", "The model lifecycle worker"),
        )
    ]
    live = [
        Program(
            "scorer", "The scorer", Stage.LIVE, python("workers.scorer"), worker_beats(stack, "scorer"),
            ("mongod", "aws", SEEDED),
        ),
    ]  # fmt: skip
    always = (*stores(stack), *services(stack), *workers, *live)
    if stack.own_data:
        return Table(always, python("embedded.seed", "--own-data"))
    traffic = Program(
        "traffic", "Live traffic", Stage.LIVE,
        python("embedded.traffic", "--rate", f"{options.rate:g}", "--seed", str(options.seed)),
        worker_beats(stack, "traffic"), ("mongod", "aws", SEEDED),
    )  # fmt: skip
    seed = python("embedded.seed", "--history", str(options.history), "--seed", str(options.seed))
    return Table((*always, traffic), seed)


def stores(stack: Stack) -> tuple[Program, ...]:
    """The database and the object store."""
    port = stack.ports["mongod"]

    async def primary(pid: int, started_at: datetime) -> bool:
        return await asyncio.to_thread(mongod.become_primary, port)

    return (
        Program(
            "mongod", "MongoDB", Stage.STORES, mongod.command(mongod.find_mongod(), stack.folder, port), primary,
            stop_within_s=30.0,
        ),
        Program(
            "s3", "The S3 server", Stage.STORES,
            s3_server.command(s3_server.find_rclone(), stack.folder, stack.ports["s3"]),
            answers(stack.ports["s3"]), env=s3_server.variables(stack.secrets), ready_within_s=20.0,
        ),
    )  # fmt: skip


def services(stack: Stack) -> tuple[Program, ...]:
    """The AWS services of the embedded profile and the sign-in provider."""
    aws, oidc = stack.ports["aws"], stack.ports["oidc"]
    return (
        Program(
            "aws", "The AWS services", Stage.SERVICES,
            python("embedded.aws", "--port", str(aws), "--state", str(stack.folder.path / "aws"),
                   "--mongodb-uri", stack.environment["MONGODB_URI"],
                   "--s3-endpoint", stack.environment["AWS_ENDPOINT_URL_S3"]),
            answers(aws), ("mongod",), stop_within_s=15.0,
        ),
        Program(
            "oidc", "The sign-in provider", Stage.SERVICES,
            python("embedded.oidc", "--port", str(oidc), "--state", str(stack.folder.path)),
            answers(oidc, "/.well-known/openid-configuration", accept=lambda status: status == 200),
        ),
    )  # fmt: skip


def answers(
    port: int, path: str = "/", *, accept: Callable[[int], bool] = lambda status: status < 600
) -> Callable[[int, datetime], Awaitable[bool]]:
    """A probe: the server on `port` gives an HTTP answer (by default any: a refusal shows that it is there)."""

    async def probe(pid: int, started_at: datetime) -> bool:
        with contextlib.suppress(OSError, ValueError, IndexError, TimeoutError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                try:
                    writer.write(
                        f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n".encode()
                    )
                    return accept(int((await reader.readline()).split()[1]))
                finally:
                    writer.close()
        return False

    return probe


def worker_beats(stack: Stack, name: str) -> Callable[[int, datetime], Awaitable[bool]]:
    """A probe: the worker's own status says that this very process runs (or waits for something it needs)."""
    uri, database = stack.environment["MONGODB_URI"], stack.environment.get("FRAUD_DESK_DATABASE", "fraud_desk")

    def look(pid: int, started_at: datetime) -> bool:
        from pymongo.errors import PyMongoError

        try:
            found = _client(uri)[database]["workers"].find_one(
                {"_id": name, "pid": pid, "state": {"$in": ["running", "waiting"]}}
            )
        except PyMongoError:
            return False
        return found is not None and found["heartbeat_at"] >= started_at

    async def probe(pid: int, started_at: datetime) -> bool:
        return await asyncio.to_thread(look, pid, started_at)

    return probe


@functools.cache
def _client(uri: str) -> MongoClient[dict[str, Any]]:
    """One client for all probes of a supervisor; pymongo is imported when the first worker is asked about."""
    from pymongo import MongoClient

    return MongoClient(uri, serverSelectionTimeoutMS=1000, socketTimeoutMS=2000, tz_aware=True, tzinfo=UTC)
