"""The Lambda function in this process, and a local HTTP server that speaks to it as the SageMaker runtime does."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "infra/lambda/score.py"
ROWS = {"instances": [[1.0, 2.0], [3.0, None]]}
Call = Callable[..., dict[str, Any]]


@dataclass
class Context:
    """What the function reads of Lambda's context: milliseconds left, one value a call, the last one for ever."""

    left_ms: list[int] = field(default_factory=lambda: [30_000])

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms.pop(0) if len(self.left_ms) > 1 else self.left_ms[0]


class Endpoint(ThreadingHTTPServer):
    """Answers from `answers` in turn, the last one for ever, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.asked: list[tuple[str, Any]] = []
        self.delay_seconds = 0.0
        self.delays: list[float] = []  # of the next answers, before delay_seconds counts
        # What the model tells of itself when it is asked; None: it was packaged before it could.
        self.features: list[str] | None = None
        self.version = "v3"
        self.described = 0

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        self.answers.append((status, {k.replace("_", "-"): v for k, v in headers.items()}, body))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if sent == {"describe": True}:
            status, headers, body = self._description()
        else:
            self.server.asked.append((self.path, sent))
            delays = self.server.delays
            time.sleep(delays.pop(0) if delays else self.server.delay_seconds)
            answers = self.server.answers
            status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            pass  # the function gave up waiting

    def _description(self) -> tuple[int, dict[str, str], Any]:
        self.server.described += 1
        if self.server.features is None:
            said = {"OriginalStatusCode": 400, "OriginalMessage": '{"error": "The body must be rows."}'}
            return 424, {"x-amzn-errortype": "ModelError"}, said
        return 200, {}, {**good([]), "model_version": self.server.version, "features": self.server.features}


@contextmanager
def serving() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def loaded(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The function's module as a new execution environment loads it, with `endpoint` behind it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{endpoint.server_address[1]}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("FRAUD_DESK_ENDPOINT", "fraud-desk")
    monkeypatch.syspath_prepend(str(SOURCE.parent))
    spec = importlib.util.spec_from_file_location("fraud_desk_score", SOURCE)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    yield module
    module.runtime.close()


def caller(function: ModuleType) -> Call:
    def call(event: Any, context: Context | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = function.handler(event, context or Context())
        json.dumps(answer, allow_nan=False)  # Lambda must be able to serialise it
        return answer

    return call


def good(scores: list[Any], contributions: Any = None) -> dict[str, Any]:
    return {"model_version": "v3", "features_version": "1", "scores": scores, "contributions": contributions}
