"""One process of a function: loads the handler once, runs one event at a time, is killed when one takes too long."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.aws.config import Config
from embedded.aws.functions.runtime_api import Invocation, RuntimeApi
from embedded.aws.log_files import LogFiles
from embedded.aws.processes import Child, Processes, base_environment
from embedded.aws.store import Record

_INIT_SECONDS = 30.0
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error` is the value of FunctionError, or None; `log_tail` the last 4 KiB of the invocation's log, in base64."""

    payload: bytes
    error: str | None
    log_tail: str


class WorkerLost(Exception):
    """The process cannot be used any more; `payload` is what the caller gets."""

    def __init__(self, payload: bytes) -> None:
        super().__init__("function process lost")
        self.payload = payload


def failure(kind: str, request_id: str, text: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {text}"}).encode()


class Worker:
    """One process that runs the handler through awslambdaric."""

    def __init__(self, record: Record, code: Path, config: Config, processes: Processes, logs: LogFiles) -> None:
        self._record = record
        self._code = code
        self._config = config
        self._processes = processes
        self._group = f"/aws/lambda/{record['FunctionName']}"
        day = time.strftime("%Y/%m/%d", time.gmtime())
        identity = uuid.uuid4().hex
        self._stream = logs.writer(
            self._group, lambda n: f"{day}/[$LATEST]{identity[:28]}{n:04x}", max_bytes=8 * 2**20, keep=2
        )
        logs.prune(self._group, keep=20)
        self._recent: deque[str] = deque(maxlen=400)
        self._api = RuntimeApi()
        self._child: Child | None = None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.running

    async def start(self) -> None:
        """Raises WorkerLost when the handler cannot be loaded."""
        await self._api.open()
        handler = self._record["Handler"]
        argv = [sys.executable, "-m", "awslambdaric", handler]
        what = f"function {self._record['FunctionName']}"
        self._child = await self._processes.start(what, argv, cwd=self._code, env=self._environment(), sink=self._line)
        ready = asyncio.create_task(self._api.ready.wait())
        ended = asyncio.create_task(self._child.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=_INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            ended.cancel()
        if self._api.init_error is not None:
            await self._child.end(1.0)
            payload = self._api.init_error
            await self.stop()
            raise WorkerLost(payload)
        if not self._api.ready.is_set():
            code = self._child.returncode
            await self.stop()
            if code is None:
                raise WorkerLost(
                    failure("Sandbox.Timedout", "init", f"Init timed out after {_INIT_SECONDS:.2f} seconds")
                )
            raise WorkerLost(failure("Runtime.ExitError", "init", f"Runtime exited with error: exit status {code}"))

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.end(0.2)
        self._api.close()
        self._stream.close()

    async def invoke(self, payload: bytes, client_context: str | None) -> Outcome:
        """Run one event. After WorkerLost-like outcomes (timeout, exit) `alive` is False."""
        child = self._child
        if child is None:
            raise RuntimeError("not started")
        request_id = str(uuid.uuid4())
        timeout = float(self._record["Timeout"])
        self._recent.clear()
        self._line(f"START RequestId: {request_id} Version: $LATEST")
        deadline = int((time.time() + timeout) * 1000)
        invocation = Invocation(request_id, payload, deadline, self._record["FunctionArn"], client_context)
        began = time.perf_counter()
        self._api.submit(invocation)
        ended = asyncio.create_task(child.wait())
        try:
            first: set[asyncio.Future[Any]] = {invocation.outcome, ended}
            await asyncio.wait(first, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            if not invocation.outcome.done():
                # Also when the caller went away: a process in mid-event cannot be given another.
                await asyncio.shield(child.end(0))
        if invocation.outcome.done():
            answer, is_error = invocation.outcome.result()
            error = "Unhandled" if is_error else None
            # What the handler printed is in the pipe before its answer is; let the loop read it.
            for _ in range(3):
                await asyncio.sleep(0)
        elif time.perf_counter() - began >= timeout:
            self._line(f"{request_id} Task timed out after {timeout:.2f} seconds")
            answer = failure("Sandbox.Timedout", request_id, f"Task timed out after {timeout:.2f} seconds")
            error = "Unhandled"
        else:
            text = f"Runtime exited with error: exit status {child.returncode}"
            answer, error = failure("Runtime.ExitError", request_id, text), "Unhandled"
        self._report(request_id, (time.perf_counter() - began) * 1000)
        tail = "\n".join(self._recent).encode()[-_TAIL_BYTES:]
        return Outcome(answer, error, base64.b64encode(tail).decode())

    def _report(self, request_id: str, duration_ms: float) -> None:
        memory = self._record["MemorySize"]
        self._line(f"END RequestId: {request_id}")
        self._line(
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {int(duration_ms) + 1} ms\tMemory Size: {memory} MB"
        )

    def _line(self, text: str) -> None:
        self._recent.append(text)
        self._stream.write(text)

    def _environment(self) -> dict[str, str]:
        """Lambda's own variables; endpoints and credentials are what the function's role is in AWS."""
        record = self._record
        region = self._config.region
        own: dict[str, str] = {
            "AWS_ENDPOINT_URL": self._config.url,
            **({"AWS_ENDPOINT_URL_S3": self._config.s3_endpoint} if self._config.s3_endpoint else {}),
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
        return {
            **base_environment(),
            **own,
            **record.get("Environment", {}).get("Variables", {}),
            "AWS_ACCESS_KEY_ID": self._config.access_key,
            "AWS_SECRET_ACCESS_KEY": self._config.secret_key,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_NAME": record["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(record["MemorySize"]),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": self._group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._stream.stream,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "LAMBDA_TASK_ROOT": str(self._code),
            "_HANDLER": record["Handler"],
            "PATH": os.environ.get("PATH", os.defpath),
        }
