"""Drives a Streamlit server over its own websocket and times reruns, as a browser would cause them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

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


async def _run(connection: websockets.ClientConnection, page: str, query: str) -> Rerun:
    request = BackMsg()
    request.rerun_script.page_name = page
    request.rerun_script.query_string = query
    begun = time.perf_counter()
    await connection.send(request.SerializeToString())
    size = messages = exceptions = 0
    texts: list[str] = []
    while True:
        data = await asyncio.wait_for(connection.recv(decode=False), 60)
        message = ForwardMsg()
        message.ParseFromString(data)
        size, messages = size + len(data), messages + 1
        if message.WhichOneof("type") == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            exceptions += element.WhichOneof("type") == "exception"
            if element.WhichOneof("type") in ("markdown", "heading"):
                texts.append(element.markdown.body or element.heading.body)
        # A page that sends the person on (switch_page) ends one run and begins the next: wait for a real end.
        if message.WhichOneof("type") == "script_finished" and message.script_finished in (
            ForwardMsg.FINISHED_SUCCESSFULLY,
            ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
        ):
            return Rerun((time.perf_counter() - begun) * 1000, size, messages, exceptions, tuple(texts))


async def reruns(
    port: int, page: str, *, count: int, query: str = "", cookies: dict[str, str] | None = None, think_seconds: float = 0.0
) -> list[Rerun]:
    """`count` reruns of one page in one session, one after the other; the first also opens the session."""
    held = cookies or {}
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in held.items())} if held else {}
    protocols = ["streamlit", held.get("_streamlit_xsrf", "none")]
    async with websockets.connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=[websockets.Subprotocol(p) for p in protocols],
        additional_headers=headers,
        origin=websockets.Origin(f"http://127.0.0.1:{port}"),
        max_size=None,
    ) as connection:
        out = []
        for _ in range(count):
            out.append(await _run(connection, page, query))
            if think_seconds:
                await asyncio.sleep(think_seconds)
        return out
