"""A training job from its Parquet channels to the written model, against the bare fit on arrays already in memory.

The job is the process that the container runs, `python train.py`: start, read, bin, fit with early stopping, calibrate,
choose thresholds, evaluate, package as ONNX and compare, write. The bare fit is a process that has the training matrix
in memory and does QuantileDMatrix and xgb.train with the same parameters, threads and rounds, nothing else; only these
two calls are timed. Each runs twice, alternately, and the faster one counts. Peak memory is of the whole process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.report import Figure, figure

ROWS, FEATURES, LIMIT = 1_200_000, 40, 1.3
VALIDATION_SHARE = 0.25  # of the training rows, beside them
REPEATS = 2
TRAIN = Path(__file__).resolve().parents[1] / "model/train.py"
_BARE = """
import json, sys, time
import numpy as np, xgboost as xgb
matrix, labels = np.load(sys.argv[1] + "/matrix.npy"), np.load(sys.argv[1] + "/labels.npy")
told = json.loads(sys.argv[2])
parameters, bins = told["parameters"], told["parameters"].get("max_bin")
began = time.perf_counter()
if bins:
    data = xgb.QuantileDMatrix(matrix, label=labels, max_bin=bins, nthread=parameters["nthread"])
else:
    data = xgb.DMatrix(matrix, label=labels, nthread=parameters["nthread"])
xgb.train(parameters, data, num_boost_round=told["rounds"], verbose_eval=False)
print(time.perf_counter() - began)
"""


def run(rows: int = ROWS) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-train-"))
    try:
        prepare(folder, rows)
        return _measure(folder, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepare(folder: Path, rows: int) -> None:
    """The job's input folders, and the training part as arrays for the bare fit. Seeded."""
    config = folder / "job/input/config"
    config.mkdir(parents=True)
    # The product trains again on all rows only where that is quick; at a million rows it does not, and here never.
    (config / "hyperparameters.json").write_text('{"refit": "no"}')
    (config / "inputdataconfig.json").write_text('{"train": {}, "validation": {}}')
    for number, (channel, count) in enumerate((("train", rows), ("validation", int(rows * VALIDATION_SHARE)))):
        matrix, labels, amounts = _rows(count, seed=number + 1)
        path = folder / "job/input/data" / channel / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        columns: dict[str, Any] = {"label": labels.astype(np.int8), "__amount_minor": amounts}
        columns |= {f"feature_{place:02}": np.ascontiguousarray(matrix[:, place]) for place in range(FEATURES)}
        pq.write_table(pa.table(columns).replace_schema_metadata({"features_version": "1"}), path, compression="zstd")
        if channel == "train":
            np.save(folder / "matrix.npy", matrix)
            np.save(folder / "labels.npy", labels)


def _rows(count: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """About 1 % fraud; a quarter of the features are counts, some values missing, a few features matter together."""
    r = np.random.default_rng(seed)
    matrix = r.standard_normal((count, FEATURES), dtype=np.float32)
    matrix[:, ::4] = np.floor(np.exp(matrix[:, ::4]))
    odds = 1.2 * matrix[:, 1] * (matrix[:, 4] > 1) + 0.8 * matrix[:, 2] + 0.3 * matrix[:, 8] - 6.3
    odds += 0.6 * np.maximum(matrix[:, 3], 0) * matrix[:, 5]
    labels = (r.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    matrix[r.random(count) < 0.1, 9] = np.nan
    return matrix, labels, r.integers(100, 50_000, count)


def _measure(folder: Path, rows: int) -> list[Figure]:
    jobs, bares = [], []
    for _ in range(REPEATS):
        shutil.rmtree(folder / "job/model", ignore_errors=True)
        seconds, memory, said = _process([sys.executable, str(TRAIN)], SAGEMAKER_BASE_DIR=str(folder / "job"))
        jobs.append((seconds, memory))
        told = json.loads((folder / "job/model/metadata.json").read_text())["training"]
        rounds = len(re.findall(r"^\[\d+\] ", said, re.MULTILINE))
        asked = json.dumps({"parameters": told["parameters"] | {"seed": told["seeds"][0]}, "rounds": rounds})
        _, memory, said = _process([sys.executable, "-c", _BARE, str(folder), asked])
        bares.append((float(said), memory))
    (job, job_memory), (bare, bare_memory) = min(jobs), min(bares)
    name = f"{rows / 1e6:g} million rows, {FEATURES} features, {rounds} rounds"
    return [
        figure(
            f"training job, {name}", job, "s", peer="bare fit, same parameters", peer_value=bare,
            goal=f"<= {LIMIT:g}x", holds=job <= LIMIT * bare,
        ),
        figure("peak memory of the job", job_memory, "MB", peer="bare fit", peer_value=bare_memory),
    ]  # fmt: skip


def _process(command: list[str], **environment: str) -> tuple[float, float, str]:
    """(seconds, peak memory in MB, standard output) of a process; fails with what it said when it failed."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise RuntimeError(f"{command[1][:80]} failed: {said[-500:]}")
    return seconds, used.ru_maxrss / 1024, said
