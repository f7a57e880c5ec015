"""Scores what arrives: features from the entities' state, one question to the model a batch, one commit a batch.

`python -m workers.scorer`, configured by the environment. Killed anywhere it repeats nothing and misses nothing, since
its place is committed with the work. When the model or the database does not answer it waits and tries the same batch
again: a transaction is scored late, never wrongly and never as zero.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from services.adapters.mongo.scored import alert_fields, scored_fields
from services.adapters.mongo.scoring_feed import FeedBatch, ScoredWrite, opened_event
from services.domain.states import Decision
from services.errors import Conflict, HistoryLost, InvalidData, Unavailable
from services.features import Event, LabelEvent, Plan, event_from_document, label_from_document, needs_transaction
from services.scoring import Assessment, Scoring
from services.worker_status import Reporter, WorkerState, utc_now
from workers import entry

logger = logging.getLogger(__name__)

# A batch is one call of the endpoint and one database transaction: large enough for throughput, small enough for both.
BATCH = 200
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0)
IDLE_SAVE_SECONDS = 10.0


class Feed(Protocol):
    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self, limit: int) -> FeedBatch: ...

    def commit(self, token: Mapping[str, Any], *, states: Mapping[str, Any], writes: Sequence[ScoredWrite]) -> int: ...


class Entities(Protocol):
    def load(self, keys: Sequence[str]) -> dict[str, Any]: ...

    def transactions(self, ids: Sequence[str]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch after features: what to score, and the entity states after all of its events.

    Imported history is not scored: it only adds to the states.
    """

    documents: list[dict[str, Any]]
    vectors: list[list[float]]
    states: dict[str, Any]


