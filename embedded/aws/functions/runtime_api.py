"""The Lambda Runtime API for one function process: it polls `next`, and posts responses and errors back.

Source: "Using the Lambda runtime API", AWS Lambda Developer Guide. One listener a process, on a loopback port of its
own: which process is asking needs no further proof than the port.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import h11

_PREFIX = "/2018-06-01/runtime/"
_READ = 256 * 1024
_LARGEST_ANSWER = 6 * 2**20 + 4096


@dataclass(slots=True)
class Invocation:
    """One event on its way through a handler. `outcome` is (payload, is error)."""

    request_id: str
    payload: bytes
    deadline_ms: int
    arn: str
    client_context: str | None
    outcome: asyncio.Future[tuple[bytes, bool]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class RuntimeApi:
    """Serves one process. `ready` is set when it polls for the first time, `init_error` when it could not start."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.init_error: bytes | None = None
        self.address = ""
        self._queue: asyncio.Queue[Invocation] = asyncio.Queue()
        self._current: Invocation | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()

    def submit(self, invocation: Invocation) -> None:
        """Hand an event to the process at its next poll. One at a time."""
        self._queue.put_nowait(invocation)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        state = h11.Connection(h11.SERVER)
        try:
            while await self._one_request(state, reader, writer):
                state.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            pass
        finally:
            with suppress(OSError):
                writer.close()

    async def _one_request(
        self, state: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = state.next_event()
            if event is h11.NEED_DATA:
                if state.they_are_waiting_for_100_continue:
                    writer.write(state.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                state.receive_data(await reader.read(_READ))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        if request is None:
            return False
        status, headers, answer = await self._answer(request, bytes(body))
        fields = [("Content-Length", str(len(answer))), *headers.items()]
        head = state.send(h11.Response(status_code=status, headers=fields)) or b""
        data = state.send(h11.Data(data=answer)) or b""
        writer.write(head + data + (state.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        return bool(state.our_state is state.their_state is h11.DONE)

    async def _answer(self, request: h11.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        path = request.target.decode("latin-1")
        accepted = (202, {"Content-Type": "application/json"}, b'{"status":"OK"}')
        if path == f"{_PREFIX}invocation/next":
            return await self._next()
        if path == f"{_PREFIX}init/error":
            self.init_error = body
            self.ready.set()
            return accepted
        parts = path.removeprefix(f"{_PREFIX}invocation/").split("/")
        current = self._current
        if (
            len(parts) != 2
            or parts[1] not in ("response", "error")
            or current is None
            or parts[0] != current.request_id
        ):
            return 400, {}, b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'
        if not current.outcome.done():
            if len(body) > _LARGEST_ANSWER:
                size = len(body)
                text = (
                    f'{{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
                    f'"errorType":"Function.ResponseSizeTooLarge","size":{size}}}'
                )
                current.outcome.set_result((text.encode(), True))
            else:
                current.outcome.set_result((body, parts[1] == "error"))
        return accepted

    async def _next(self) -> tuple[int, dict[str, str], bytes]:
        self.ready.set()
        invocation = self._current = await self._queue.get()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        return 200, headers, invocation.payload
