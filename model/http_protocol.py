"""HTTP/1.1 for one connection: keep-alive, one request at a time, no framework and nothing but the standard library.

Source of the rules: RFC 9112. Whatever makes the length of a message doubtful ends the connection after its answer:
chunked bodies, two lengths, headers that are no headers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_HEAD_BYTES = 16 * 1024
# An idle connection, a request that does not arrive whole, and a client that does not take its answer, in seconds.
IDLE_SECONDS, ARRIVAL_SECONDS, TAKING_SECONDS = 120.0, 30.0, 30.0
_LINGER_SECONDS = 2.0
_REASONS = {200: b"OK", 400: b"Bad Request", 503: b"Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Head:
    """A request's line and the headers that matter, with the body's length in bytes."""

    method: str
    path: str
    length: int
    content_type: str = ""
    accept: str = ""
    keep: bool = True
    expects: bool = False


class Malformed(ValueError):
    """The connection cannot go on; the answer is this status with one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def read_head(raw: bytes) -> Head:
    """The head of a request, without the empty line that ends it. Raises Malformed."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):
        raise Malformed(400, "This is not an HTTP/1.1 request.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise Malformed(400, "A header of the request is malformed.")
        if name == "content-length" and name in headers:
            raise Malformed(400, "The request states its length twice.")
        headers[name] = value.strip(" \t")
    connection = headers.get("connection", "").lower()
    return Head(
        method=words[0],
        path=words[1].partition("?")[0],
        length=_length(words[0], headers),
        content_type=headers.get("content-type", ""),
        accept=headers.get("accept", ""),
        keep="close" not in connection and (words[2] != "HTTP/1.0" or "keep-alive" in connection),
        expects=headers.get("expect", "").lower() == "100-continue",
    )


def _length(method: str, headers: dict[str, str]) -> int:
    limit = f"The request needs a Content-Length of at most {MAX_BODY_BYTES:,} bytes."
    if "transfer-encoding" in headers:
        raise Malformed(411, limit)
    text = headers.get("content-length", "" if method == "POST" else "0")
    if not (text.isascii() and text.isdecimal()):
        raise Malformed(411 if not text else 400, limit)
    if len(text) > 12 or int(text) > MAX_BODY_BYTES:
        raise Malformed(413, limit)
    return int(text)


def response(status: int, body: bytes, *, content_type: str, headers: bytes, close: bool) -> bytes:
    """One message. `headers` are whole lines, each ended by CRLF."""
    reason = _REASONS.get(status, b"Refused")
    return b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n%s" % (
        status,
        reason,
        content_type.encode("ascii"),
        len(body),
        headers,
        b"Connection: close\r\n" if close else b"",
        body,
    )


def error_body(sentence: str) -> bytes:
    return json.dumps({"error": sentence}).encode()


# Called with the connection, a whole request and its body; answers now or later through `Connection.answer`.
Handler = Callable[["Connection", Head, bytes], None]


class Connection(asyncio.Protocol):
    """One client. The next request is looked at when the former one has been answered and its answer taken."""

    def __init__(self, handler: Handler, connections: set[Connection], is_draining: Callable[[], bool]) -> None:
        self._handler, self._connections, self._is_draining = handler, connections, is_draining
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None
        self.busy = False
        self._discarding = False
        self._blocked = False
        self._since = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        if not self._buffer and self._head is None:
            self._since = time.monotonic()
        self._buffer += data
        if not self.busy:
            self._advance()
        if self.busy and len(self._buffer) > MAX_HEAD_BYTES and self._transport is not None:
            self._transport.pause_reading()  # requests sent ahead wait in the client's own buffers

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._since = time.monotonic()
        if not self.busy:
            self._advance()

    def _advance(self) -> None:
        try:
            while not (self.busy or self._blocked or self._discarding) and self._transport is not None:
                if self._head is None and not self._read_head():
                    return
                assert self._head is not None
                if len(self._buffer) < self._head.length:
                    return
                head, body = self._head, bytes(self._buffer[: self._head.length])
                del self._buffer[: head.length]
                self._head, self.busy = None, True
                self._current = head
                self._handler(self, head, body)
        except Malformed as error:
            self._refuse(error.status, str(error))

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before a request is to be ignored
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
            raise Malformed(431, "The headers of the request are too long.")
        if end < 0:
            return False
        self._head = read_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        if self._head.expects and len(self._buffer) < self._head.length and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def answer(self, status: int, body: bytes, *, content_type: str = "application/json", headers: bytes = b"") -> None:
        """Answer the request that was handed over; the connection then goes on, or ends where it has to."""
        if self._transport is None:  # the client has gone; there is nobody to tell
            return
        close = not self._current.keep or self._is_draining()
        self.busy = False
        self._since = time.monotonic()
        self._transport.write(response(status, body, content_type=content_type, headers=headers, close=close))
        if close:
            self._transport.close()
        elif self._buffer:
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._advance)

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer what cannot be read on, then take in (and forget) what still comes, so that the answer arrives."""
        if self._transport is None:
            return
        body = response(status, error_body(sentence), content_type="application/json", headers=b"", close=True)
        self._discarding = True
        self._buffer.clear()
        self._since = time.monotonic()
        self._transport.write(body)
        self._transport.write_eof()

    def sweep(self, now: float) -> None:
        """Called every second: give up whoever is too slow."""
        waited = now - self._since
        if self._transport is None or self.busy:
            return
        if self._discarding:
            if waited > _LINGER_SECONDS:
                self._transport.abort()
        elif self._blocked:
            if waited > TAKING_SECONDS:
                self._transport.abort()
        elif self._buffer or self._head is not None:
            if waited > ARRIVAL_SECONDS:
                self._refuse(408, "The request did not arrive in time.")
        elif waited > IDLE_SECONDS:
            self._transport.close()

    def close_if_idle(self) -> None:
        """A server that drains ends connections on which nothing is under way and nothing is arriving."""
        if self._transport is not None and not self.busy and not self._buffer and self._head is None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
