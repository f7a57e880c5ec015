"""The first-start set-up, phase by phase.

What can overlap does: functions are installed while history is made, and the entities' state is brought up to the
first row to be scored while the stream and the curator carry the history to the lake.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from embedded.seed import functions, model, writing
from embedded.seed.marks import Marks, functions_fingerprint
from embedded.seed.replay import Replay
from embedded.seed.reporting import STEPS, Progress
from embedded.simulator.history import History, generate
from services import bootstrap, bootstrap_workers
from services.adapters.iceberg import IcebergLake
from services.adapters.mongo import schema
from services.adapters.mongo.entities import MongoThresholdStore
from services.errors import ServiceError, Unavailable
from services.scoring import Scoring
from services.settings import Settings

logger = logging.getLogger(__name__)

SCORED_DAYS = 60
LAKE_SECONDS = 300.0
_POLL_SECONDS = 0.2
_ATTEMPTS = 5
T = TypeVar("T")


class SetUpFailed(ServiceError):
    """The set-up cannot go on; running it again continues where it stopped."""


class SetUp:
    def __init__(self, settings: Settings, marks: Marks, *, history: int, seed: int) -> None:
        self._settings, self._marks, self._db = settings, marks, marks.db
        self._wanted = (history, seed)
        self._progress = Progress()
        self._services = bootstrap.build(settings)

    def run(self) -> None:
        """Do what is not done yet. Raises ServiceError with one sentence about what stopped it."""
        began = time.monotonic()
        with ThreadPoolExecutor(1, thread_name_prefix="seed-functions") as aside:
            self._progress.step("prepare")
            schema.ensure(self._db)
            installing = aside.submit(self._install_functions)
            if self._marks.done("all"):
                installing.result()
                self._finish_all("Already set up")
                return
            plan = self._marks.plan(history=self._wanted[0], seed=self._wanted[1])
            history = generate(transactions=plan.history, seed=plan.seed, until=plan.until)
            first = history.row_at(plan.until - timedelta(days=SCORED_DAYS))
            self._progress.done("prepare")
            self._phase("history", lambda: self._write_history(history, first))
            replay = Replay(self._db, history, first=first)
            self._progress.step("lake", "Building what is known of each customer")
            replay.warm_up()
            self._phase("lake", lambda: self._wait_for_lake(first))
            self._progress.done("lake")
            version = model.train(
                self._services.training, history.start, plan.until - timedelta(days=SCORED_DAYS), self._progress
            )
            self._progress.done("train", f"{version} is ready")
            model.deploy(self._services.deployment, version, self._progress)
            self._progress.done("deploy", f"{version} is in service")
            self._score(history, replay)
            self._phase("hand_over", lambda: self._hand_over(replay))
            self._progress.done("hand_over")
            installing.result()
        self._marks.finish("all", seconds=time.monotonic() - began)

    def _phase(self, name: str, work: Callable[[], None]) -> None:
        if self._marks.done(name):
            return
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        self._marks.finish(name, seconds=seconds)
        logger.info("seed.%s took %.1f s", name, seconds)

    def _install_functions(self) -> None:
        fingerprint = functions_fingerprint()
        if self._marks.detail("functions").get("fingerprint") == fingerprint:
            return
        began = time.monotonic()
        patiently(lambda: functions.install(self._settings))
        self._marks.finish("functions", seconds=time.monotonic() - began, fingerprint=fingerprint)

    def _write_history(self, history: History, last: int) -> None:
        def said(rows: int) -> None:
            self._progress.step("history", f"{rows:,} of {last:,} transactions", fraction=rows / last)

        said(0)
        writing.write_unscored(self._db, history, last, on_rows=said)
        self._progress.done("history", f"{last:,} transactions")

    def _wait_for_lake(self, expected: int) -> None:
        """Until the lake holds every transaction and every label written so far."""
        lake, labels = IcebergLake(self._settings, patient=True), self._db["labels"].count_documents({})
        deadline, started = time.monotonic() + LAKE_SECONDS, time.monotonic()
        while True:
            rows = 0
            try:
                rows = _rows(lake, "transactions")
                if rows >= expected and _rows(lake, "labels") >= labels:
                    return
                reason = f"{rows:,} of {expected:,} transactions"
            except Unavailable as error:
                reason = error.message
            if time.monotonic() > deadline:
                raise SetUpFailed(
                    f"The history did not reach the lake within {LAKE_SECONDS / 60:.0f} minutes ({reason}): look at "
                    "the logs of the stream and the curator, then start again; the set-up continues where it stopped."
                )
            self._progress.step("lake", reason, fraction=rows / expected)
            time.sleep(_POLL_SECONDS if time.monotonic() - started < 30 else 1.0)

    def _score(self, history: History, replay: Replay) -> None:
        """Repeated as a whole after a crash: state is only in memory, and what was written is found and left alone."""
        began, total = time.monotonic(), len(history)
        first = history.row_at(history.until - timedelta(days=SCORED_DAYS))

        def said(row: int) -> None:
            detail = f"{row - first:,} of {total - first:,} transactions"
            self._progress.step("score", detail, fraction=(row - first) / (total - first))

        said(first)
        scoring = Scoring(bootstrap_workers.endpoint(self._settings), MongoThresholdStore(self._db))
        outcome = replay.score(scoring, said)
        self._progress.done("score", f"{outcome.alerts:,} alerts, {outcome.open:,} still open")
        self._marks.finish(
            "score",
            seconds=time.monotonic() - began,
            scored=outcome.scored,
            alerts=outcome.alerts,
            open=outcome.open,
            labels=outcome.labels,
        )

    def _hand_over(self, replay: Replay) -> None:
        """The entities' state and the place in the database's history from which the scorer goes on."""
        self._progress.step("hand_over", "Saving what is known of each customer, terminal, merchant, and device")
        now = datetime.now(UTC)
        entities = [
            {"_id": key, "kind": key.partition(":")[0], "state": state, "updated_at": now}
            for key, state in replay.states.items()
        ]
        self._db["entities"].delete_many({})
        for begin in range(0, len(entities), writing.BATCH):
            writing.insert_new(self._db, "entities", entities[begin : begin + writing.BATCH])
        writing.insert_new(self._db, "simulator_truth", replay.truth())
        stamp = self._db.client.admin.command("ping")["operationTime"]
        self._db["positions"].update_one({"_id": "scorer"}, {"$set": {"start_at": stamp}}, upsert=True)

    def _finish_all(self, detail: str) -> None:
        for key in ("prepare", "history", "lake", "train", "deploy", "score", "hand_over"):
            self._progress.done(key, detail)


def set_up_empty(settings: Settings, marks: Marks) -> None:
    """What a desk with data of its own needs before the first import: collections, functions, the package group, and
    a place for the scorer, so that nothing imported while it is away is passed over. Repeatable.
    """
    began = time.monotonic()
    progress = Progress(steps=STEPS[:1])
    progress.step("prepare")
    schema.ensure(marks.db)
    patiently(lambda: functions.install(settings))
    marks.finish("functions", seconds=time.monotonic() - began, fingerprint=functions_fingerprint())
    stamp = marks.db.client.admin.command("ping")["operationTime"]
    marks.db["positions"].update_one({"_id": "scorer"}, {"$setOnInsert": {"start_at": stamp}}, upsert=True)
    progress.done("prepare")
    marks.finish("all", seconds=time.monotonic() - began)


def _rows(lake: IcebergLake, table: str) -> int:
    state = lake.state(table)
    return state.rows if state else 0


def patiently(work: Callable[[], T]) -> T:
    """Try again while a service that has just been started does not answer yet."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except Unavailable:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(0.5 * attempt)
    raise AssertionError("unreachable")
