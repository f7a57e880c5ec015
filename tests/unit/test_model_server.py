"""The container's server: connections, drain, and that whoever asks for reasons never holds up who asks for a score."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from model import http_protocol, onnx_packaging
from model.http_serving import MAX_EXPLAINING, Server, bind
from model.loaded_model import BOOSTER, ONNX, BrokenModel, Model
from model.row_formats import BadRequest, Batch

WIDTH = 3
ROW = [0.5, None, 2.0]
BODY = json.dumps({"instances": [ROW]}).encode()


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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(artifact(tmp_path_factory.mktemp("artifact")), version="v3")


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


JSON = "application/json"


@pytest.fixture
def running(model: Model) -> Iterator[Running]:
    made = Running()
    made.run(lambda: made.server.ready(model))
    yield made
    made.close()


def post(body: bytes, *, more: bytes = b"") -> bytes:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    return head % len(body) + more + b"\r\n" + body


def answers(raw: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """The next `count` answers on a connection."""
    with raw.makefile("rb") as stream:
        out = []
        for _ in range(count):
            status = int(stream.readline().split()[1])
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            out.append((status, stream.read(length)))
        return out


class Held:
    """A model whose reasons wait until they are let go."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.let_go = threading.Semaphore(0), threading.Event()
        real = model.contributions

        def contributions(matrix: Any) -> Any:
            self.begun.release()
            assert self.let_go.wait(20)
            return real(matrix)

        monkeypatch.setattr(model, "contributions", contributions)


EXPLAINED = json.dumps({"instances": [ROW], "explain": True}).encode()


