"""Raw objects -> Iceberg: rows a second, how the cost grows with the table, and what a small commit costs.

The same 50,000 events (25,000 new transactions and their scores) are folded into tables of 0.1, 1 and 3 million rows,
each by a process of its own, whose peak memory is reported. Beside it, before and after in the same process, the limit:
the same objects read, parsed by Arrow and written as one Parquet object, without knowing what is in the table and
without Iceberg. A second load labels 500 old transactions, spread over all days: each rewrites the file its row is in.
"""

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.report import Figure, figure

SIZES = (100_000, 1_000_000, 3_000_000)
NEW, PER_OBJECT, LABELS, DAYS = 25_000, 5_000, 500, 90
COMMITS, EACH = 20, 20
_START = datetime(2026, 3, 1, tzinfo=UTC)
_TOPIC = "fraud.transactions"


def run() -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-curate-"))
    try:
        with _s3(folder):
            return _measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _s3(folder: Path) -> Iterator[None]:
    """rclone's S3 server over a folder; the standard variables point to it."""
    (folder / "s3").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    access = {"AWS_ACCESS_KEY_ID": "AKIDFRAUDDESKBENCH", "AWS_SECRET_ACCESS_KEY": "fraud-desk-bench-secret"}
    os.environ.update(access, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}", AWS_REGION="eu-central-1")
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        os.environ[name] = "when_required"
    program = Path(sysconfig.get_path("scripts")) / "rclone"
    arguments = [str(program), "serve", "s3", str(folder / "s3"), "--addr", f"127.0.0.1:{port}"]
    arguments += ["--auth-key", ",".join(access.values()), "--config", os.devnull]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _measure(folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    spent: list[float] = []
    for size in SIZES:
        name = f"rows-{size}"
        _alone(_fill, folder, name, size)
        result = _alone(_fold, folder, name, size)
        spent.append(result["fold_cpu"])
        figures += _figures(result, f"{size / 1e6:g} M rows")
    growth, times = spent[-1] / spent[0], SIZES[-1] / SIZES[0]
    holds = growth <= 2
    name, goal = f"CPU of the same events, {times:g} x the rows", "<= 2"
    figures.append(figure(name, growth, "x", peer="", peer_value=None, goal=goal, holds=holds))
    return figures


def _figures(result: dict[str, float], table: str) -> list[Figure]:
    limit = "read, parsed, one Parquet written"
    near = result["fold_cpu"] <= 5 * result["limit_cpu"]
    small = result["peak_mb"] <= 1_200
    return [
        figure(
            f"events folded into {table}",
            2 * NEW / result["fold_seconds"],
            "/s",
            peer=limit,
            peer_value=2 * NEW / result["limit_seconds"],
        ),
        figure(
            f"CPU of {2 * NEW:,} events, {table}",
            result["fold_cpu"],
            "s",
            peer=limit,
            peer_value=result["limit_cpu"],
            goal="<= 5 x the limit",
            holds=near,
        ),
        figure(f"{LABELS} labels on old days, {table}", result["labels_seconds"], "s", peer="", peer_value=None),
        figure(f"first commit after a start, {table}", result["first_seconds"], "s", peer="", peer_value=None),
        figure(f"CPU of a commit of {EACH}, {table}", result["commit_ms"], "ms", peer="", peer_value=None),
        figure(
            f"peak memory, {table}", result["peak_mb"], "MB", peer="", peer_value=None, goal="<= 1,200", holds=small
        ),
    ]


def _alone(work: Any, *arguments: Any) -> Any:
    """In a process of its own: its memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _settings(folder: Path, name: str) -> Any:
    from services.settings import Settings

    return Settings.from_environment(
        {
            "MONGODB_URI": "mongodb://127.0.0.1:1/",
            "FRAUD_DESK_DATABASE": "bench",
            "FRAUD_DESK_BUCKET": name,
            "FRAUD_DESK_CATALOG": f"sqlite:///{folder / name}.db",
            "AWS_REGION": "eu-central-1",
        }
    )


def _fill(folder: Path, name: str, size: int) -> None:
    """A table of `size` rows, and the objects of the limit."""
    from services.adapters import aws
    from services.adapters.iceberg import IcebergLake
    from services.adapters.s3 import ObjectStore

    settings = _settings(folder, name)
    aws.client("s3", region=settings.region).create_bucket(Bucket=name)
    lake, objects = IcebergLake(settings, patient=True), ObjectStore(name, region=settings.region, read_seconds=10.0)
    lake.ensure()
    pieces: Any = (([], _rows(day, size // DAYS)) for day in range(DAYS))
    lake.replace("transactions", pieces, {}, expected_snapshot=None)
    lake.close()
    for first, lines in _objects():
        objects.put(_key("limit", first), gzip.compress(b"\n".join(lines) + b"\n", 1))


def _limit(objects: Any) -> None:
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    tables = []
    for info in objects.list("limit/"):
        text = gzip.decompress(objects.get(info.key)[0])
        tables.append(pj.read_json(pa.BufferReader(text)))
    whole = pa.concat_tables(tables, promote_options="permissive").flatten().flatten()
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink, compression="zstd")
    objects.put("limit.parquet", sink.getvalue().to_pybytes())


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU. On a machine that others use too, only the second says what work costs."""
    begun, before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - before


def _rows(day: int, count: int) -> pa.Table:
    """One day of the table, with the columns that a transaction of the demo has."""
    from services.lake_schema import TIME, TRANSACTIONS

    numbers = np.random.default_rng(day)
    at = int((_START + timedelta(days=day)).timestamp() * 1e6)
    text = {"currency": ["EUR"], "category": ["fuel", "travel", "food"], "channel": ["pos", "ecom"]}
    columns: dict[str, Any] = {
        "transaction_id": [f"t{day:03d}-{number:08d}" for number in range(count)],
        "event_time": pa.array(at + np.sort(numbers.integers(0, 86_400_000_000, count)), pa.int64()).cast(TIME),
        "amount_minor": numbers.integers(1, 500_000, count),
        "customer_id": [f"c{number}" for number in numbers.integers(0, 50_000, count)],
        "merchant_id": [f"m{number}" for number in numbers.integers(0, 5_000, count)],
        "score": numbers.random(count),
        "version": np.full(count, 2),
        "cluster_time": pa.array(np.full(count, at), pa.int64()).cast(TIME),
        "raw_offset": np.arange(count),
    }
    columns |= {name: np.array(values)[numbers.integers(0, len(values), count)] for name, values in text.items()}
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in TRANSACTIONS
    ]
    return pa.Table.from_arrays(arrays, schema=TRANSACTIONS)