class Scorer:
    def __init__(self, feed: Feed, entities: Entities, scoring: Scoring, reporter: Reporter) -> None:
        self._feed, self._entities, self._scoring, self._reporter = feed, entities, scoring, reporter
        self._saved = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`. Raises HistoryLost (needs a person) and Conflict (another scorer took over)."""
        with closing(self._feed):
            self._work(stop)
        self._reporter.beat(WorkerState.STOPPED, force=True)

    def _work(self, stop: threading.Event) -> None:
        failures = 0
        opened = False
        batch: FeedBatch | None = None
        while not stop.is_set():
            try:
                if not opened:
                    self._feed.open()
                    opened, batch = True, None
                if batch is None:
                    batch = self._feed.read(BATCH)
                self.process(batch)
                batch, failures = None, 0
            except Unavailable as error:
                logger.warning("scoring waits: %s", error.message)
                if error.dependency == "MongoDB":
                    # The stream may be gone with the connection; reopening starts after the last commit.
                    opened = False
                self._reporter.beat(WorkerState.WAITING, error=f"{error.message} Transactions wait unscored.")
                stop.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1

    def process(self, batch: FeedBatch) -> None:
        """Score and commit one batch; an idle feed still saves its place now and then."""
        if not batch.documents:
            if batch.token and time.monotonic() - self._saved > IDLE_SAVE_SECONDS:
                self._feed.commit(batch.token, states={}, writes=())
                self._saved = time.monotonic()
            self._reporter.beat(lag_seconds=0.0)
            return
        prepared = self.prepare(batch)
        money = [(document["currency"], document["exponent"]) for document in prepared.documents]
        outcomes = self._assess(prepared.vectors, money, prepared.documents) if prepared.documents else []
        now = utc_now()
        writes = [
            _write(document, vector, outcome, now, self._scoring.plan)
            for document, vector, outcome in zip(prepared.documents, prepared.vectors, outcomes, strict=True)
        ]
        scored = self._feed.commit(batch.token, states=prepared.states, writes=writes)
        self._saved = time.monotonic()
        arrived = [document for collection, document in batch.documents if collection == "transactions"]
        newest = max((_came_in(document) for document in arrived), default=None)
        self._reporter.beat(
            counts={
                "scored": scored,
                "alerts": sum(1 for w in writes if w.alert_event),
                "failed": sum(1 for o in outcomes if isinstance(o, str)),
                "labels": len(batch.documents) - len(arrived),
                "history": len(arrived) - len(prepared.documents),
            },
            lag_seconds=max((now - newest).total_seconds(), 0.0) if newest else None,
        )

    def prepare(self, batch: FeedBatch) -> Prepared:
        """Features of the batch's transactions in commit order, labels observed in between."""
        plan, labelled = self._scoring.plan, self._labelled(batch)
        seen: list[Event | LabelEvent] = [
            label_from_document(plan, document, labelled.get(document["transaction_id"]))
            if collection == "labels"
            else event_from_document(plan, document)
            for collection, document in batch.documents
        ]
        keys = {key for item in seen for key in plan.entity_keys(item)}
        states: MutableMapping[str, Any] = self._entities.load(sorted(keys))
        for key in keys - states.keys():
            states[key] = plan.new_state(key)
        documents, readings = [], []
        for item, (_, document) in zip(seen, batch.documents, strict=True):
            if isinstance(item, LabelEvent):
                plan.observe_label(item, states)
                continue
            if not document.get("history"):
                documents.append(document)
                readings.append(plan.read(item, states))
            plan.observe(item, states)
        return Prepared(documents, plan.vectors(readings), dict(states))

    def _labelled(self, batch: FeedBatch) -> Mapping[str, Any]:
        """The transactions of the batch's labels, where a label does not name every entity that learns from it."""
        ids = [document["transaction_id"] for collection, document in batch.documents if collection == "labels"]
        return self._entities.transactions(ids) if ids and needs_transaction(self._scoring.plan) else {}

    def _assess(
        self, vectors: list[list[float]], money: list[tuple[str, int]], documents: list[dict[str, Any]]
    ) -> list[Assessment | str]:
        """An assessment a row, or the sentence why the model refused that row."""
        try:
            return list(self._scoring.assess(vectors, money=money, transactions=documents))
        except InvalidData as error:
            if len(vectors) == 1:
                return [error.message]
            # One poisoned row spoils the batch: ask row by row, so that it spoils only itself.
            rows = zip(vectors, money, documents, strict=True)
            return [outcome for vector, amount, of in rows for outcome in self._assess([vector], [amount], [of])]


def _came_in(document: dict[str, Any]) -> datetime:
    """When it was put into the database: imported history counts as received when it happened."""
    came: datetime = document["imported"]["at"] if document.get("history") else document["received_at"]
    return came


def _write(
    document: dict[str, Any], vector: Sequence[float], outcome: Assessment | str, now: datetime, plan: Plan
) -> ScoredWrite:
    identifier = document["_id"]
    if isinstance(outcome, str):
        failure = {"failed_at": now, "error": f"Not scored (the model refused it): {outcome}", "attempts": 1}
        return ScoredWrite(identifier, {"scoring": failure}, None)
    changes = scored_fields(vector, outcome, scored_at=now, plan=plan)
    if outcome.decision is Decision.APPROVE:
        return ScoredWrite(identifier, changes, None)
    changes["alert"] = alert_fields(outcome.value, document["amount_minor"], opened_at=now)
    event = opened_event(identifier, now, score=outcome.value, model_version=outcome.thresholds.model_version)
    return ScoredWrite(identifier, changes, event)


def main() -> int:
    from services import bootstrap_workers

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    feed, entities, scoring, reporter = bootstrap_workers.scorer()
    reporter.beat(WorkerState.STARTING, force=True)
    gc.collect()
    gc.freeze()  # what was loaded stays: no collection looks through it while a transaction waits
    try:
        Scorer(feed, entities, scoring, reporter).run(stop)
    except (HistoryLost, Conflict) as error:
        logger.error("scorer stops: %s", error.message)
        reporter.beat(WorkerState.FAILED, error=error.message, force=True)
        return 1
    return 0


if __name__ == "__main__":
    entry.run(main)
