"""Scorers that kill themselves: a line `POINT ATTEMPT` on standard input, how that scorer ended on standard output.

Everything is imported once and each scorer is a fork, so that a kill costs the test a fraction of a second. The model
is arithmetic and says who scored: 0.9 from 100.00 on, 0.1 below, plus a thousandth for each attempt before.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from pymongo import monitoring

from services.adapters.mongo.client import connect
from services.adapters.mongo.entities import MongoEntityStore, MongoThresholdStore
from services.adapters.mongo.scoring_feed import MongoScoringFeed
from services.adapters.mongo.workers import MongoStatusStore
from services.endpoint import EndpointScores
from services.features import DEMO
from services.scoring import Scoring
from services.settings import Settings
from services.worker_status import Reporter
from workers.scorer import BATCH, Scorer

AMOUNT = DEMO.names.index("amount_minor")
ALERT_MINOR = 10_000
# Within one batch, in the order in which they are met; the last is after the database has committed.
POINTS = (
    "features are computed",
    "scores are answered",
    "reasons are answered",
    "update positions",
    "update transactions",
    "insert case_events",
    "update entities",
    "commitTransaction",
)
NOWHERE = "nowhere"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Death(monitoring.CommandListener):
    """Kills the process when the database has answered the command `point` ("command collection", or "command")."""

    def __init__(self, point: str) -> None:
        self._point, self.armed = point, False
        self._named: dict[int, str] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        collection = event.command.get(event.command_name)
        named = f"{event.command_name} {collection}" if isinstance(collection, str) else event.command_name
        self._named[event.request_id] = named

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if self._named.pop(event.request_id, None) == self._point and self.armed:
            die()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._named.pop(event.request_id, None)


class Model:
    def __init__(self, point: str, attempt: int) -> None:
        self._point, self._attempt = point, attempt

    def score(self, rows: Sequence[Sequence[float]], explain: bool = False) -> EndpointScores:
        reached = "reasons are answered" if explain else "scores are answered"
        if self._point in ("features are computed", reached):
            die()
        scores = tuple((0.9 if row[AMOUNT] >= ALERT_MINOR else 0.1) + self._attempt / 1000 for row in rows)
        terms = tuple(tuple(float(place == AMOUNT) for place in range(len(row))) for row in rows) if explain else None
        return EndpointScores(scores, terms, "v1", "1", 1.0)


def run(point: str, attempt: int) -> None:
    """Score until the point is reached; without one, until nothing waits."""
    death = Death(point)
    monitoring.register(death)
    db = connect(Settings.from_environment())
    feed, scoring = MongoScoringFeed(db), Scoring(Model(point, attempt), MongoThresholdStore(db))
    scorer = Scorer(feed, MongoEntityStore(db), scoring, Reporter("scorer", MongoStatusStore(db)))
    feed.open()
    if point == "open":
        return
    while point != NOWHERE or db["transactions"].find_one({"score": None}):
        batch = feed.read(BATCH)
        death.armed = bool(batch.documents)
        scorer.process(batch)


def main() -> None:
    for line in sys.stdin:
        point, _, attempt = line.strip().rpartition(" ")
        child = os.fork()
        if not child:
            status = 1
            try:
                run(point, int(attempt))
                status = 0
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
