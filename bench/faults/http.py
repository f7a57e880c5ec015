"""HTTP/1.1 messages, read whole and passed on byte by byte: signatures stay valid."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer: its first line, its headers with lower-case names, and all of its bytes."""

    first: str
    headers: dict[str, str]
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def method(self) -> str:
        return self.first.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message | None:
    """The next request; None when the client closed. Answers `Expect: 100-continue` itself, and takes it out."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, headers = _head(head)
    if "100-continue" in headers.get("expect", "").lower():
        writer.write(CONTINUE)
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")]
        head = b"\r\n".join(kept)
    return Message(first, headers, head, await _body(reader, headers))


async def read_answer(reader: asyncio.StreamReader, method: str) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    first, headers = _head(head)
    status = int(first.split(" ")[1])
    if status == 100:
        return await read_answer(reader, method)
    if method == "HEAD" or status in (204, 304):
        return Message(first, headers, head, b"")
    return Message(first, headers, head, await _body(reader, headers, to_end=True))


def refusal(status: int, code: str, method: str, message: str = "Injected.") -> bytes:
    """S3's way to say no; an answer to HEAD has no body."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    sent = b"" if method == "HEAD" else body.encode()
    lines = [f"HTTP/1.1 {status} {code}", "Content-Type: application/xml", f"Content-Length: {len(sent)}"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + sent


def _head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str], *, to_end: bool = False) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read() if to_end else b""


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while True:
        line = await reader.readline()
        parts.append(line)
        size = int(line.split(b";")[0], 16)
        parts.append(await reader.readexactly(size + 2) if size else b"")
        if size == 0:
            while (line := await reader.readline()) not in (b"\r\n", b""):
                parts.append(line)
            parts.append(line)
            return b"".join(parts)
