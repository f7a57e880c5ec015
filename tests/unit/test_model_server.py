"""The container's server: connections, drain, and that whoever asks for reasons never holds up who asks for a score."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from model import http_protocol
from model.http_serving import MAX_EXPLAINING
from model.loaded_model import Model
from tests.unit.model_serving import BODY, EXPLAINED, ROW, WIDTH, Running, artifact, serving


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(artifact(tmp_path_factory.mktemp("artifact")), version="v3")


@pytest.fixture
def running(model: Model) -> Iterator[Running]:
    with serving(model) as made:
        yield made


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
    # Who asked for reasons beside the scores gets the scores.
    beside, _, scores = running.call(json.dumps({"instances": [ROW], "explain_from": 0.0}).encode())
    assert (beside, json.loads(scores)["contributions"], len(json.loads(scores)["scores"])) == (200, None, 1)
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