def test_a_score_is_answered_while_reasons_are_being_computed(
    running: Running, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(model, monkeypatch)
    with running.connect() as asking, running.connect() as waiting:
        asking.sendall(post(EXPLAINED))
        waiting.sendall(post(EXPLAINED))
        assert held.begun.acquire(timeout=10)
        assert running.call()[0] == 200
        large = json.dumps({"instances": [[0.123456789] * WIDTH] * 2_000}).encode()
        assert running.call(large)[0] == 200
        assert running.call(b"", "/ping")[0] == 200
        assert not held.begun.acquire(blocking=False), "reasons are computed one at a time"
        held.let_go.set()
        for connection in (asking, waiting):
            ((status, body),) = answers(connection, 1)
            assert status == 200
            assert len(json.loads(body)["contributions"][0]) == WIDTH


def test_no_more_than_a_bounded_number_waits_for_reasons(
    running: Running, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(model, monkeypatch)
    connections = [running.connect() for _ in range(MAX_EXPLAINING)]
    for connection in connections:
        connection.sendall(post(EXPLAINED))
    deadline = time.monotonic() + 10
    while running.server._explaining < MAX_EXPLAINING and time.monotonic() < deadline:
        time.sleep(0.01)
    status, _, body = running.call(EXPLAINED)
    held.let_go.set()
    assert (status, json.loads(body)["error"][:17]) == (503, "Too many requests")
    assert [answers(connection, 1)[0][0] for connection in connections] == [200] * MAX_EXPLAINING
    for connection in connections:
        connection.close()


def test_a_drain_answers_what_is_under_way_and_accepts_nothing_more(
    running: Running, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(model, monkeypatch)
    with running.connect() as asking, running.connect() as idle:
        asking.sendall(post(EXPLAINED))
        assert held.begun.acquire(timeout=10)
        draining = running.drain(20)
        assert idle.recv(100) == b"", "an idle connection ends at once"
        assert not draining.done()
        held.let_go.set()
        ((status, body),) = answers(asking, 1)
        assert status == 200
        assert json.loads(body)["contributions"]
        assert asking.recv(1) == b""
        draining.result(20)
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_before_the_model_is_loaded_everything_is_503(model: Model) -> None:
    made = Running()
    try:
        assert made.call(b"", "/ping")[0] == 503
        assert made.call()[0] == 503
        made.run(lambda: made.server.ready(model))
        assert made.call(b"", "/ping")[0] == 200
    finally:
        made.close()


def test_requests_sent_ahead_are_answered_in_order_on_one_connection(running: Running) -> None:
    rows = [{"instances": [[float(i), None, 1.0]]} for i in range(50)]
    with running.connect() as raw:
        raw.sendall(b"".join(post(json.dumps(row).encode()) for row in rows))
        got = [json.loads(body)["scores"] for _, body in answers(raw, len(rows))]
    assert got == [json.loads(running.call(json.dumps(row).encode())[2])["scores"] for row in rows]


def test_a_request_in_pieces_is_put_together(running: Running) -> None:
    with running.connect() as raw:
        for byte in post(BODY):
            raw.sendall(bytes([byte]))
        assert answers(raw, 1)[0][0] == 200


def test_a_client_that_expects_100_continue_gets_it_before_its_body(running: Running) -> None:
    with running.connect() as raw:
        raw.sendall(post(BODY, more=b"Expect: 100-continue\r\n")[: -len(BODY)])
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(BODY)
        assert answers(raw, 1)[0][0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /ping HTTP/2.0\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nName : x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: +3\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\n\r\n", 411),
        (b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 411),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"GET /" + b"x" * 20_000, 431),
    ],
)
def test_what_is_no_request_is_refused_and_its_connection_ends(running: Running, sent: bytes, status: int) -> None:
    with running.connect() as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        ((got, body),) = answers(raw, 1)
        assert got == status
        assert json.loads(body)["error"].endswith(".")
        assert raw.recv(1) == b""
    assert running.call()[0] == 200


def test_whoever_is_too_slow_is_given_up(running: Running) -> None:
    now = time.monotonic()
    with running.connect() as partial, running.connect() as idle:
        partial.sendall(post(BODY)[:-5])
        deadline = now + 10
        while len(running.server._connections) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # the piece has arrived

        def sweep(seconds: float) -> None:
            for connection in tuple(running.server._connections):
                connection.sweep(time.monotonic() + seconds)

        running.run(lambda: sweep(http_protocol.ARRIVAL_SECONDS - 5))
        running.run(lambda: sweep(http_protocol.ARRIVAL_SECONDS + 1))
        assert answers(partial, 1)[0][0] == 408
        running.run(lambda: sweep(http_protocol.IDLE_SECONDS + 1))
        assert idle.recv(1) == b""


def test_without_a_free_descriptor_clients_wait_and_are_served_when_there_is_one(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted:
        """The listening socket while no descriptor is left."""

        def __init__(self, real: socket.socket) -> None:
            self.real, self.tried = real, 0

        def fileno(self) -> int:
            return self.real.fileno()

        def accept(self) -> Any:
            self.tried += 1
            raise OSError(24, "Too many open files")

    real = running.server._listening
    exhausted = Exhausted(real)
    monkeypatch.setattr(running.server, "_listening", exhausted)
    with running.connect() as raw:
        raw.sendall(post(BODY))
        deadline = time.monotonic() + 10
        while not exhausted.tried and time.monotonic() < deadline:
            time.sleep(0.01)
        monkeypatch.setattr(running.server, "_listening", real)
        assert answers(raw, 1)[0][0] == 200
    assert exhausted.tried <= 2


def test_http_1_0_and_connection_close_end_the_connection_after_the_answer(running: Running) -> None:
    for sent in (
        post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(BODY, more=b"Connection: close\r\n"),
    ):
        with running.connect() as raw:
            raw.sendall(sent)
            assert answers(raw, 1)[0][0] == 200
            assert raw.recv(1) == b""


def test_a_fault_of_the_model_is_a_500_and_the_server_goes_on(
    running: Running, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(model, "score", lambda matrix: 1 / 0)
        status, _, body = running.call()
        assert (status, json.loads(body)) == (500, {"error": "The model failed on this request."})
    assert running.call()[0] == 200


def test_every_format_in_gives_the_same_scores_and_every_format_out_says_the_version(running: Running) -> None:
    rows = [[0.5, None, 2.0], [1.0, -1.0, 0.25]]
    bodies = {
        "application/json": json.dumps({"instances": rows}).encode(),
        "text/csv": b'0.5,,2\r\n1e0,-1.0,"0.25"\n',
        "application/jsonlines": b'[0.5, NaN, 2.0]\n\n{"features": [1, -1, 0.25]}\n',
    }
    expected = running.server.model.score(np.array([[0.5, np.nan, 2], [1, -1, 0.25]], dtype=np.float32)).tolist()
    for kind, body in bodies.items():
        status, headers, answer = running.call(body, Content_Type=kind)
        assert (status, headers["content-type"]) == (200, "application/json")
        said = "model_version=v3;features_version=1;engine=onnxruntime"
        assert headers["x-amzn-sagemaker-custom-attributes"] == said
        document = json.loads(answer)
        assert document["scores"] == expected
        assert (document["model_version"], document["engine"], document["contributions"]) == ("v3", ONNX, None)
        table = running.call(body, Content_Type=kind, Accept="text/csv")[2].decode()
        assert [line.split(",") for line in table.splitlines()] == [[repr(s), "v3"] for s in expected]
        status, headers, answer = running.call(body, Content_Type=kind, Accept="application/x-ndjson, */*")
        lines = [json.loads(line) for line in answer.decode().splitlines()]
        assert [(line["score"], line["model_version"]) for line in lines] == [(s, "v3") for s in expected]
        assert headers["content-type"] == "application/jsonlines"
    assert running.call(b"[1]", Content_Type="application/jsonlines")[1]["x-amzn-sagemaker-custom-attributes"] == said


def test_reasons_come_as_json_lines_too_and_not_as_csv(running: Running) -> None:
    whole = json.loads(running.call(EXPLAINED)[2])["contributions"]
    status, _, body = running.call(EXPLAINED, Accept="application/jsonlines")
    assert (status, json.loads(body)["contributions"]) == (200, whole[0])
    assert running.call(EXPLAINED, Accept="text/csv")[0] == 406
    assert running.call(BODY, Accept="image/png")[0] == 406


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("application/json", b'{"instances": [[true, 1.5, 2]]}', "Every feature must be a number or null."),
        ("application/json", b'{"instances": [[null, "1", 2]]}', "Every feature must be a number or null."),
        ("application/json", b'{"instances": ["123"]}', "Every row must be a list"),
        ("application/json", b'{"describe": true, "explain": true}', "The body must be"),
        ("text/csv", b"1,2,1_0", "Every cell of the CSV must be a number"),
        ("text/csv", b"1,2,3\n\n4,5,6", "Every row must be a list"),
        ("application/jsonlines", b"[1,2,3]\n[1,2", "Line 2 is not JSON."),
        ("application/jsonlines", b'[1,2,3]\n{"a": 1}', "Line 2 must be a list of numbers"),
        ("application/jsonlines", b"[1,2,3]\n[1,2]", "Every row must be a list of equally many"),
        ("application/jsonlines", b"\n", "There are no rows to score."),
        ("application/jsonlines", b"[1,2,-Infinity]", "A feature is infinite or too large"),
        ("application/jsonlines", b"[1,2]", "Each row must have 3 features, got 2."),
    ],
)
def test_rows_that_are_none_are_refused_in_every_format(
    running: Running, kind: str, body: bytes, sentence: str
) -> None:
    status, _, answer = running.call(body, Content_Type=kind)
    assert status == 400
    assert json.loads(answer)["error"].startswith(sentence)


def test_the_model_tells_its_features_when_it_is_asked(running: Running) -> None:
    status, _, body = running.call(b'{"describe": true}')
    assert status == 200
    told = json.loads(body)
    assert (told["features"], told["features_version"], told["model_version"]) == (["a", "b", "c"], "1", "v3")
    assert told["scores"] == []


def matrix() -> Any:
    rows = np.random.default_rng(5).normal(size=(200, WIDTH)).astype(np.float32)
    rows[::7, 1] = np.nan
    return rows


def test_an_artifact_from_before_onnx_and_calibration_is_served_by_its_booster(tmp_path: Path) -> None:
    old = Model(artifact(tmp_path, onnx=False), version="v1")
    assert old.engine == BOOSTER
    np.testing.assert_allclose(old.score(matrix()), boosted().inplace_predict(matrix()), atol=1e-7)
    assert old.answer(Batch(matrix(), True)).engine == "xgboost"


def test_without_the_runtime_the_booster_serves_and_the_answer_says_so(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = artifact(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    plain = Model(folder, version="v3")
    assert plain.engine == BOOSTER
    assert "onnxruntime is not installed in this container; the booster serves." in caplog.text
    np.testing.assert_allclose(plain.score(matrix()), model.score(matrix()), atol=1e-5)


def test_calibration_changes_the_scores_and_never_their_order(tmp_path: Path, model: Model) -> None:
    folder = artifact(tmp_path, calibration={"kind": "logistic", "slope": 0.8, "intercept": -2.0})
    calibrated = Model(folder, version="v3")
    raw, scores = model.score(matrix()), calibrated.score(matrix())
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-(0.8 * np.log(raw / (1 - raw)) - 2.0))), rtol=1e-9)
    assert np.array_equal(np.argsort(raw, kind="stable"), np.argsort(scores, kind="stable"))
    # Contributions stay log-odds of the score that is answered: with one constant they add up to it, row by row.
    terms = calibrated.contributions(matrix()).sum(axis=1)
    rest = np.log(scores / (1 - scores)) - terms
    np.testing.assert_allclose(rest, rest[0], atol=1e-4)


