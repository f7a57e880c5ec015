"""MongoDB -> S3: events a second of `workers.stream` beside the bare change stream and dlt, and the lag of the lake.

The same changes for everybody: transactions inserted and then scored. The limit is a program that reads the change
stream with pymongo and does nothing with it; beside it one that does not even decode the documents. They run one after
the other, in rounds; figures are medians. dlt, which has no change stream, copies the collection to Parquet in S3.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson.timestamp import Timestamp

from bench.faults import servers
from bench.report import Figure, figure, median, percentile
from bench.stream_load import Steady, fill
from services.adapters.iceberg import IcebergLake
from services.adapters.mongo import client, schema
from services.lake_schema import TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC
from services.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TRANSACTIONS = int(os.environ.get("BENCH_STREAM_TRANSACTIONS", "60000"))
ROUNDS = 3
RATE, LAG_SECONDS = 500, 60
OF_LIMIT, OF_DLT, LAG_GOAL_SECONDS = 0.7, 3.0, 90.0


@dataclass(frozen=True, slots=True)
class Run:
    """One process over all events."""

    events: int
    seconds: float
    peak_mib: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def run() -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-stream-"))
    try:
        with servers.running(folder) as there:
            return [*_throughput(there, folder), *_lag(there, folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(there: servers.Servers, folder: Path, database: str | None = None) -> dict[str, str]:
    """An empty desk as it is delivered: flushes as by default. `database` to use another desk's."""
    installation = servers.install(there, folder)
    environment = dict(installation.environment(f"http://127.0.0.1:{there.s3_port}"))
    for name in ("STREAM_FLUSH_SECONDS", "STREAM_FLUSH_EVENTS", "CURATOR_SECONDS"):
        del environment[f"FRAUD_DESK_{name}"]
    return environment | ({"FRAUD_DESK_DATABASE": database} if database else {})


def _throughput(there: servers.Servers, folder: Path) -> list[Figure]:
    environment = _environment(there, folder)
    db = client.connect(Settings.from_environment(environment), timeout_seconds=20.0)
    try:
        schema.ensure(db)
        start: Timestamp = db.client.admin.command("ping")["operationTime"]
        events = fill(db, TRANSACTIONS)
        runs: dict[str, list[Run]] = {"raw": [], "plain": [], "ours": []}
        for _ in range(ROUNDS):
            runs["raw"].append(_peer("raw", sys.executable, environment, events, start))
            runs["ours"].append(_stream(_environment(there, folder, db.name), db, events, start))
            runs["plain"].append(_peer("plain", sys.executable, environment, events, start))
        python = os.environ.get("BENCH_DLT_PYTHON", sys.executable)
        dlt = (
            _peer("dlt", python, environment | {"DLT_DIR": str(folder / "dlt")}, events, start)
            if _has_dlt(python)
            else None
        )
        return _figures(runs, dlt)
    finally:
        db.client.close()


def _figures(runs: Mapping[str, list[Run]], dlt: Run | None) -> list[Figure]:
    rates = {name: median([one.rate for one in ones]) for name, ones in runs.items()}
    peaks = {name: max(one.peak_mib for one in ones) for name, ones in runs.items()}
    ours = rates["ours"]
    found = [
        figure(
            "stream, MongoDB to S3", ours, "/s", peer="change stream drained by pymongo", peer_value=rates["plain"],
            goal=f">= {OF_LIMIT} of it", holds=ours >= OF_LIMIT * rates["plain"],
        ),
        figure(
            "stream, MongoDB to S3", ours, "/s", peer="the same, documents not decoded", peer_value=rates["raw"],
        ),
        figure("stream, peak memory", peaks["ours"], "MiB", peer="drained by pymongo", peer_value=peaks["plain"]),
    ]  # fmt: skip
    if dlt is None:
        absent = "dlt is not installed: see bench/requirements-dlt.txt"
        return [*found, figure("stream against dlt", ours, "/s", peer=absent, peer_value=None)]
    return [
        *found,
        figure(
            "stream, MongoDB to S3", ours, "/s", peer="dlt, collection to Parquet", peer_value=dlt.rate,
            goal=f">= {OF_DLT:g}x", holds=ours >= OF_DLT * dlt.rate,
        ),
        figure("stream, peak memory", peaks["ours"], "MiB", peer="dlt", peer_value=dlt.peak_mib),
    ]  # fmt: skip


