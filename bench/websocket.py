"""Drives a Streamlit server over its own websocket and times reruns, as a browser would cause them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


@dataclass(frozen=True, slots=True)
class Rerun:
    """One script run: milliseconds from the request to its end, bytes and messages received, exceptions shown."""

    ms: float
    size: int
    messages: int
    exceptions: int
    texts: tuple[str, ...]


class Shown:
    """What one script run sends, message by message."""

    def __init__(self) -> None:
        self.size = self.messages = self.exceptions = 0
        self.texts: list[str] = []
        self.buttons: dict[str, str] = {}

    def take(self, data: bytes) -> bool:
        """One message of the server; True when it is the run's last."""
        message = ForwardMsg()
        message.ParseFromString(data)
        self.size, self.messages = self.size + len(data), self.messages + 1
        if message.WhichOneof("type") == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            kind = element.WhichOneof("type")
            self.exceptions += kind == "exception"
            if kind in ("markdown", "heading", "alert"):
                self.texts.append(str(getattr(element, kind).body))
            elif kind == "button":
                self.buttons[element.button.label] = element.button.id
        # A page that sends the person on (switch_page) ends one run and begins the next: wait for a real end.
        return message.WhichOneof("type") == "script_finished" and message.script_finished in (
            ForwardMsg.FINISHED_SUCCESSFULLY,
            ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
        )


async def _run(connection: websockets.ClientConnection, page: str, query: str) -> Rerun:
    request = BackMsg()
    request.rerun_script.page_name = page
    request.rerun_script.query_string = query
    begun = time.perf_counter()
    await connection.send(request.SerializeToString())
    shown = Shown()
    while not shown.take(await asyncio.wait_for(connection.recv(decode=False), 60)):
        pass
    ms = (time.perf_counter() - begun) * 1000
    return Rerun(ms, shown.size, shown.messages, shown.exceptions, tuple(shown.texts))


def handshake(port: int, cookies: Mapping[str, str]) -> dict[str, Any]:
    """What `connect` of the websocket library needs beside the address."""
    return {
        "subprotocols": [websockets.Subprotocol(p) for p in ("streamlit", cookies.get("_streamlit_xsrf", "none"))],
        "additional_headers": {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())} if cookies else {},
        "origin": websockets.Origin(f"http://127.0.0.1:{port}"),
        "max_size": None,
    }


def address(port: int) -> str:
    return f"ws://127.0.0.1:{port}/_stcore/stream"


async def reruns(
    port: int,
    page: str,
    *,
    count: int,
    query: str = "",
    cookies: dict[str, str] | None = None,
    think_seconds: float = 0.0,
) -> list[Rerun]:
    """`count` reruns of one page in one session, one after the other; the first also opens the session."""
    async with websockets.connect(address(port), **handshake(port, cookies or {})) as connection:
        out = []
        for _ in range(count):
            out.append(await _run(connection, page, query))
            if think_seconds:
                await asyncio.sleep(think_seconds)
        return out
