"""The wiring of processes that need little: no lake, no tables, so that they start in a fraction of a second."""

from __future__ import annotations

from services.adapters.mongo.client import Db, connect
from services.adapters.mongo.entities import MongoEntityStore, MongoThresholdStore
from services.adapters.mongo.flows import MongoFlows
from services.adapters.mongo.scoring_feed import MongoScoringFeed
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.sagemaker_runtime import SageMakerRuntime
from services.domain.mapping import desk_mapping
from services.endpoint import Endpoint
from services.features import plan_of
from services.scoring import Scoring
from services.settings import Settings
from services.worker_status import Reporter

# Workers may wait longer for a busy database than a person in front of a screen.
WORKER_TIMEOUT_SECONDS = 20.0


def reporter(name: str, db: Db) -> Reporter:
    """The heartbeat of the worker `name`."""
    return Reporter(name, MongoStatusStore(db))


def endpoint(settings: Settings) -> Endpoint:
    return Endpoint(runtime=SageMakerRuntime(region=settings.region), name=settings.endpoint_name)


def scorer() -> tuple[MongoScoringFeed, MongoEntityStore, Scoring, Reporter]:
    """Everything `workers.scorer` needs, from the environment."""
    settings = Settings.from_environment()
    db = connect(settings, timeout_seconds=WORKER_TIMEOUT_SECONDS, app="fraud-desk-scorer")
    beats = reporter("scorer", connect(settings, app="fraud-desk-scorer"))
    scoring = Scoring(
        endpoint(settings), MongoThresholdStore(db), plan_of(desk_mapping(settings.mapping)), MongoFlows(db)
    )
    return MongoScoringFeed(db), MongoEntityStore(db), scoring, beats