def _has_dlt(python: str) -> bool:
    return subprocess.run([python, "-c", "import dlt"], capture_output=True, check=False).returncode == 0


def _peer(kind: str, python: str, environment: Mapping[str, str], events: int, start: Timestamp) -> Run:
    command = [python, str(ROOT / "bench" / "stream_peers.py"), kind, str(events), str(start.time), str(start.inc)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{kind} failed: {done.stderr[-1500:]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def _stream(environment: Mapping[str, str], db: client.Db, events: int, start: Timestamp) -> Run:
    """From the moment the stream claims its place until the last event's place is committed."""
    db["positions"].replace_one({"_id": "stream"}, {"fence": 1, "started_at": start, "offsets": {}}, upsert=True)
    with _worker("stream", environment) as process:
        begun = 0.0
        while True:
            place = db["positions"].find_one({"_id": "stream"}) or {}
            begun = begun or (time.perf_counter() if place["fence"] > 1 else 0.0)
            if sum(place["offsets"].values()) >= events:
                return Run(events, time.perf_counter() - begun, _peak_mib(process.pid))
            if process.poll() is not None:
                raise RuntimeError("the stream ended")
            time.sleep(0.02)


@contextmanager
def _worker(name: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"workers.{name}"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _lag(there: servers.Servers, folder: Path) -> list[Figure]:
    """Seconds from a change in MongoDB until a reader of the lake has it, each second of the load being one sample."""
    environment = _environment(there, folder)
    settings = Settings.from_environment(environment)
    db = client.connect(settings, timeout_seconds=20.0)
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_")})
    lake = IcebergLake(settings)
    try:
        schema.ensure(db)
        load = Steady(db, RATE, LAG_SECONDS)
        with _worker("stream", environment) as stream, _worker("curator", environment) as curator:
            while db["workers"].count_documents({"state": "running"}) < 2:
                time.sleep(0.1)
            lags = _watch(load, lake)
            peaks = {"stream": _peak_mib(stream.pid), "curator": _peak_mib(curator.pid)}
    finally:
        lake.close()
        db.client.close()
    goal, p95 = f"<= {LAG_GOAL_SECONDS:g} s", percentile(lags, 0.95)
    return [
        figure(
            f"lag of the lake at {RATE} transactions/s p95", p95, "s", peer=f"{load.sent:,} sent, each scored once",
            peer_value=None, goal=goal, holds=p95 <= LAG_GOAL_SECONDS,
        ),
        *(
            figure(f"{name}, peak memory at that rate", peak, "MiB", peer="", peer_value=None)
            for name, peak in peaks.items()
        ),
    ]  # fmt: skip


def _watch(load: Steady, lake: IcebergLake) -> list[float]:
    begun = datetime.now(UTC).replace(microsecond=0)
    load.start()
    lags: list[float] = []
    second, last = begun + timedelta(seconds=1), None
    # The newest second is complete only when a later change is there.
    while load.is_alive() or (last is not None and second + timedelta(seconds=2) <= last):
        if load.is_alive():
            last = datetime.now(UTC)
        seen, now = _current_to(lake), datetime.now(UTC)
        while seen is not None and second < seen:
            lags.append((now - second).total_seconds())
            second += timedelta(seconds=1)
        if last is not None and (now - last).total_seconds() > 2 * LAG_GOAL_SECONDS:
            raise TimeoutError("the lake does not catch up")
        time.sleep(0.2)
    return lags


def _current_to(lake: IcebergLake) -> datetime | None:
    """The time of the newest change that readers of the lake have."""
    state: Any = lake.state(TRANSACTIONS_TABLE.name)
    told = state.position.get(TRANSACTIONS_TOPIC, {}).get("cluster_time") if state else None
    return datetime.fromisoformat(told) if told else None
