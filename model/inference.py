"""Serving inside the container: GET /ping and POST /invocations over keep-alive HTTP, or the framework image's hooks.

`python inference.py` is the whole server: standard library, numpy and xgboost. On the XGBoost framework image the
image's own server calls `model_fn`, `input_fn`, `predict_fn` and `output_fn` instead; both ways give the same answers.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

MAX_BODY_BYTES = 16 * 1024 * 1024
_DRAIN_SECONDS = 10.0
_log = logging.getLogger("inference")


class BadRequest(ValueError):
    """The request cannot be scored; the message is one sentence for its sender."""


@dataclass(frozen=True)
class Batch:
    """Rows to score: [n, f] float32 with nan for missing; `explain` asks for contributions."""

    matrix: NDArray[np.float32]
    explain: bool


class Model:
    """A loaded booster with what it was trained on. Safe to use from several threads."""

    def __init__(self, folder: Path, *, version: str) -> None:
        metadata = json.loads((folder / "metadata.json").read_text())
        self.features: list[str] = metadata["features"]
        self.features_version: str = metadata["features_version"]
        self.version = version
        self._booster = xgb.Booster()
        self._booster.load_model(folder / "model.ubj")
        # A thread pool costs more than it saves on a few rows; requests are what runs in parallel.
        self._booster.set_param({"nthread": 1})
        self._explaining = threading.Lock()
        self.predict(Batch(np.zeros((1, len(self.features)), dtype=np.float32), True))

    def predict(self, batch: Batch) -> dict[str, Any]:
        """The contract's answer: scores in [0, 1], contributions in log-odds without the bias.

        BadRequest when the width is not the model's.
        """
        width = batch.matrix.shape[1]
        if width != len(self.features):
            raise BadRequest(f"Each row must have {len(self.features)} features, got {width}.")
        scores = self._booster.inplace_predict(batch.matrix, validate_features=False)
        contributions = None
        if batch.explain:
            data = xgb.DMatrix(batch.matrix, nthread=1)
            with self._explaining:
                shares = self._booster.predict(data, pred_contribs=True, validate_features=False)
            contributions = shares[:, :-1].tolist()
        return {
            "model_version": self.version,
            "features_version": self.features_version,
            "scores": scores.tolist(),
            "contributions": contributions,
        }


def model_fn(model_dir: str) -> Model:
    """Framework hook: load the artifact; FRAUD_DESK_MODEL_VERSION names the version."""
    return Model(Path(model_dir), version=os.environ.get("FRAUD_DESK_MODEL_VERSION", ""))


def input_fn(body: str | bytes, content_type: str) -> Batch:
    """Framework hook: a request's body to rows. JSON null and NaN, or an empty CSV cell, are missing values."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8") if isinstance(body, bytes | bytearray) else body
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None
    if kind == "application/json":
        return _from_json(text)
    if kind == "text/csv":
        return Batch(_matrix(_csv_rows(text)), False)
    raise BadRequest(f"The content type must be application/json or text/csv, got '{kind[:60]}'.")


def predict_fn(batch: Batch, model: Model) -> dict[str, Any]:
    """Framework hook: rows to the contract's answer."""
    return model.predict(batch)


def output_fn(answer: dict[str, Any], accept: str = "application/json") -> bytes:
    """Framework hook: the answer is always JSON."""
    return json.dumps(answer, separators=(",", ":")).encode()


def _from_json(text: str) -> Batch:
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(request, dict) or not isinstance(request.get("instances"), list):
        raise BadRequest('The body must be {"instances": [[number, ..], ..], "explain": true|false}.')
    explain = request.get("explain", False)
    if not isinstance(explain, bool):
        raise BadRequest("'explain' must be true or false.")
    return Batch(_matrix(request["instances"]), explain)


def _csv_rows(text: str) -> list[list[float]]:
    try:
        return [
            [float(cell) if cell.strip() else float("nan") for cell in row] for row in csv.reader(io.StringIO(text))
        ]
    except (ValueError, csv.Error):
        raise BadRequest("Every cell of the CSV must be a number or empty, without a header.") from None


