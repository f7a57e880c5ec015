"""Where the time from the front door to the stored score goes: the scorer's own code on a database of its own.

Intake, change stream, features from the entities' state, the endpoint and the commit are the product's, wired as the
scorer wires them; only who calls them is this program, which reads the clock in between. The database beside the
desk's is removed afterwards.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, pairwise
from typing import Any
from uuid import uuid4

from bench.report import Figure, figure, median, percentile
from services import bootstrap_workers
from services.adapters.mongo import schema
from services.adapters.mongo.client import connect
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.scoring_feed import MongoScoringFeed
from services.features import DEMO, event_from_document
from services.intake import Intake
from services.scoring import Scoring
from workers.scorer import BATCH, Scorer

DATABASE = "bench_front_door"
PARTS = ("submit", "change stream", "features", "endpoint", "store")
LIMIT_MS = 25.0
OURS = "bench-"  # how the ids of transactions made here begin
_FIELDS = ("amount_minor", "currency", "exponent", "customer_id", "customer", "card", "merchant", "terminal_id",
           "channel", "entry_mode", "device")  # fmt: skip
# What of an alert another customer does again, and how many times dearer: habits of shops and devices wear off.
_BOUGHT = ("currency", "exponent", "merchant", "terminal_id", "channel", "entry_mode", "device")
_DEARER = 8


def samples(desk: Any, count: int) -> list[dict[str, Any]]:
    """The latest `count` scored transactions of as many customers, newest first: traffic as it comes."""
    latest = _latest(desk, {"score.value": {"$gte": 0}}, count)
    assert len(latest) == count, "a ready desk has scored transactions of many customers"
    return latest


def suspicious(desk: Any, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The customers of `samples` paying, dearer, for what the desk's latest alerts were: a share becomes alerts."""
    alerts = _latest(desk, {"alert": {"$exists": True}}, len(samples))
    assert alerts, "a ready desk has alerts"
    out = []
    for sample, alert in zip(samples, cycle(alerts), strict=False):
        bought = {key: alert.get(key) for key in _BOUGHT}
        out.append(sample | bought | {"amount_minor": _DEARER * alert["amount_minor"]})
    return out


def _latest(desk: Any, which: dict[str, Any], count: int) -> list[dict[str, Any]]:
    latest: dict[str, dict[str, Any]] = {}
    traffic = which | {"_id": {"$not": {"$regex": f"^{OURS}"}}}
    for found in desk["transactions"].find(traffic).sort("event_time", -1).limit(20 * count):
        latest.setdefault(found["customer_id"], found)
    return list(latest.values())[:count]


def like(sample: dict[str, Any], identifier: str, at: datetime) -> dict[str, Any]:
    """A new transaction as the front door takes one: the sample's parties and amount, now."""
    held = {key: sample[key] for key in _FIELDS if sample.get(key) is not None}
    return held | {"transaction_id": identifier, "event_time": at.isoformat()}


def measure(settings: Any, desk: Any, samples: list[dict[str, Any]], count: int) -> list[Figure]:
    """p50 and p99 of each part and of the whole, over `count` transactions like `samples` in turn, one at a time."""
    db = connect(replace(settings, database=DATABASE))
    os.environ["FRAUD_DESK_DATABASE"] = DATABASE  # the scorer's own wiring reads it
    try:
        db.client.drop_database(DATABASE)
        schema.ensure(db)
        _copy(desk, db, samples)
        times = _run(db, samples, count)
    finally:
        os.environ["FRAUD_DESK_DATABASE"] = settings.database
        db.client.drop_database(DATABASE)
        db.client.close()
    whole = [sum(one) for one in zip(*times.values(), strict=True)]
    p99 = percentile(whole, 0.99)
    out = [
        figure(
            "submit to stored score, one process, p99", p99, "ms", peer="p50", peer_value=median(whole),
            goal=f"<= {LIMIT_MS:g} ms", holds=p99 <= LIMIT_MS,
        )
    ]  # fmt: skip
    for part, values in times.items():
        out.append(
            figure(f"  of that {part}, p99", percentile(values, 0.99), "ms", peer="p50", peer_value=median(values))
        )
    return out


def _copy(desk: Any, db: Any, samples: list[dict[str, Any]]) -> None:
    """The states the samples' entities have on the desk, grown as they are, and the thresholds."""
    keys = {key for sample in samples for key in DEMO.entity_keys(event_from_document(DEMO, sample))}
    wanted: dict[str, dict[str, Any]] = {"entities": {"_id": {"$in": list(keys)}}, "thresholds": {}}
    for name, which in wanted.items():
        held = list(desk[name].find(which))
        if held:
            db[name].insert_many(held)


def _run(db: Any, samples: list[dict[str, Any]], count: int) -> dict[str, list[float]]:
    intake, (feed, entities, scoring, reporter) = Intake(MongoIntakeStore(db)), bootstrap_workers.scorer()
    clock = _Clock(scoring)
    scorer = Scorer(feed, entities, scoring, reporter)
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    feed.open()
    try:
        for number in range(count + 10):
            record = like(samples[number % len(samples)], f"{OURS}{uuid4().hex[:12]}", datetime.now(UTC))
            took = _one(intake, feed, scorer, clock, record)
            if number >= 10:
                for part, milliseconds in zip(PARTS, took, strict=True):
                    times[part].append(milliseconds)
    finally:
        feed.close()
    return times


def _one(intake: Intake, feed: MongoScoringFeed, scorer: Scorer, clock: _Clock, record: dict[str, Any]) -> list[float]:
    """Milliseconds of each part for one transaction, submitted from a thread of its own as by another process."""
    submitted = threading.Event()
    ends: dict[str, float] = {}

    def submit() -> None:
        result = intake.submit([record], received_at=datetime.now(UTC))
        assert result.accepted == 1, result.sentence
        ends["submit"] = time.perf_counter()
        submitted.set()

    begun = time.perf_counter()
    threading.Thread(target=submit).start()
    batch = feed.read(BATCH)
    while not batch.documents:
        batch = feed.read(BATCH)
    read = time.perf_counter()
    scorer.process(batch)
    stored = time.perf_counter()
    submitted.wait(10)
    # The event can be here before the insert's own answer is: then nothing was waited for.
    seen = min(ends["submit"], read)
    marks = [begun, seen, read, clock.begun, clock.ended, stored]
    return [(after - before) * 1e3 for before, after in pairwise(marks)]


class _Clock:
    """Reads the time before and after every question to the model."""

    def __init__(self, scoring: Scoring) -> None:
        self.begun = self.ended = 0.0
        assess = scoring.assess

        def timed(*arguments: Any, **named: Any) -> Any:
            self.begun = time.perf_counter()
            try:
                return assess(*arguments, **named)
            finally:
                self.ended = time.perf_counter()

        scoring.assess = timed  # type: ignore[method-assign]
