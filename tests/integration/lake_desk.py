"""A lake of one test, what feeds it, and made-up raw events."""

from __future__ import annotations

import gzip
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from services.adapters.iceberg import IcebergLake
from services.adapters.lake_scan import LakeScan
from services.adapters.s3 import ObjectStore
from services.lake import Lake
from services.lake_engine import DuckDbEngine
from services.rates import Rates
from services.settings import Settings
from services.worker_status import Reporter, WorkerStatus
from workers.curator import Curator
from workers.stream_objects import iso, object_key

START = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = "fraud.transactions"


class Statuses:
    """Keeps the last status of a worker."""

    def __init__(self) -> None:
        self.last: WorkerStatus | None = None

    def put(self, status: WorkerStatus) -> None:
        self.last = status

    def get(self, name: str) -> WorkerStatus | None:
        return self.last

    def all(self) -> tuple[WorkerStatus, ...]:
        return (self.last,) if self.last else ()


class Desk:
    """One lake and what feeds it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tables = IcebergLake(settings, patient=True)
        self.tables.ensure()
        self.objects = ObjectStore(settings.bucket, region=settings.region)
        self.reader = IcebergLake(settings)
        self.lake = Lake(self.reader)
        self.statuses = Statuses()

    def curator(self, **options: Any) -> Curator:
        return Curator(self.tables, self.objects, Reporter("curator", self.statuses), **options)

    def fold(self) -> None:
        curator = self.curator()
        while curator.cycle():
            pass

    def put(self, lines: list[bytes], first: int, topic: str = TOPIC, at: datetime = START) -> str:
        key = object_key(topic, at, first)
        self.objects.put(key, gzip.compress(b"\n".join(lines) + b"\n"))
        return key

    def rates(self, **options: Any) -> Rates:
        return Rates(self.lake, DuckDbEngine(LakeScan(self.reader)), **options)

    def rows(self, snapshot_id: int | None = None) -> dict[str, dict[str, Any]]:
        rows = self.lake.read_transactions(snapshot_id).to_pylist()
        by_id = {row["transaction_id"]: row for row in rows}
        assert len(by_id) == len(rows)
        return by_id


def transaction(key: str, *, day: int = 0, **changes: Any) -> dict[str, Any]:
    at = START + timedelta(days=day, hours=len(key) % 24)
    return {"_id": key, "event_time": iso(at), "amount_minor": 1000, "currency": "EUR", "version": 1} | changes


def line(document: dict[str, Any], offset: int, *, operation: str = "insert", seconds: int = 0) -> bytes:
    record = {
        "operationType": operation,
        "clusterTime": iso(START + timedelta(seconds=seconds)),
        "documentKey": {"_id": document["_id"]},
        "fullDocument": None if operation == "delete" else document,
        "offset": offset,
    }
    return orjson.dumps(record)


def random_events(rng: random.Random, count: int) -> tuple[list[bytes], dict[str, dict[str, Any]]]:
    """A random history of inserts, updates and deletes, and the state it leads to."""
    lines: list[bytes] = []
    state: dict[str, dict[str, Any]] = {}
    for offset in range(count):
        known = sorted(state)
        kind = rng.choice(["insert", "insert", "update", "delete"]) if known else "insert"
        if kind == "insert":
            document = transaction(
                f"t{offset}",
                day=rng.randrange(6),
                amount_minor=rng.choice([5, 999, 1000, 25_000, 500_000]),
                channel=rng.choice(["pos", "ecom"]),
                merchant={"category": rng.choice(["fuel", "travel"]), "country": rng.choice(["FR", "DE"])},
            )
            state[document["_id"]] = document
        else:
            document = state.pop(rng.choice(known))
            if kind == "update":
                value = rng.choice(["fraud", "genuine", "inconclusive"])
                document = document | {"label": {"value": value}, "version": document["version"] + 1}
                document["alert"] = {"status": "closed"}
                if rng.random() < 0.3:  # its time is corrected, so that it belongs to another day
                    document["event_time"] = iso(START + timedelta(days=rng.randrange(6)))
                state[document["_id"]] = document
        lines.append(line(document, offset, operation=kind, seconds=offset))
    return lines, state
