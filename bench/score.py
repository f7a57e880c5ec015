"""One transaction: the model alone, the endpoint over HTTP, and from the front door to the stored score.

Beside each, in the same run, its limit: for the endpoint the model alone and a bare HTTP round trip to the same server;
for the front door a bare insert, change-stream event and update in the same database.
"""

from __future__ import annotations

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

from bench.desk import Desk
from bench.report import Figure, figure, median, percentile

SINGLE = 500
FRONT_DOOR = 120


def run() -> list[Figure]:
    """BENCH_STATE names a state folder to use; without it a new desk is set up first and removed afterwards."""
    kept = os.environ.get("BENCH_STATE")
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-score-"))
    desk = Desk.start(Path(kept) if kept else folder / "state")
    try:
        desk.wait_ready()
        os.environ.update(desk.stack_environment())
        return _measure()
    finally:
        desk.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _measure() -> list[Figure]:
    from services import bootstrap_workers
    from services.adapters import aws
    from services.adapters.mongo.client import connect
    from services.settings import Settings

    settings = Settings.from_environment()
    db = connect(settings)
    sample = db["transactions"].find_one({"score.value": {"$gte": 0}}, sort=[("event_time", -1)])
    assert sample is not None, "a ready desk has scored transactions"
    vector = [float("nan") if v is None else float(v) for v in sample["features"].values()]
    booster = _booster(settings)
    row = np.asarray([vector], dtype=np.float32)
    model = _times(lambda: booster.inplace_predict(row), SINGLE)
    endpoint = bootstrap_workers.endpoint(settings)
    http = _times(lambda: endpoint.score([vector]), SINGLE)
    health = os.environ["AWS_ENDPOINT_URL"]
    bare_http = _times(lambda: _get(health), SINGLE)
    function = aws.client("lambda", region=settings.region)
    stored = _front_door(db, function, settings.intake_function, sample)
    bare = _bare_round_trip(db)
    return [
        *(
            figure(f"model only, one row {label}", value, "ms", peer="is the limit of what follows", peer_value=None)
            for label, value in (("p50", median(model)), ("p99", percentile(model, 0.99)))
        ),
        *_pair("endpoint over HTTP", http, "bare HTTP to the same server", bare_http),
        *_pair("endpoint over HTTP", http, "model only", model),
        *_pair("front door to stored score", stored, "bare insert, change event, update", bare),
    ]


def _pair(name: str, ours: list[float], peer: str, theirs: list[float]) -> list[Figure]:
    return [
        figure(f"{name} {label}", take(ours), "ms", peer=f"{peer} {label}", peer_value=take(theirs))
        for label, take in (("p50", median), ("p99", lambda values: percentile(values, 0.99)))
    ]


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


def _booster(settings: Any) -> Any:
    import xgboost

    from services import bootstrap
    from services.adapters.s3 import ObjectStore

    services = bootstrap.build(settings)
    version = services.deployment.current().model_version
    uri = next(m.artifact_uri for m in services.models.candidates() if m.model_version == version)
    key = uri.removeprefix(f"s3://{settings.bucket}/")
    body, _ = ObjectStore(settings.bucket, region=settings.region).get(key)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        member = archive.extractfile("model.ubj")
        assert member is not None
        model = member.read()
    booster = xgboost.Booster()
    booster.load_model(bytearray(model))
    booster.set_param({"nthread": 1})  # as it is served: one row is too little work to share
    return booster


def _front_door(db: Any, function: Any, name: str, sample: dict[str, Any]) -> list[float]:
    """Milliseconds from sending one transaction to the scored document being seen, one at a time."""
    import orjson

    watching = [{"$match": {"operationType": "update", "updateDescription.updatedFields.score": {"$exists": True}}}]
    fields = ("amount_minor", "currency", "exponent", "customer_id", "customer", "card", "merchant", "terminal_id")
    base = {key: sample[key] for key in (*fields, "channel", "entry_mode", "device") if sample.get(key) is not None}
    out = []
    with db["transactions"].watch(watching, max_await_time_ms=5000) as changes:
        for number in range(FRONT_DOOR + 5):
            identifier = f"bench-{uuid4().hex[:12]}"
            record = base | {"transaction_id": identifier, "event_time": datetime.now(UTC).isoformat()}
            begun = time.perf_counter()
            reply = function.invoke(FunctionName=name, Payload=orjson.dumps({"transactions": [record]}))
            reply["Payload"].read()
            while (change := changes.next())["documentKey"]["_id"] != identifier:
                pass
            if number >= 5:
                out.append((time.perf_counter() - begun) * 1000)
            del change
    return out


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
