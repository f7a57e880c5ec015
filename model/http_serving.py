"""The container's server: GET /ping and POST /invocations in one event loop, more processes where cores allow.

A request of a few rows is scored in the loop, in less time than a thread would take to be woken. Large bodies go to a
thread, and reasons to a thread of their own, one at a time: neither holds up the requests that only want a score.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

if __package__:
    from model import http_protocol as http1
    from model import row_formats as formats
    from model.loaded_model import Model
else:
    import http_protocol as http1  # type: ignore[no-redef]
    import row_formats as formats  # type: ignore[no-redef]
    from loaded_model import Model  # type: ignore[no-redef]

# Up to this many bytes a body is read and scored in the loop: some 30 rows, well below a millisecond.
INLINE_BYTES = 16 * 1024
# Requests for reasons that may wait; beyond, 503 says to try again.
MAX_EXPLAINING = 32
MAX_CONNECTIONS = 1_000
DRAIN_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_log = logging.getLogger("inference")


class Server:
    """Answers 503 until `model` is set. Used in one event loop; `listening` is a bound socket, shared or its own."""

    def __init__(self, listening: socket.socket) -> None:
        self.model: Model | None = None
        self.draining = False
        self._versions = b""
        self._listening = listening
        self._connections: set[http1.Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._explain = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._explaining = 0

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def ready(self, model: Model) -> None:
        """From now on requests are answered. The versions go into every answer, also of refusals, in a header that
        SageMaker hands on to its caller.
        """
        said = f"model_version={model.version};features_version={model.features_version};engine={model.engine}"
        printable = "".join(letter for letter in said if " " <= letter <= "~")
        self._versions = f"X-Amzn-SageMaker-Custom-Attributes: {printable[:1024]}\r\n".encode("ascii")
        self.model = model

    def start(self) -> None:
        """Begin to accept. One connection is taken at a time, so that processes on one socket share them."""
        self._listening.setblocking(False)
        self._listening.listen(512)
        asyncio.get_running_loop().add_reader(self._listening, self._accept)
        self._keep(self._sweeping())

    async def drain(self, timeout_seconds: float = DRAIN_SECONDS) -> None:
        """Stop accepting, let the requests under way be answered, then end."""
        self.draining = True
        asyncio.get_running_loop().remove_reader(self._listening)
        deadline = time.monotonic() + timeout_seconds
        while self._connections and time.monotonic() < deadline:
            for connection in tuple(self._connections):
                connection.close_if_idle()
            await asyncio.sleep(0.01)
        for connection in tuple(self._connections):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in (self._large, self._explain):
            pool.shutdown(wait=False, cancel_futures=True)
        self._listening.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as error:  # no descriptor is left: clients wait in the queue, and we do not spin until one is
            _log.warning("a connection cannot be accepted: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._listening)
            loop.call_later(_PAUSE_SECONDS, self._accept_again)
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            client.close()
            return
        client.setblocking(False)
        self._keep(self._adopt(client))

    def _accept_again(self) -> None:
        if not self.draining:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    async def _adopt(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: http1.Connection(self._handle, self._connections, lambda: self.draining), client
        )

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for connection in tuple(self._connections):
                connection.sweep(now)

    def _keep(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _handle(self, connection: http1.Connection, head: http1.Head, body: bytes) -> None:
        model = self.model
        if head.path == "/ping" and head.method == "GET":
            if model is None or self.draining:
                self._refuse(connection, 503, "The model is not loaded.")
            else:
                connection.answer(200, b"{}", headers=self._versions)
        elif head.path != "/invocations":
            self._refuse(connection, 404, "Not found.")
        elif head.method != "POST":
            self._refuse(connection, 405, "Rows to score are sent with POST.")
        elif model is None:
            self._refuse(connection, 503, "The model is not loaded.")
        elif (kind := formats.accepted(head.accept)) is None:
            sentence = f"Answers are {formats.JSON}, {formats.CSV} or {formats.LINES}, not '{head.accept[:60]}'."
            self._refuse(connection, 406, sentence)
        elif len(body) <= INLINE_BYTES:
            self._invoke(connection, head, body, kind, model)
        else:
            self._keep(self._invoke_large(connection, head, body, kind, model))

    def _invoke(self, connection: http1.Connection, head: http1.Head, body: bytes, kind: str, model: Model) -> None:
        """The fast path: everything here and now, unless reasons are asked for."""

        try:
            batch = formats.read_rows(body, head.content_type)
            scored = model.scored(batch)
            if batch.wants(scored):
                self._keep(self._explain_too(connection, batch, scored, kind, model))
            else:
                self._write(connection, scored, kind)
        except Exception as error:
            self._failed(connection, error)

    async def _invoke_large(
        self, connection: http1.Connection, head: http1.Head, body: bytes, kind: str, model: Model
    ) -> None:
        def work() -> tuple[formats.Batch, formats.Answer, bytes]:
            batch = formats.read_rows(body, head.content_type)
            scored = model.scored(batch)
            return batch, scored, b"" if batch.wants(scored) else formats.write_answer(scored, kind)

        try:
            batch, scored, written = await asyncio.get_running_loop().run_in_executor(self._large, work)
        except Exception as error:
            self._failed(connection, error)
            return
        if written:
            connection.answer(200, written, content_type=kind, headers=self._versions)
        else:
            await self._explain_too(connection, batch, scored, kind, model)

    async def _explain_too(
        self, connection: http1.Connection, batch: formats.Batch, scored: formats.Answer, kind: str, model: Model
    ) -> None:
        """Who would like reasons beside the scores gets the scores where there can be none; who insists, a refusal."""
        full = self._explaining >= MAX_EXPLAINING
        if (kind == formats.CSV or full) and not batch.explain:
            self._write(connection, scored, kind)
            return
        if kind == formats.CSV:
            self._refuse(connection, 406, f"Contributions are answered as {formats.JSON} or {formats.LINES}.")
            return
        if full:
            self._refuse(connection, 503, "Too many requests for contributions are waiting; try again.")
            return
        self._explaining += 1
        work: Callable[[], bytes] = lambda: formats.write_answer(model.explained(batch, scored), kind)  # noqa: E731
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._explain, work)
        except Exception as error:
            self._failed(connection, error)
        else:
            connection.answer(200, answer, content_type=kind, headers=self._versions)
        finally:
            self._explaining -= 1

    def _write(self, connection: http1.Connection, answer: formats.Answer, kind: str) -> None:
        connection.answer(200, formats.write_answer(answer, kind), content_type=kind, headers=self._versions)

    def _failed(self, connection: http1.Connection, error: Exception) -> None:
        if isinstance(error, formats.BadRequest):
            self._refuse(connection, 400, str(error))
        else:
            _log.error("scoring failed", exc_info=error)
            self._refuse(connection, 500, "The model failed on this request.")

    def _refuse(self, connection: http1.Connection, status: int, sentence: str) -> None:
        connection.answer(status, http1.error_body(sentence), headers=self._versions)


def bind(host: str, port: int) -> socket.socket:
    """A listening place; port 0 takes a free one. Raises OSError."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening
