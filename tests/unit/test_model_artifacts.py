"""Loading an artifact: engines, calibration, what is damaged, and the processes that serve it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import inference, onnx_packaging
from model.loaded_model import BOOSTER, BrokenModel, Model
from model.row_formats import BadRequest, Batch
from tests.unit.model_serving import BODY, WIDTH, artifact, boosted


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(artifact(tmp_path_factory.mktemp("artifact")), version="v3")


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


def cut(file: Path, share: float = 0.6) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "model.onnx").write_bytes(b"\x00garbage"), "model.onnx cannot be read"),
        (lambda f: cut(f / "model.onnx"), "model.onnx cannot be read"),
        (lambda f: onnx_packaging.export_onnx(boosted(2), f, matrix()), "are of different models"),
        (lambda f: cut(f / "model.ubj"), "model.ubj cannot be read"),
        (lambda f: (f / "model.ubj").unlink(), "has no model.ubj"),
        (lambda f: (f / "metadata.json").unlink(), "has no metadata.json"),
        (lambda f: (f / "metadata.json").write_text('{"features": ["a", '), "metadata.json is not JSON"),
        (lambda f: (f / "metadata.json").write_text('["a"]'), "does not name the features"),
        (lambda f: (f / "metadata.json").write_text('{"features_version": "1"}'), "does not name the features"),
        (
            lambda f: (f / "metadata.json").write_text('{"features": ["a"], "features_version": "1"}'),
            "takes 3 features and metadata.json names 1",
        ),
        (lambda f: artifact(f, calibration={"kind": "isotonic"}), "a kind that this server does not know"),
        (lambda f: artifact(f, calibration={"kind": "logistic", "slope": -1, "intercept": 0}), "positive slope"),
        (lambda f: artifact(f, calibration={"kind": "logistic", "slope": 1}), "finite slope and intercept"),
    ],
)
def test_a_damaged_artifact_does_not_serve_and_the_log_says_why_in_a_sentence(
    damage: Callable[[Path], Any], sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = artifact(tmp_path / "model")
    damage(folder)
    with pytest.raises(BrokenModel, match=sentence):
        Model(folder, version="v3")
    assert inference.serve(tmp_path, 0) == 1  # a container that ends is not put behind an endpoint
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("The model cannot be loaded: ")
    assert sentence in said


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
