"""A small HTTP/1.1 client for one local process: keep-alive connections, one exchange on each at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import h11

_READ = 256 * 1024
_IDLE_CONNECTIONS = 32


class UpstreamGone(Exception):
    """The process did not accept the connection, or closed it before it answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    state: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    used: bool = False

    def close(self) -> None:
        with suppress(OSError):
            self.writer.close()


class Upstream:
    """Requests to 127.0.0.1:`port`. Not safe across event loops."""

    def __init__(self, port: int, *, max_answer_bytes: int = 64 * 2**20) -> None:
        self._port = port
        self._host = f"127.0.0.1:{port}"
        self._max_answer_bytes = max_answer_bytes
        self._idle: list[_Connection] = []

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_seconds: float
    ) -> Answer:
        """Raises TimeoutError, or UpstreamGone.

        A kept connection that turns out to be closed before a byte came back is replaced by a new one, once: servers
        close idle connections at any time, and scoring the same rows twice changes nothing.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                connection = self._idle.pop() if self._idle else await self._connect()
                reused = connection.used
                try:
                    answer = await self._exchange(connection, method, path, headers, body)
                except TimeoutError:
                    connection.close()
                    raise
                except (OSError, h11.RemoteProtocolError) as exc:
                    connection.close()
                    if reused:
                        continue
                    raise UpstreamGone(str(exc) or type(exc).__name__) from exc
                except BaseException:
                    connection.close()
                    raise
                self._release(connection)
                return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> _Connection:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_READ)
        except OSError as exc:
            raise UpstreamGone(str(exc)) from exc
        return _Connection(reader, writer)

    def _release(self, connection: _Connection) -> None:
        connection.used = True
        if (
            connection.state.our_state is connection.state.their_state is h11.DONE
            and len(self._idle) < _IDLE_CONNECTIONS
        ):
            connection.state.start_next_cycle()
            self._idle.append(connection)
        else:
            connection.close()

    async def _exchange(
        self, connection: _Connection, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        state = connection.state
        fields = [("Host", self._host), ("Content-Length", str(len(body))), *headers.items()]
        head = state.send(h11.Request(method=method, target=path, headers=fields)) or b""
        if body:
            head += state.send(h11.Data(data=body)) or b""
        state.send(h11.EndOfMessage())
        connection.writer.write(head)
        await connection.writer.drain()
        status = 0
        answered: dict[str, str] = {}
        chunks: list[bytes] = []
        size = 0
        while True:
            event = state.next_event()
            if event is h11.NEED_DATA:
                state.receive_data(await connection.reader.read(_READ))
            elif isinstance(event, h11.Response):
                status = event.status_code
                answered = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                chunks.append(bytes(event.data))
                size += len(event.data)
                if size > self._max_answer_bytes:
                    raise UpstreamGone(f"the answer is larger than {self._max_answer_bytes} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, answered, b"".join(chunks))
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the connection was closed")