def _document(key: str, at: datetime, rng: random.Random, **changes: Any) -> dict[str, Any]:
    from workers.stream_objects import iso

    return {
        "_id": key,
        "event_time": iso(at),
        "received_at": iso(at),
        "amount_minor": rng.randrange(500_000),
        "currency": "EUR",
        "customer_id": f"c{rng.randrange(50_000)}",
        "customer": {"home_country": "FR", "home": {"lon": 2.5, "lat": 48.5}, "segment": "retail"},
        "card": {"token": "tok_1234567890", "bin": "400000", "last4": "1111", "network": "visa"},
        "merchant": {"id": f"m{rng.randrange(5_000)}", "category": "fuel", "country": "FR"},
        "channel": "pos",
        "entry_mode": "chip",
        "version": 1,
    } | changes


def _objects() -> Iterator[tuple[int, list[bytes]]]:
    """The events of the measured load: a day's new transactions, each followed by its score."""
    rng = random.Random(1)
    lines: list[bytes] = []
    for number in range(NEW):
        at = _START + timedelta(days=DAYS, seconds=number)
        document = _document(f"new-{number:06d}", at, rng)
        lines.append(_line(document, 2 * number, "insert"))
        score = {"value": rng.random(), "decision": "approve", "review_threshold": 0.5, "model_version": "v1"}
        lines.append(_line(document | {"score": score, "version": 2}, 2 * number + 1, "update"))
        if len(lines) == PER_OBJECT:
            yield 2 * number + 2 - PER_OBJECT, lines
            lines = []


def _line(document: dict[str, Any], offset: int, operation: str) -> bytes:
    from workers.stream_objects import encode, iso

    moment = iso(_START + timedelta(days=DAYS, seconds=offset // 1000))
    return encode(operation, moment, document["_id"], document, offset)


def _key(root: str, first: int) -> str:
    return f"{root}/{_TOPIC}/year=2026/month=06/day=01/hour=00/{_TOPIC}+0+{first:010d}.json.gz"


def _fold(folder: Path, name: str, size: int) -> dict[str, float]:
    """Seconds of: a first small commit, the load, the labels; CPU of small commits; peak memory of all of it."""
    from services.adapters.iceberg import IcebergLake
    from services.adapters.s3 import ObjectStore
    from services.lake_schema import TRANSACTIONS_TABLE
    from workers.curator_topics import TopicFolder

    settings = _settings(folder, name)
    lake, objects = IcebergLake(settings, patient=True), ObjectStore(name, region=settings.region, read_seconds=10.0)
    topic = TopicFolder(lake, objects, _TOPIC, TRANSACTIONS_TABLE)
    rng = random.Random(2)
    base = 2 * NEW + 1000

    def put(lines: list[bytes], first: int) -> None:
        objects.put(_key("raw/topics", first), gzip.compress(b"\n".join(lines) + b"\n", 1))

    def fold() -> float:
        begun = time.perf_counter()
        while (done := topic.fold()) is not None and done.more:
            pass
        return time.perf_counter() - begun

    put([_line(_document("warm", _START + timedelta(days=DAYS), rng), 0, "insert")], 0)
    result = {"first_seconds": fold()}
    for first, lines in _objects():
        put(lines, first + 1)
    limits = [_timed(lambda: _limit(objects))]
    result["fold_seconds"], result["fold_cpu"] = _timed(fold)
    limits.append(_timed(lambda: _limit(objects)))
    result["limit_seconds"], result["limit_cpu"] = ((one + two) / 2 for one, two in zip(*limits, strict=True))
    old = [(rng.randrange(DAYS), rng.randrange(size // DAYS)) for _ in range(LABELS)]
    labels = [
        _document(f"t{day:03d}-{row:08d}", _START + timedelta(days=day, hours=9), rng, label={"value": "fraud"})
        for day, row in old
    ]
    put([_line(document, base + at, "update") for at, document in enumerate(labels)], base)
    result["labels_seconds"] = fold()
    small = _timed(lambda: _small_commits(put, fold, base + LABELS, rng))
    result["commit_ms"] = small[1] / COMMITS * 1000
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lake.close()
    return result


def _small_commits(
    put: Callable[[list[bytes], int], None], fold: Callable[[], float], base: int, rng: random.Random
) -> None:
    """What a quiet desk does all day: a few new transactions, a commit."""
    for number in range(COMMITS):
        first = base + number * EACH
        at = _START + timedelta(days=DAYS, seconds=NEW + number)
        put([_line(_document(f"small-{first + n}", at, rng), first + n, "insert") for n in range(EACH)], first)
        fold()