def _matrix(rows: list[Any]) -> NDArray[np.float32]:
    if not rows:
        raise BadRequest("There are no rows to score.")
    try:
        values = np.array(rows)
    except ValueError:
        raise BadRequest("Every row must be a list of equally many numbers.") from None
    if values.ndim != 2:
        raise BadRequest("Every row must be a list of equally many numbers.")
    if values.dtype.kind == "O":  # null among the numbers, or integers beyond 64 bits
        flat = values.ravel()
        if not all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in flat):
            raise BadRequest("Every feature must be a number or null.")
        try:
            values = np.array([np.nan if v is None else float(v) for v in flat]).reshape(values.shape)
        except OverflowError:
            raise BadRequest("A feature is infinite or too large; only missing (NaN) is allowed.") from None
    if values.dtype.kind not in "fiu":
        raise BadRequest("Every feature must be a number or null.")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(values, dtype=np.float32)
    if np.isinf(matrix).any():
        raise BadRequest("A feature is infinite or too large; only missing (NaN) is allowed.")
    return matrix


class Server(ThreadingHTTPServer):
    """Answers 503 until `model` is set; counts requests under way so that a shutdown can wait for them."""

    daemon_threads = True
    request_queue_size = 128
    model: Model | None = None

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.under_way = 0
        self.draining = False
        self.changed = threading.Condition()

    def drain(self, timeout_seconds: float) -> None:
        """Stop accepting, then wait for the requests under way."""
        self.draining = True
        self.shutdown()
        with self.changed:
            self.changed.wait_for(lambda: self.under_way == 0, timeout_seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small answers must leave at once and in one piece: with Nagle's algorithm they wait 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    # An idle keep-alive connection is given up after this many seconds.
    timeout = 120
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)

    def do_GET(self) -> None:
        if self.path != "/ping":
            self._refuse(404, "Not found.")
        elif self.server.model is None or self.server.draining:
            self._refuse(503, "The model is not loaded.")
        else:
            self._answer(200, b"{}")

    def do_POST(self) -> None:
        server = self.server
        with server.changed:
            server.under_way += 1
        try:
            self._invoke()
        finally:
            with server.changed:
                server.under_way -= 1
                server.changed.notify_all()

    def _invoke(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            # The body is left unread, so the connection cannot be used again.
            self.close_connection = True
            limit = f"The request needs a Content-Length of at most {MAX_BODY_BYTES:,} bytes."
            self._refuse(413 if length.isdecimal() else 411, limit)
            return
        body = self.rfile.read(int(length))
        if self.path != "/invocations":
            self._refuse(404, "Not found.")
        elif self.server.model is None:
            self._refuse(503, "The model is not loaded.")
        else:
            self._score(body, self.server.model)

    def _score(self, body: bytes, model: Model) -> None:
        try:
            batch = input_fn(body, self.headers.get("Content-Type", ""))
            answer = output_fn(predict_fn(batch, model))
        except BadRequest as error:
            self._refuse(400, str(error))
        except Exception:
            _log.exception("scoring failed")
            self._refuse(500, "The model failed on this request.")
        else:
            self._answer(200, answer)

    def _refuse(self, status: int, sentence: str) -> None:
        self._answer(status, json.dumps({"error": sentence}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.server.draining or self.close_connection:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def serve(base: Path, port: int) -> int:
    """Serve until SIGTERM or SIGINT; exit status 1 with a sentence when the model cannot be loaded."""
    inside_container = base == Path("/opt/ml")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = Server(("0.0.0.0" if inside_container else "127.0.0.1", port))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    began = time.monotonic()
    try:
        server.model = model_fn(str(base / "model"))
    except (OSError, ValueError, KeyError, xgb.core.XGBoostError) as error:
        print(f"The model cannot be loaded: {error}", file=sys.stderr, flush=True)
        return 1
    print(
        f"Serving {server.model.version or 'a model'} with {len(server.model.features)} features on port "
        f"{server.server_address[1]} after {time.monotonic() - began:.2f} s.",
        flush=True,
    )
    stopped.wait()
    server.drain(_DRAIN_SECONDS)
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    sys.exit(
        serve(
            Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")),
            int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")),
        )
    )
