"""How a command finds the supervisor of a state folder and talks to it.

The supervisor listens on a loopback port and writes it, with a token, to control.json (0600): a Unix socket would do,
but its path may not exceed about 100 characters and state folders do. One request is one JSON line and so is its
answer; the connection stays open until the client goes or the stack ends, so that a client can wait for that.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from embedded.ports import LOOPBACK
from embedded.state_folder import StateFolder, read_json, write_json
from services.errors import ServiceError

Handler = Callable[[str], Awaitable[dict[str, Any]]]
_MAX_LINE = 65_536


class NotRunning(ServiceError):
    """No supervisor answers for this state folder."""


class ControlServer:
    """Serves `handler(command)`. Requests without the token are closed without an answer."""

    def __init__(self, folder: StateFolder, handler: Handler) -> None:
        self._folder, self._handler = folder, handler
        self._token = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, limit=_MAX_LINE)
        port = self._server.sockets[0].getsockname()[1]
        write_json(self._folder.control, {"port": port, "token": self._token, "pid": os.getpid()})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if not hmac.compare_digest(str(request.get("token", "")).encode(), self._token.encode()):
                    break
                answer = await self._handler(str(request.get("command", "")))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, AttributeError, asyncio.CancelledError):
            pass  # a client that went away or spoke nonsense is of no interest, and at the end every client is left
        finally:
            self._connections.discard(writer)
            writer.close()

    def withdraw(self) -> None:
        """Take the address away. To be called while the lock is still held: after it, the file may be another's."""
        self._folder.control.unlink(missing_ok=True)

    async def hang_up(self) -> None:
        """Close every connection: this is what tells the clients that the stack has ended."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()


class Control:
    """The client's side, blocking. Use it as a context manager."""

    def __init__(self, folder: StateFolder, *, timeout_s: float = 2.0) -> None:
        """Raises NotRunning when nobody listens."""
        known = read_json(folder.control)
        if not isinstance(known, dict):
            raise NotRunning(f"No stack runs in {folder.path}.")
        self._token = known["token"]
        self.pid = int(known["pid"])
        try:
            self._socket = socket.create_connection((LOOPBACK, int(known["port"])), timeout=timeout_s)
        except OSError as error:
            raise NotRunning(f"No stack runs in {folder.path}.") from error
        self._file = self._socket.makefile("rwb")

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str, *, timeout_s: float | None = 2.0) -> dict[str, Any]:
        """Raises NotRunning when the supervisor ends, is not the one that wrote the address, or is silent."""
        self._socket.settimeout(timeout_s)
        try:
            self._file.write(json.dumps({"token": self._token, "command": command}).encode() + b"\n")
            self._file.flush()
            line = self._file.readline()
        except OSError as error:
            raise NotRunning("The stack does not answer.") from error
        if not line:
            raise NotRunning("The stack has ended.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def wait_end_or_hang_up(self, descriptor: int) -> bool:
        """Block until the stack ends (True) or the other side of `descriptor` is closed (False).

        Answers still on their way are read and dropped.
        """
        self._socket.settimeout(None)
        while True:
            readable, _, _ = select.select([self._socket.fileno(), descriptor], [], [])
            if descriptor in readable and os.read(descriptor, 64) == b"":
                return False
            if self._socket.fileno() in readable:
                try:
                    if self._socket.recv(_MAX_LINE) == b"":
                        return True
                except OSError:
                    return True

    def wait_end(self, *, timeout_s: float | None = None) -> bool:
        """Block until the stack ends; False when it has not after `timeout_s`."""
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
