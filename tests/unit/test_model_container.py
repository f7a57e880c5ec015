"""Training and serving as the real processes they are, with SAGEMAKER_BASE_DIR in a folder of the test."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from model import onnx_packaging

MODEL = Path(__file__).parents[2] / "model"
NAMES = ["amount_to_mean", "terminal_frauds_7d", "always", "noise"]


def table(rows: int, seed: int) -> pa.Table:
    r = np.random.default_rng(seed)
    ratio, frauds, noise = r.lognormal(0, 1, rows), r.poisson(0.3, rows).astype(float), r.normal(0, 1, rows)
    chance = 1 / (1 + np.exp(-(ratio + 1.5 * frauds - 5)))
    labels = (r.random(rows) < chance).astype(np.int8)
    ratio[r.random(rows) < 0.05] = np.nan
    columns = {"label": labels, "amount_to_mean": ratio, "terminal_frauds_7d": frauds, "always": np.ones(rows)}
    return pa.table({**columns, "noise": noise}).replace_schema_metadata({"features_version": "7"})


def job(base: Path, hyperparameters: dict[str, str], **channels: pa.Table) -> Path:
    for name, data in channels.items():
        folder = base / "input/data" / name
        folder.mkdir(parents=True)
        pq.write_table(data, folder / "part-00000.parquet")
    config = base / "input/config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps({name: {} for name in channels}))
    return base


def train(base: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    command = [sys.executable, "-W", "error", str(MODEL / "train.py")]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@dataclass(frozen=True)
class Trained:
    base: Path
    output: str
    metadata: dict[str, Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    hyperparameters = {"num_round": "60", "sagemaker_program": "train.py", "target_alert_rate": "0.05"}
    base = job(tmp_path_factory.mktemp("ml"), hyperparameters, train=table(6_000, 1), validation=table(3_000, 2))
    done = train(base)
    assert done.returncode == 0, done.stderr
    return Trained(base, done.stdout, json.loads((base / "model/metadata.json").read_text()))


@dataclass(frozen=True)
class Serving:
    port: int
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        payload = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": kind})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content)


@pytest.fixture(scope="module")
def serving(trained: Trained) -> Iterator[Serving]:
    with serve(trained.base) as process:
        yield process


class serve:
    """The server of a base folder as a process, from the code that training put beside the model."""

    def __init__(self, base: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "FRAUD_DESK_MODEL_VERSION": "v3",
        }
        self._serving = Serving(
            port, subprocess.Popen([sys.executable, str(base / "model/code/inference.py")], env=env)
        )

    def __enter__(self) -> Serving:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self._serving.call("GET", "/ping")[0] == 200:
                    return self._serving
            except OSError:
                pass
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError("the server did not answer in 30 s")

    def __exit__(self, *_: object) -> None:
        self._serving.process.terminate()
        self._serving.process.wait(15)


def test_training_writes_the_artifact_of_the_contract(trained: Trained) -> None:
    model = trained.base / "model"
    assert {"metadata.json", "model.onnx", "model.ubj"} <= {p.name for p in model.iterdir()}
    assert sorted(p.name for p in (model / "code").iterdir()) == sorted(onnx_packaging.SERVING_FILES)
    m = trained.metadata
    assert m["parity"]["max_abs_difference"] <= onnx_packaging.TOLERANCE
    assert m["parity"]["rows"] >= 1_500  # the measured half of the validation rows
    assert m["features"] == NAMES
    assert m["features_version"] == "7"
    assert m["training"]["rows"] == 6_000
    assert m["training"]["positives"] == sum(table(6_000, 1).column("label").to_pylist())
    assert 0 < m["suggested"]["review_threshold"] < m["suggested"]["decline_threshold"] < 1
    assert m["metrics"]["average_precision"] > 3 * m["metrics"]["prevalence"]
    # The threshold keeps to the rate on the earlier half of the validation rows; this is the later one.
    assert m["metrics"]["alert_rate"] == pytest.approx(0.05, abs=0.02)
    assert {"model_card.json", "model_card.md"} <= {p.name for p in model.iterdir()}
    assert not (trained.base / "output/failure").exists()


def test_metric_lines_have_the_form_the_job_definitions_read(trained: Trained) -> None:
    lines = trained.output.splitlines()
    assert "These features never change and cannot contribute: always." in lines
    rounds = [x for x in lines if re.fullmatch(r"\[\d+\] train-aucpr:[\d.]+ validation-aucpr:[\d.]+", x)]
    assert len(rounds) >= 10
    said = re.search(r"^metric:validation_average_precision=([0-9.]+);$", trained.output, re.MULTILINE)
    assert said
    assert float(said.group(1)) == pytest.approx(trained.metadata["metrics"]["average_precision"], rel=1e-4)


def test_served_scores_are_the_boosters(trained: Trained, serving: Serving) -> None:
    rows = [[3.5, 2.0, 1.0, 0.1], [0.2, 0.0, 1.0, -1.0], [None, 1.0, 1.0, 0.0]]
    status, answer = serving.call("POST", "/invocations", {"instances": rows, "explain": True})
    assert status == 200
    assert (answer["model_version"], answer["features_version"]) == ("v3", "7")
    booster = xgb.Booster(model_file=trained.base / "model/model.ubj")
    matrix = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float32)
    expected = booster.predict(xgb.DMatrix(matrix, feature_names=NAMES))
    calibrated = trained.metadata["calibration"]
    log_odds = calibrated["slope"] * np.log(expected / (1 - expected)) + calibrated["intercept"]
    np.testing.assert_allclose(answer["scores"], 1 / (1 + np.exp(-log_odds)), atol=1e-6)
    shares = booster.predict(xgb.DMatrix(matrix, feature_names=NAMES), pred_contribs=True)
    shares *= calibrated["slope"]
    np.testing.assert_allclose(answer["contributions"], shares[:, :-1], atol=1e-5)
    # Of those with a score from the middle one's on, the others have none; of none, there is no list.
    middle, most = sorted(answer["scores"])[1], max(answer["scores"])
    _, some = serving.call("POST", "/invocations", {"instances": rows, "explain_from": middle})
    assert some["scores"] == answer["scores"]
    wanted = [c if s >= middle else None for c, s in zip(answer["contributions"], answer["scores"], strict=True)]
    assert [c and pytest.approx(c, abs=1e-6) for c in some["contributions"]] == wanted
    _, none = serving.call("POST", "/invocations", {"instances": rows, "explain_from": most + 1e-9})
    assert (none["scores"], none["contributions"]) == (answer["scores"], None)
    # With the bias, contributions are the log-odds of the score.
    biased = np.sum(answer["contributions"], axis=1) + shares[:, -1] + calibrated["intercept"]
    np.testing.assert_allclose(biased, log_odds, atol=1e-4)
    assert answer["scores"][0] > answer["scores"][1]


def test_nan_null_and_an_empty_csv_cell_are_the_same_missing_value(serving: Serving) -> None:
    answers = [
        serving.call("POST", "/invocations", '{"instances": [[NaN, 1, 1, 0.5]]}'),
        serving.call("POST", "/invocations", '{"instances": [[null, 1, 1, 0.5]]}'),
        serving.call("POST", "/invocations", ",1,1,0.5\n", "text/csv; charset=utf-8"),
    ]
    assert [status for status, _ in answers] == [200] * 3
    assert answers[0][1] == answers[1][1] == answers[2][1]
    assert answers[0][1]["contributions"] is None


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        ("{", "application/json", "The body is not JSON."),
        ("[1, 2]", "application/json", "The body must be"),
        ('{"instances": []}', "application/json", "There are no rows to score."),
        ('{"instances": [1, 2]}', "application/json", "Every row must be a list"),
        ('{"instances": [[1, 2, 3, 4], [1]]}', "application/json", "Every row must be a list"),
        ('{"instances": [[1, 2, 3]]}', "application/json", "Each row must have 4 features, got 3."),
        ('{"instances": [[]]}', "application/json", "Each row must have 4 features, got 0."),
        ('{"instances": [["1", 2, 3, 4]]}', "application/json", "Every feature must be a number or null."),
        ('{"instances": [[{}, null, 3, 4]]}', "application/json", "Every feature must be a number or null."),
        ('{"instances": [[true, false, true, true]]}', "application/json", "Every feature must be a number or null."),
        ('{"instances": [[Infinity, 2, 3, 4]]}', "application/json", "A feature is infinite or too large"),
        ('{"instances": [[1e300, 2, 3, 4]]}', "application/json", "A feature is infinite or too large"),
        ('{"instances": [[1, 2, 3, 1' + "0" * 400 + "]]}", "application/json", "A feature is infinite or too large"),
        ('{"instances": [[1, 2, 3, 4]], "explain": 1}', "application/json", "'explain' must be true or false."),
        ('{"instances": [[1, 2, 3, 4]], "explain_from": "0.5"}', "application/json", "'explain_from' must be a score"),
        ("label,a,b,c", "text/csv", "Every cell of the CSV must be a number"),
        ("inf,1,1,1", "text/csv", "A feature is infinite or too large"),
        ("", "text/csv", "There are no rows to score."),
        (b"\xff\xfe", "application/json", "The body is not UTF-8."),
        ("x", "application/x-npy", "The content type must be"),
    ],
)
def test_a_bad_request_gets_a_sentence_and_the_server_goes_on(
    serving: Serving, body: str | bytes, kind: str, sentence: str
) -> None:
    status, answer = serving.call("POST", "/invocations", body, kind)
    assert status == 400
    assert answer["error"].startswith(sentence)
    assert serving.call("GET", "/ping")[0] == 200


def test_unknown_paths_and_missing_lengths_are_refused(serving: Serving) -> None:
    assert serving.call("GET", "/elsewhere")[0] == 404
    assert serving.call("POST", "/elsewhere", {"instances": [[1, 2, 3, 4]]})[0] == 404
    with socket.create_connection(("127.0.0.1", serving.port), timeout=5) as raw:
        raw.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 411 ")
    with socket.create_connection(("127.0.0.1", serving.port), timeout=5) as raw:
        raw.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_one_row_on_a_kept_connection_is_answered_within_milliseconds(serving: Serving) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=5)
    body, took = json.dumps({"instances": [[1.0, 0.0, 1.0, 0.2]]}), []
    for _ in range(200):
        began = time.perf_counter()
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
    connection.close()
    # About 0.6 ms; a connection without TCP_NODELAY shows as 40 ms. The bound leaves room for a busy machine.
    assert sorted(took)[100] < 0.015


def test_sigterm_ends_the_server_with_success(trained: Trained) -> None:
    with serve(trained.base) as serving:
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(10) == 0


def test_a_folder_without_a_model_is_a_sentence_and_a_failure(tmp_path: Path) -> None:
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), "SAGEMAKER_BIND_TO_PORT": "0"}
    done = subprocess.run(
        [sys.executable, str(MODEL / "inference.py")], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The model cannot be loaded: ")


def changed(**columns: Any) -> pa.Table:
    data = table(200, 3)
    for name, value in columns.items():
        data = data.set_column(data.column_names.index(name), name, pa.array([value] * len(data)))
    return data


def unlabelled() -> pa.Table:
    data = table(200, 3)
    labels = data.column("label").to_pylist()
    return data.set_column(0, "label", pa.array([None, *labels[1:]], pa.float64()))


@pytest.mark.parametrize(
    ("hyperparameters", "channels", "sentence"),
    [
        ({}, {"train": table(200, 3)}, "The job has no channel 'validation'."),
        ({}, {"train": table(0, 3)}, "The channel 'train' has no rows."),
        ({}, {"train": changed(label=0)}, "The channel 'train' has only genuine transactions."),
        ({}, {"train": changed(label=1)}, "The channel 'train' has only frauds."),
        ({}, {"train": changed(label=2)}, "The labels of the channel 'train' must be 0 or 1."),
        ({}, {"train": unlabelled()}, "The channel 'train' has 1 rows without a label."),
        ({}, {"train": changed(noise="x")}, "The channel 'train' has a column that is not numeric: noise"),
        ({}, {"train": changed(noise=float("inf"))}, "The feature 'noise' of the channel 'train' holds an infinite"),
        (
            {},
            {"train": changed(amount_to_mean=float("nan"), terminal_frauds_7d=1.0, noise=0.5)},
            "Every feature is constant in the channel 'train'",
        ),
        (
            {},
            {"train": table(200, 3).drop_columns(["label"])},
            "The channel 'train' must have the column 'label' first",
        ),
        (
            {},
            {"train": table(200, 3), "validation": table(200, 4).drop_columns(["noise"])},
            "The channels 'train' and 'validation' do not have the same features",
        ),
        ({"depth": "5"}, {"train": table(200, 3)}, "The hyperparameter 'depth' is not known; known are"),
        ({"max_depth": "deep"}, {"train": table(200, 3)}, "The hyperparameter max_depth must be a whole number"),
        ({"num_round": "0"}, {"train": table(200, 3)}, "The hyperparameter num_round must be at least 1"),
        ({"target_alert_rate": "2"}, {"train": table(200, 3)}, "The hyperparameter target_alert_rate must lie between"),
    ],
)
def test_what_cannot_be_learned_from_is_said_in_one_sentence(
    hyperparameters: dict[str, str],
    channels: dict[str, pa.Table],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from model.train import main

    if "has no channel" not in sentence:
        channels = {"validation": table(200, 4), **channels}
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job(tmp_path, hyperparameters, **channels)))
    assert main() == 1
    failure = (tmp_path / "output/failure").read_text()
    assert failure.startswith(sentence)
    assert "\n" not in failure
    assert not (tmp_path / "model").exists()


def test_a_failure_of_the_process_is_its_exit_status(tmp_path: Path) -> None:
    done = train(job(tmp_path, {}, train=table(0, 1), validation=table(10, 1)))
    assert done.returncode == 1
    assert (tmp_path / "output/failure").read_text() == "The channel 'train' has no rows."
    assert "Traceback" not in done.stderr


def test_small_sets_are_tried_both_ways_and_an_asked_method_is_taken(trained: Trained, tmp_path: Path) -> None:
    assert "tried on the last quarter of the training rows" in trained.output
    base = job(tmp_path, {"tree_method": "hist", "num_round": "5"}, train=table(500, 1), validation=table(500, 2))
    assert "tree method hist" in train(base).stdout


def test_the_framework_hooks_answer_as_the_server_does(
    trained: Trained, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model import inference

    monkeypatch.setenv("FRAUD_DESK_MODEL_VERSION", "v3")
    model = inference.model_fn(str(trained.base / "model"))
    body = json.dumps({"instances": [[2.0, 1.0, 1.0, 0.3]], "explain": True})
    answer = inference.output_fn(inference.predict_fn(inference.input_fn(body, "application/json"), model))
    assert json.loads(answer) == serving.call("POST", "/invocations", body)[1]
