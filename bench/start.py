"""Cold start (empty state folder to usable desk) and warm start (the same folder again).

Limits measured in the same run: for the cold start, the bare work nobody can avoid (a database that takes the same
documents without an index, and the bare fit); for the warm start, the three bare servers coming up.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.desk import ROOT, Desk, clean_environment, free_port
from bench.report import Figure, figure

COLD_GOAL_S = 90.0
WARM_GOAL_S = 10.0
HISTORY = 125_000


def run() -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-start-"))
    try:
        bare_servers, bare_cold = _bare(folder / "bare")
        cold_page, cold = _once(folder / "state")
        _, warm = _once(folder / "state")
        return [
            figure("cold: first progress page", cold_page, "s", peer="bare servers", peer_value=bare_servers),
            figure(
                "cold: usable desk with live traffic",
                cold,
                "s",
                peer="bare servers + insert + fit",
                peer_value=bare_cold,
                goal=f"<= {COLD_GOAL_S:.0f} s",
                holds=cold <= COLD_GOAL_S,
            ),
            figure(
                "warm: usable desk, all state kept",
                warm,
                "s",
                peer="bare servers",
                peer_value=bare_servers,
                goal=f"<= {WARM_GOAL_S:.0f} s",
                holds=warm <= WARM_GOAL_S,
            ),
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _once(state: Path) -> tuple[float, float]:
    """(seconds to the first answer of the web server, seconds to a usable desk); the desk is stopped again."""
    desk = Desk.start(state)
    try:
        return desk.wait_answering(), desk.wait_ready()
    finally:
        desk.stop()


def _bare(folder: Path) -> tuple[float, float]:
    """Seconds until mongod, the S3 server and a bare Python are up; and those plus bare insert and fit."""
    from pymongo import MongoClient

    from embedded.mongod import find_mongod
    from embedded.s3_server import find_rclone
    from embedded.simulator.history import generate

    until = datetime.now(UTC).replace(microsecond=0)
    made = generate(transactions=HISTORY, seed=7, until=until)
    documents = made.documents(0, len(made))
    folder.mkdir(parents=True)
    port = free_port()
    begun = time.monotonic()
    command = [str(find_mongod()), "--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1"]
    process = subprocess.Popen([*command, "--logpath", str(folder / "log")], stdout=subprocess.DEVNULL)
    try:
        subprocess.run([str(find_rclone()), "version"], check=True, capture_output=True)
        subprocess.run([sys.executable, "-c", "import streamlit"], check=True, env=clean_environment(), cwd=ROOT)
        client: MongoClient = MongoClient(port=port, serverSelectionTimeoutMS=30_000)
        client.admin.command("ping")
        servers = time.monotonic() - begun
        begun = time.monotonic()
        for start in range(0, len(documents), 2000):
            client["bare"]["transactions"].insert_many(documents[start : start + 2000])
        _fit()
        return servers, servers + time.monotonic() - begun
    finally:
        process.terminate()
        process.wait(20)


def _fit() -> None:
    import xgboost

    rng = np.random.default_rng(7)
    matrix = rng.random((70_000, 40), dtype=np.float32)
    labels = (rng.random(70_000) < 0.01).astype(np.float32)
    xgboost.train({"max_depth": 5, "objective": "binary:logistic"}, xgboost.DMatrix(matrix, labels), 150)
