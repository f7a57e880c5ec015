"""One transaction: the model alone, the endpoint over HTTP, and from the front door to the stored score.

First the container alone, beside MLflow's and BentoML's servers (bench/serving.py); then a whole desk. Beside each
figure of the desk, in the same run, its limit: for the endpoint the model alone and a bare HTTP round trip to the same
server; for the front door a bare insert, change-stream event and update in the same database. The front door is
measured twice: with transactions like those that arrive, each of another customer, and with what the desk alerted on
lately, by the same customers and dearer, of which those count that became alerts: stored with their reasons.
"""

from __future__ import annotations

import gc
import io
import os
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from bench import front_door_parts, serving
from bench.desk import Desk
from bench.report import Figure, figure, median, percentile
from model.loaded_model import Model
from model.row_formats import Batch

SINGLE, MODEL = 2_000, 20_000
MODEL_MS, ENDPOINT_MS, FRONT_DOOR_MS = serving.MODEL_GOAL_MS, serving.HTTP_GOAL_MS, 25.0
FRONT_DOOR = 300


def run() -> list[Figure]:
    """BENCH_STATE names a state folder to use; without it a new desk is set up first and removed afterwards."""
    kept = os.environ.get("BENCH_STATE")
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-score-"))
    try:
        found = serving.measure(folder / "container")
        desk = Desk.start(Path(kept) if kept else folder / "state")
        try:
            desk.wait_ready()
            os.environ.update(desk.stack_environment())
            return [*found, *_measure()]
        finally:
            desk.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure() -> list[Figure]:
    from services import bootstrap_workers
    from services.adapters import aws
    from services.adapters.mongo.client import connect
    from services.settings import Settings

    settings = Settings.from_environment()
    db = connect(settings)
    samples = front_door_parts.samples(db, FRONT_DOOR)
    sample = samples[0]
    vector = [float("nan") if v is None else float(v) for v in sample["features"].values()]
    served = _served(settings)
    row = Batch(np.asarray([vector], dtype=np.float32), False)
    gc.collect()
    gc.freeze()  # as the container does once it has loaded
    model = _times(lambda: served.answer(row), MODEL)
    endpoint = bootstrap_workers.endpoint(settings)
    http = _times(lambda: endpoint.score([vector]), SINGLE)
    health = os.environ["AWS_ENDPOINT_URL"]
    bare_http = _times(lambda: _get(health), SINGLE)
    function = aws.client("lambda", region=settings.region)
    stored, _ = _front_door(db, function, settings.intake_function, samples)
    _, alerts = _front_door(db, function, settings.intake_function, front_door_parts.suspicious(db, samples))
    assert alerts, "of payments that repeat what were alerts some become alerts"
    bare = _bare_round_trip(db)
    return [
        figure("the served model, one row p50", median(model), "ms", peer=served.engine, peer_value=None),
        _goal("the served model, one row p99", percentile(model, 0.99), served.engine, None, MODEL_MS),
        *_pair("endpoint by boto3, embedded server", http, "model only", model),
        *_pair("endpoint by boto3, embedded server", http, "bare HTTP to it", bare_http, limit=ENDPOINT_MS),
        *_pair("front door to stored score", stored, "insert, event, update", bare, limit=FRONT_DOOR_MS),
        figure(
            f"front door to a stored alert with its reasons, {len(alerts)} alerts, p99",
            percentile(alerts, 0.99),
            "ms",
            peer="p50",
            peer_value=median(alerts),
        ),
        *front_door_parts.measure(settings, db, samples, FRONT_DOOR),
    ]


def _goal(name: str, value: float, peer: str, peer_value: float | None, limit: float) -> Figure:
    holds = value <= limit
    return figure(name, value, "ms", peer=peer, peer_value=peer_value, goal=f"<= {limit:g} ms", holds=holds)


def _pair(name: str, ours: list[float], peer: str, theirs: list[float], limit: float | None = None) -> list[Figure]:
    """p50 and p99 of both; the limit is for our p99."""
    p99, of_peer = percentile(ours, 0.99), percentile(theirs, 0.99)
    tail = (
        figure(f"{name} p99", p99, "ms", peer=f"{peer} p99", peer_value=of_peer)
        if limit is None
        else _goal(f"{name} p99", p99, f"{peer} p99", of_peer, limit)
    )
    return [figure(f"{name} p50", median(ours), "ms", peer=f"{peer} p50", peer_value=median(theirs)), tail]


def _times(call: Callable[[], object], count: int) -> list[float]:
    for _ in range(20):
        call()
    out = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        out.append((time.perf_counter() - begun) * 1000)
    return out


def _get(url: str) -> None:
    try:
        urllib.request.urlopen(url, timeout=5).read()
    except urllib.error.HTTPError as refusal:  # it answers "what do you want": a full round trip all the same
        refusal.read()


def _served(settings: Any) -> Model:
    """The model that the endpoint serves, loaded from its artifact as the container loads it."""
    from services import bootstrap
    from services.adapters.s3 import ObjectStore

    services = bootstrap.build(settings)
    version = services.deployment.current().model_version
    assert version is not None, "a ready desk serves a model"
    uri = next(m.artifact_uri for m in services.models.candidates() if m.model_version == version)
    key = uri.removeprefix(f"s3://{settings.bucket}/")
    body, _ = ObjectStore(settings.bucket, region=settings.region).get(key)
    services.close()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(body)) as archive:
        archive.extractall(folder, filter="data")
        return Model(Path(folder), version=version)


def _front_door(db: Any, function: Any, name: str, samples: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Milliseconds from sending one transaction to the scored document being seen, one at a time: of all, and of those
    that became alerts. The transactions are like `samples`, in turn.
    """
    import orjson

    watching = [{"$match": {"operationType": "update", "updateDescription.updatedFields.score": {"$exists": True}}}]
    out: list[float] = []
    alerts: list[float] = []
    with db["transactions"].watch(watching, max_await_time_ms=5000) as changes:
        for number in range(FRONT_DOOR + 5):
            identifier = f"{front_door_parts.OURS}{uuid4().hex[:12]}"
            record = front_door_parts.like(samples[number % len(samples)], identifier, datetime.now(UTC))
            begun = time.perf_counter()
            reply = function.invoke(FunctionName=name, Payload=orjson.dumps({"transactions": [record]}))
            with reply["Payload"] as stream:
                said = stream.read()
            assert orjson.loads(said).get("statusCode") == 200, said
            while (change := changes.next())["documentKey"]["_id"] != identifier:
                pass
            if number >= 5:
                out.append((time.perf_counter() - begun) * 1000)
                if "alert" in change["updateDescription"]["updatedFields"]:
                    alerts.append(out[-1])
            del change
    return out, alerts


def _bare_round_trip(db: Any) -> list[float]:
    """The database's share: insert, see the change, update it, see that change."""
    collection = db["bench_round_trip"]
    collection.drop()
    out = []
    with collection.watch(max_await_time_ms=5000) as changes:
        for number in range(FRONT_DOOR + 5):
            begun = time.perf_counter()
            collection.insert_one({"_id": number, "amount": 1})
            changes.next()
            collection.update_one({"_id": number}, {"$set": {"score": 0.5}})
            changes.next()
            if number >= 5:
                out.append((time.perf_counter() - begun) * 1000)
    collection.drop()
    return out
