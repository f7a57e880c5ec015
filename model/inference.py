"""Serving inside the container: GET /ping and POST /invocations over keep-alive HTTP, or the framework image's hooks.

`python inference.py` is the whole server: standard library, numpy, xgboost, and ONNX Runtime where it is installed. On
the XGBoost framework image the image's own server calls `model_fn`, `input_fn`, `predict_fn` and `output_fn` instead;
both ways give the same answers. SAGEMAKER_MODEL_SERVER_WORKERS says how many processes serve (default: one a core).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import xgboost as xgb

if __package__:
    from model import row_formats
    from model.http_serving import DRAIN_SECONDS, Server, bind
    from model.loaded_model import Model
    from model.row_formats import Answer, Batch
else:
    import row_formats  # type: ignore[no-redef]
    from http_serving import DRAIN_SECONDS, Server, bind  # type: ignore[no-redef]
    from loaded_model import Model  # type: ignore[no-redef]
    from row_formats import Answer, Batch  # type: ignore[no-redef]

_FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.5, 30.0
# How long a thread may keep the interpreter while a request waits; Python's own 5 ms would be felt behind reasons.
_SWITCH_SECONDS = 0.0005
_BROKEN = (OSError, ValueError, KeyError, TypeError, xgb.core.XGBoostError)
_log = logging.getLogger("inference")


def model_fn(model_dir: str) -> Model:
    """Framework hook: load the artifact; FRAUD_DESK_MODEL_VERSION names the version."""
    return Model(Path(model_dir), version=os.environ.get("FRAUD_DESK_MODEL_VERSION", ""))


def input_fn(body: str | bytes, content_type: str) -> Batch:
    """Framework hook: a request's body to rows."""
    return row_formats.read_rows(body, content_type)


def predict_fn(batch: Batch, model: Model) -> Answer:
    """Framework hook: rows to scores, with contributions where the batch asks for them."""
    return model.answer(batch)


def output_fn(answer: Answer, accept: str = row_formats.JSON) -> bytes:
    """Framework hook: the answer as JSON, CSV or JSON Lines; JSON where another type is wanted."""
    return row_formats.write_answer(answer, row_formats.accepted(accept) or row_formats.JSON)


class Helpers:
    """More processes that serve from the same socket. Each accepts only once it has loaded the model; one that ends
    is started again, and none outlives this process (their standard input closes with it).
    """

    def __init__(self, listening: socket.socket, count: int) -> None:
        self._listening, self._count = listening, count
        self._running: set[asyncio.subprocess.Process] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep_one()) for _ in range(self._count)]

    async def stop(self) -> None:
        """Let each drain; what has not ended a little later than it should have is killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self._running:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in self._running:
            try:
                await asyncio.wait_for(process.wait(), DRAIN_SECONDS + 2)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _keep_one(self) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        descriptor = self._listening.fileno()
        while True:
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(Path(__file__).resolve()), "--helper", str(descriptor)),
                pass_fds=[descriptor],
                stdin=subprocess.PIPE,
            )
            self._running.add(process)
            status = await process.wait()
            self._running.discard(process)
            backoff = _FIRST_BACKOFF_SECONDS if time.monotonic() - began > 60 else backoff
            _log.warning("A serving process ended with status %d and is started again.", status)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)


def workers() -> int:
    """How many processes serve: SAGEMAKER_MODEL_SERVER_WORKERS, by default one a core this process may use."""
    stated = os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "")
    if stated.isdecimal() and int(stated) >= 1:
        return min(int(stated), 64)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def _serve(base: Path, listening: socket.socket, *, helpers: int, parent: bool) -> int:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = Server(listening)
    if parent:
        server.start()
    began = time.monotonic()
    try:
        model = await asyncio.to_thread(model_fn, str(base / "model"))
    except _BROKEN as error:
        print(f"The model cannot be loaded: {error}", file=sys.stderr, flush=True)
        return 1
    # What was loaded stays: collections need not look through it again, which a request would wait for.
    gc.collect()
    gc.freeze()
    server.ready(model)
    more = Helpers(listening, helpers)
    if parent:
        print(
            f"Serving {model.version or 'a model'} with {len(model.features)} features by {model.engine} on port "
            f"{server.port} after {time.monotonic() - began:.2f} s.",
            flush=True,
        )
        more.start()
    else:
        loop.add_reader(sys.stdin, stopped.set)
        server.start()
    await stopped.wait()
    await asyncio.gather(server.drain(), more.stop())
    return 0


def serve(base: Path, port: int) -> int:
    """Serve until SIGTERM or SIGINT; exit status 1 with a sentence when the model cannot be loaded."""
    inside_container = base == Path("/opt/ml")
    try:
        listening = bind("0.0.0.0" if inside_container else "127.0.0.1", port)
    except OSError as error:
        print(f"Port {port} cannot be listened on: {error}", file=sys.stderr, flush=True)
        return 1
    with listening:
        return asyncio.run(_serve(base, listening, helpers=workers() - 1, parent=True))


def help_serve(base: Path, descriptor: int) -> int:
    """Serve from the socket of the process that started this one, until it ends or says so."""
    with socket.socket(fileno=descriptor) as listening:
        return asyncio.run(_serve(base, listening, helpers=0, parent=False))


def main(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    sys.setswitchinterval(_SWITCH_SECONDS)
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    if arguments[:1] == ["--helper"]:
        return help_serve(base, int(arguments[1]))
    return serve(base, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