def test_the_highest_scores_keep_their_order_where_float32_would_lose_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    odds = np.linspace(15.0, 17.0, 9).astype(np.float32)
    monkeypatch.setattr(model, "_log_odds", lambda matrix: odds)
    assert (np.diff(model.score(np.zeros((9, WIDTH), dtype=np.float32))) > 0).all()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "model.onnx").write_bytes(b"\x00garbage"), "model.onnx cannot be read"),
        (lambda f: onnx_packaging.export_onnx(boosted(2), f, matrix()), "are of different models"),
        (
            lambda f: (f / "metadata.json").write_text('{"features": ["a"], "features_version": "1"}'),
            "takes 3 features",
        ),
        (lambda f: artifact(f, calibration={"kind": "isotonic"}), "a kind that this server does not know"),
        (lambda f: artifact(f, calibration={"kind": "logistic", "slope": -1, "intercept": 0}), "positive slope"),
    ],
)
def test_a_damaged_artifact_does_not_serve(damage: Callable[[Path], Any], sentence: str, tmp_path: Path) -> None:
    folder = artifact(tmp_path)
    damage(folder)
    with pytest.raises(BrokenModel, match=sentence):
        Model(folder, version="v3")


def test_another_width_is_refused_by_the_model_itself(model: Model) -> None:
    with pytest.raises(BadRequest, match="Each row must have 3 features, got 4"):
        model.score(np.zeros((1, 4), dtype=np.float32))


def test_a_serving_process_that_is_killed_is_replaced_and_none_outlives_the_first(tmp_path: Path) -> None:
    base = tmp_path / "ml"
    artifact(base / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    env |= {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "FRAUD_DESK_MODEL_VERSION": "v3"}
    process = subprocess.Popen([sys.executable, str(base / "model/code/inference.py")], env=env)
    try:
        (first,) = wait_for(lambda: helpers_of(process.pid))
        wait_for(lambda: serves(port))
        os.kill(first, signal.SIGKILL)
        (second,) = wait_for(lambda: [pid for pid in helpers_of(process.pid) if pid != first])
        assert serves(port)
        process.kill()  # the first: its helper notices and ends by itself
        process.wait(10)
        wait_for(lambda: not Path(f"/proc/{second}").exists())
    finally:
        process.kill()
        process.wait(10)


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def helpers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def serves(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/invocations", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status == 200 and json.loads(response.read())["model_version"] == "v3"
    except OSError:
        return False
    finally:
        connection.close()
