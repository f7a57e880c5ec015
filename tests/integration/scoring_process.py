"""A process of screens that scores a file, to be killed: `python -m tests.integration.scoring_process FILE`.

The model is arithmetic, so that a test can say what every row must get; database, bucket and everything else are real.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from services.access import Actor, Role
from services.adapters.mongo.client import connect
from services.adapters.mongo.entities import MongoEntityStore
from services.adapters.mongo.scoring_runs import MongoScoringRuns
from services.adapters.s3 import ObjectStore
from services.domain.thresholds import Thresholds
from services.endpoint import EndpointScores
from services.live_scoring import LiveScoring
from services.scoring_runs import ScoringRuns
from services.scoring_runs_files import RunFiles
from services.scoring_runs_rows import OwnRows
from services.settings import Settings
from services.worker_status import utc_now

ANALYST = Actor("s-1", "Ada Lovelace", Role.ANALYST)
BATCH = 100


def score_of(amount_minor: float) -> float:
    return (int(amount_minor) % 1000) / 1000


class Arithmetic:
    """The score is the amount's last three digits; every call takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def score(self, rows: Sequence[Sequence[float]], explain: bool = False) -> EndpointScores:
        time.sleep(self.seconds)
        terms = tuple((1.0, *[0.0] * (len(row) - 1)) for row in rows) if explain else None
        return EndpointScores(tuple(score_of(row[0]) for row in rows), terms, "v1", "1", 1.0)

    def for_version(self, model_version: str) -> Thresholds:
        return Thresholds(model_version, 0.9, 0.99)


def runs(
    settings: Settings, *, seconds: float = 0.0, clock: Callable[[], datetime] = utc_now
) -> tuple[ScoringRuns, Any]:
    """The service, and its database (to be closed)."""
    db, model = connect(settings), Arithmetic(seconds)
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=10.0)
    live = LiveScoring(model, MongoEntityStore(db), model)
    return ScoringRuns(MongoScoringRuns(db), RunFiles(objects), live, OwnRows, clock=clock, batch_rows=BATCH), db


def main() -> None:
    service, _ = runs(Settings.from_environment(), seconds=0.02)
    path = Path(sys.argv[1])
    with path.open("rb") as file:
        run = service.start(file, path.name, actor=ANALYST)
    service.wait(run.run_id, 60.0)


if __name__ == "__main__":
    main()
