"""A small model packaged as training packages one, and the container's server around it in this process."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

from model import onnx_packaging
from model.http_serving import Server, bind
from model.loaded_model import Model

WIDTH = 3
ROW = [0.5, None, 2.0]
JSON = "application/json"
BODY = json.dumps({"instances": [ROW]}).encode()
EXPLAINED = json.dumps({"instances": [ROW], "explain": True}).encode()


def boosted(seed: int = 1) -> xgb.Booster:
    r = np.random.default_rng(seed)
    matrix = r.normal(size=(300, WIDTH)).astype(np.float32)
    labels = (matrix[:, 0] + r.normal(size=300) > 0.5).astype(int)
    settings = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3, "base_score": 0.5}
    return xgb.train(settings, xgb.DMatrix(matrix, label=labels, nthread=1), 10)


def artifact(folder: Path, *, onnx: bool = True, **metadata: Any) -> Path:
    booster = boosted()
    onnx_packaging.copy_serving_code(folder / "code")
    booster.save_model(folder / "model.ubj")
    if onnx:
        onnx_packaging.export_onnx(booster, folder, np.zeros((1, WIDTH), dtype=np.float32))
    said = {"features": ["a", "b", "c"], "features_version": "1", **metadata}
    (folder / "metadata.json").write_text(json.dumps(said))
    return folder


class Running:
    """A server in an event loop of its own thread; `run` does something in that loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.server = Server(bind("127.0.0.1", 0))
        self.port = self.server.port
        self.run(self.server.start)

    def run(self, call: Callable[[], Any]) -> Any:
        async def inside() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(10)

    def drain(self, seconds: float) -> Any:
        return asyncio.run_coroutine_threadsafe(self.server.drain(seconds), self.loop)

    def close(self) -> None:
        if not self.server.draining:
            self.drain(0.1).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def call(self, body: bytes = BODY, path: str = "/invocations", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            given = {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request("POST" if body else "GET", path, body or None, {"Content-Type": JSON, **given})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()


@contextmanager
def serving(model: Model) -> Iterator[Running]:
    made = Running()
    made.run(lambda: made.server.ready(model))
    try:
        yield made
    finally:
        made.close()
