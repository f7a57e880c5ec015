"""The container alone: the model in this process, one row over HTTP, and what it sustains beside MLflow and BentoML.

All servers hold the same booster, get the same bytes at the same path from the same client over as many connections,
and have as many processes: one a core.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xgboost

from bench.desk import free_port
from bench.report import Figure, figure, median, percentile
from model import onnx_packaging
from model.loaded_model import Model
from model.row_formats import Batch

ROOT = Path(__file__).resolve().parents[1]
TREES, DEPTH, ROWS = 300, 6, 20_000
CONNECTIONS = 8
SECONDS = float(os.environ.get("BENCH_SCORE_SECONDS", "5"))
ROUNDS = 3
SINGLE = 20_000
MODEL_GOAL_MS, HTTP_GOAL_MS, OF_PEERS = 0.1, 5.0, 3.0
_START_SECONDS = 90.0

Result = dict[str, float]


def measure(folder: Path) -> list[Figure]:
    """`folder` takes the model and the servers' files. BENCH_SERVING_PYTHON: the peers' interpreter."""
    base = folder / "ml"
    rows = _artifact(base / "model")
    workers = os.cpu_count() or 1
    body = json.dumps({"instances": [[round(float(value), 4) for value in rows[0]]]}).encode()
    found = _model_only(base / "model", rows)
    python = os.environ.get("BENCH_SERVING_PYTHON")
    kinds = ["ours", *(["mlflow", "bentoml"] if python else [])]
    results: dict[str, list[tuple[Result, Result]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            with _server(kind, python or sys.executable, base, folder, workers) as port:
                _wait_until_it_scores(port, body)
                _load(port, CONNECTIONS, 1.0, body)
                results[kind].append((_load(port, 1, SECONDS, body), _load(port, CONNECTIONS, SECONDS, body)))
    return [*found, *_figures(results, workers)]


def feature_count() -> int:
    from services.features import FEATURES

    return len(FEATURES)


def _artifact(folder: Path) -> np.ndarray:
    """A booster of 300 trees of depth 6 over as many features as the desk has, packaged as training packages one."""
    width = feature_count()
    r = np.random.default_rng(1)
    rows = r.normal(size=(ROWS, width)).astype(np.float32)
    odds = rows[:, 0] * 2 + rows[:, 1] * rows[:, 2] - 3
    labels = (r.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(int)
    settings = {"objective": "binary:logistic", "max_depth": DEPTH, "eta": 0.1, "base_score": 0.5}
    booster = xgboost.train(settings, xgboost.DMatrix(rows, label=labels), TREES)
    folder.mkdir(parents=True)
    booster.save_model(folder / "model.ubj")
    onnx_packaging.copy_serving_code(folder / "code")
    parity = onnx_packaging.export_onnx(booster, folder, rows[:2_000])
    names = [f"f{i}" for i in range(width)]
    (folder / "metadata.json").write_text(
        json.dumps({"features": names, "features_version": "bench", "parity": parity})
    )
    return rows


def _model_only(folder: Path, rows: np.ndarray) -> list[Figure]:
    model = Model(folder, version="bench")
    booster = xgboost.Booster(model_file=folder / "model.ubj")
    booster.set_param({"nthread": 1})
    singles = [Batch(np.ascontiguousarray(rows[i : i + 1]), False) for i in range(2_000)]
    ours, theirs = [], []
    for number in range(SINGLE):
        batch = singles[number % len(singles)]
        begun = time.perf_counter()
        model.answer(batch)
        ours.append((time.perf_counter() - begun) * 1e3)
        if number % 10 == 0:
            begun = time.perf_counter()
            booster.inplace_predict(batch.matrix, validate_features=False)
            theirs.append((time.perf_counter() - begun) * 1e3)
    what = f"model only, {TREES} trees, {rows.shape[1]} features"
    p99 = percentile(ours, 0.99)
    return [
        figure(f"{what}, p50", median(ours), "ms", peer="the booster itself", peer_value=median(theirs)),
        figure(
            f"{what}, p99", p99, "ms", peer="the booster itself", peer_value=percentile(theirs, 0.99),
            goal=f"<= {MODEL_GOAL_MS:g} ms", holds=p99 <= MODEL_GOAL_MS,
        ),
    ]  # fmt: skip


def _figures(results: dict[str, list[tuple[Result, Result]]], workers: int) -> list[Figure]:
    single = {kind: median([one["p99_ms"] for one, _ in runs]) for kind, runs in results.items()}
    rates = {kind: median([many["requests"] / many["seconds"] for _, many in runs]) for kind, runs in results.items()}
    tails = {kind: median([many["p99_ms"] for _, many in runs]) for kind, runs in results.items()}
    refused = sum(one["refused"] + many["refused"] for runs in results.values() for one, many in runs)
    client = max(many["client_share"] for _, many in results["ours"])
    load = f"{CONNECTIONS} connections, {workers} processes"
    out = [
        figure(
            "endpoint over HTTP, container's port, p99", single["ours"], "ms", peer="one connection", peer_value=None,
            goal=f"<= {HTTP_GOAL_MS:g} ms", holds=single["ours"] <= HTTP_GOAL_MS,
        ),
        figure("answers other than 200, all servers", refused, "", peer="is none", peer_value=None, holds=not refused),
        figure("the client's share of a core, ours", client, "", peer="near 1 it is the limit", peer_value=None),
    ]  # fmt: skip
    peers = [kind for kind in results if kind != "ours"]
    if not peers:
        return [
            *out,
            figure(
                f"transactions sustained, {load}", rates["ours"], "/s", peer_value=None,
                peer="MLflow and BentoML: set BENCH_SERVING_PYTHON (bench/requirements-serving.txt)",
            ),
        ]  # fmt: skip
    for kind in peers:
        out += [
            figure(
                f"transactions sustained, {load}", rates["ours"], "/s", peer=kind, peer_value=rates[kind],
                goal=f">= {OF_PEERS:g}x", holds=rates["ours"] >= OF_PEERS * rates[kind],
            ),
            figure(
                f"p99 under that load, {load}", tails["ours"], "ms", peer=kind, peer_value=tails[kind],
                goal="lower", holds=tails["ours"] < tails[kind],
            ),
            figure(
                "p99, one connection", single["ours"], "ms", peer=kind, peer_value=single[kind],
                goal="lower", holds=single["ours"] < single[kind],
            ),
        ]  # fmt: skip
    return out


def _load(port: int, connections: int, seconds: float, body: bytes) -> Result:
    command = [sys.executable, "-I", str(ROOT / "bench/http_load.py"), str(port), str(connections), str(seconds)]
    done = subprocess.run(command, input=body, capture_output=True, timeout=seconds + 60, check=True)
    result: Result = json.loads(done.stdout)
    return result


@contextmanager
def _server(kind: str, python: str, base: Path, folder: Path, workers: int) -> Iterator[int]:
    port = free_port()
    booster = str(base / "model/model.ubj")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if kind == "ours":
        command = [sys.executable, str(base / "model/code/inference.py")]
        environment |= {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
        environment |= {"SAGEMAKER_MODEL_SERVER_WORKERS": str(workers), "FRAUD_DESK_MODEL_VERSION": "bench"}
    else:
        command = [python, str(ROOT / "bench/serving_peers.py"), kind, booster, str(folder), str(port), str(workers)]
    with (folder / f"{kind}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield port
    finally:
        _end(process)


def _wait_until_it_scores(port: int, body: bytes) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        url = f"http://127.0.0.1:{port}/invocations"
        asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                answer.read()
            time.sleep(3.0)  # for all of its processes, not just the first
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(
        f"The server on port {port} did not score within {_START_SECONDS:.0f} s; its log is in the folder."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group: the peers start processes of their own."""
    for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.wait()
