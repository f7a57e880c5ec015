"""S3 with faults: a proxy in front of a real server, one port for each program so that each can be hurt alone.

It also is as strict as S3 where the server behind it is not: `If-None-Match: *` and `If-Match` are enforced, and a
write is seen whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from bench.faults.calls import ANSWERS, Ammunition, Deed, Moment, Shot, s3_call
from bench.faults.http import Message, read_answer, read_request, refusal

LATENCY_SECONDS, OUTAGE_SECONDS = 0.3, 0.6
_WRITES = frozenset({"PUT", "POST", "DELETE"})
_LIMIT = 1 << 20


@dataclass
class Lane:
    """One program's way to S3. `arm` before each run; everything else may be read at any time."""

    name: str
    port: int = 0
    ammunition: Ammunition = field(default_factory=Ammunition)
    # Keys written with success in this run.
    written: list[str] = field(default_factory=list)
    cut_until: float = 0.0
    # There is no room for another byte.
    full: bool = False
    _victim: int | None = None
    _known: threading.Event = field(default_factory=threading.Event)
    _release: threading.Event = field(default_factory=threading.Event)

    def arm(self, ammunition: Ammunition) -> None:
        self._victim = None
        self._known.clear()
        self._release.clear()
        self.ammunition, self.written, self.cut_until = ammunition, [], 0.0

    def aim(self, pid: int | None) -> None:
        """Whom a shot hits; None when it is over."""
        self._victim = pid
        self._known.set()

    def release(self) -> None:
        """Let a request that stopped its sender go on."""
        self._release.set()

    async def fire(self, shot: Shot) -> None:
        """Kill or stop the program; a stopped one's request waits until `release`."""
        await _until(self._known)
        if self._victim is not None:
            with suppress(ProcessLookupError):
                os.kill(self._victim, signal.SIGKILL if shot.deed is Deed.KILL else signal.SIGSTOP)
        if shot.deed is Deed.STOP:
            await _until(self._release)


class Dropped(Exception):
    """The connection ends here without another word."""


class FaultProxy:
    """Listens on loopback in a thread of its own. Use as a context manager."""

    def __init__(self, upstream: int, folder: Path, names: tuple[str, ...]) -> None:
        """`folder` is where the server keeps buckets: how the proxy knows what is there."""
        self.lanes = {name: Lane(name) for name in names}
        self.strict = True
        self._upstream, self._folder = upstream, folder
        self._keys: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the fault proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def endpoint(self, name: str) -> str:
        return f"http://127.0.0.1:{self.lanes[name].port}"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        servers = []
        for lane in self.lanes.values():
            server = await asyncio.start_server(self._handler(lane), "127.0.0.1", 0, limit=_LIMIT)
            lane.port = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _handler(self, lane: Lane) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            try:
                while await self._one(lane, reader, writer):
                    pass
            except (Dropped, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self._open.discard(task)
                writer.transport.abort()

        return handle

    async def _one(self, lane: Lane, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader, writer)
        if request is None:
            return False
        ammunition, call = lane.ammunition, s3_call(request.method, request.target)
        if self._loop.time() < lane.cut_until:
            raise Dropped
        fault = ammunition.failure(call)
        if shot := ammunition.shot(call, Moment.BEFORE):
            await lane.fire(shot)
            if shot.deed is Deed.KILL:
                raise Dropped
        if fault in ANSWERS:
            writer.write(refusal(int(fault), ANSWERS[fault], request.method))
            await writer.drain()
            return False
        if lane.full and request.method in ("PUT", "POST"):
            writer.write(refusal(500, "InternalError", request.method, "no space left on device"))
            await writer.drain()
            return False
        await self._before(lane, fault)
        answer = await self._forward(request)
        if answer.status < 300 and request.method in _WRITES:
            lane.written.append(request.target)
        if shot := ammunition.shot(call, Moment.AFTER):
            await lane.fire(shot)
        return await self._reply(answer, fault, writer)

    async def _before(self, lane: Lane, fault: str | None) -> None:
        if fault == "outage":
            lane.cut_until = self._loop.time() + OUTAGE_SECONDS
        if fault in ("outage", "reset"):
            raise Dropped
        if fault == "latency":
            await asyncio.sleep(LATENCY_SECONDS)

    async def _reply(self, answer: Message, fault: str | None, writer: asyncio.StreamWriter) -> bool:
        if fault == "lost reply":
            raise Dropped
        if fault == "cut reply":
            # Past the headers where there is a body, so that the reader believes in it.
            writer.write(answer.head + answer.body[: len(answer.body) // 2] if answer.body else answer.head[:20])
            await writer.drain()
            await asyncio.sleep(0.01)
            raise Dropped
        writer.write(answer.raw)
        await writer.drain()
        return "close" not in answer.headers.get("connection", "").lower()

    async def _forward(self, request: Message) -> Message:
        path = urlsplit(request.target).path
        async with self._keys[path]:
            if self.strict and (refused := self._precondition(request, path)):
                return refused
            reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=_LIMIT)
            try:
                writer.write(request.raw)
                await writer.drain()
                return await read_answer(reader, request.method)
            finally:
                writer.transport.abort()

    def _precondition(self, request: Message, path: str) -> Message | None:
        """412 where S3 would say so."""
        if request.method != "PUT":
            return None
        file = self._folder / unquote(path).lstrip("/")
        wanted, absent = request.headers.get("if-match"), request.headers.get("if-none-match")
        fails = absent == "*" and file.exists()
        if wanted is not None:
            there = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() if file.exists() else None
            fails = there != wanted.strip('"')
        if not fails:
            return None
        raw = refusal(412, "PreconditionFailed", "PUT")
        head, _, body = raw.partition(b"\r\n\r\n")
        return Message("HTTP/1.1 412 PreconditionFailed", {"connection": "close"}, head + b"\r\n\r\n", body)


async def _until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.005)
