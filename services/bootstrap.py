"""The wiring of the screens: adapters into capabilities. Workers are wired in `services.bootstrap_workers`.

Nothing is contacted here; the first call of a capability is the first packet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services import bootstrap_loop
from services.adapters.athena import AthenaEngine
from services.adapters.iceberg import IcebergLake
from services.adapters.lake_scan import LakeScan
from services.adapters.lambda_functions import LambdaFunctions
from services.adapters.logs import TrainingJobLogs
from services.adapters.mongo.cases import MongoCaseStore
from services.adapters.mongo.client import connect
from services.adapters.mongo.deployments import MongoDeployments
from services.adapters.mongo.entities import MongoEntityStore, MongoThresholdStore
from services.adapters.mongo.experiments import MongoExperiments
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.kpis import MongoKpiStore
from services.adapters.mongo.transactions import MongoTransactionStore
from services.adapters.sagemaker import SageMaker
from services.cases import Cases
from services.connectors import Connectors
from services.deployment import DeploymentService
from services.domain.mapping import desk_mapping
from services.domain.transaction_rules import rules_of
from services.health import Health
from services.intake import Intake
from services.kpis import Kpis
from services.lake import Lake
from services.lake_engine import DuckDbEngine, Engine
from services.live_scoring import LiveScoring
from services.models import Models
from services.rates import Rates
from services.reconciliation import Reconciliation
from services.scoring_api import ScoringApi
from services.settings import Settings
from services.training import Training
from services.transactions import Transactions

# Workers may wait longer for a busy database than a person in front of a screen.
WORKER_TIMEOUT_SECONDS = 20.0
# A screen says within five seconds that AWS does not answer. Scoring a whole file takes the model longer than that.
SCREEN_READ_SECONDS, SCORE_READ_SECONDS = 2.5, 8.0
# A screen asks for the workers' heartbeats before its own data: both timeouts together are what a person waits.
PULSE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Services:
    """What the desk can do, for one installation. Safe to share between threads. `close` ends its connections."""

    settings: Settings
    transactions: Transactions
    cases: Cases
    intake: Intake
    live_scoring: LiveScoring
    kpis: Kpis
    rates: Rates
    training: Training
    models: Models
    deployment: DeploymentService
    health: Health
    connectors: Connectors
    reconciliation: Reconciliation
    lake: Lake
    close: Callable[[], None]


def build(settings: Settings | None = None) -> Services:
    settings = settings or Settings.from_environment()
    db = connect(settings, app="fraud-desk-screens")
    pulse = connect(settings, timeout_seconds=PULSE_SECONDS, app="fraud-desk-pulse")

    def close() -> None:
        db.client.close()
        pulse.client.close()
        loop.close()

    sagemaker = SageMaker(region=settings.region, read_seconds=SCREEN_READ_SECONDS, attempts=1)
    models = Models(registry=sagemaker, group=settings.model_package_group)
    logs = TrainingJobLogs(region=settings.region, read_seconds=SCREEN_READ_SECONDS, attempts=1)
    training = Training(store=MongoExperiments(db), logs=logs)
    deployment = DeploymentService(
        store=MongoDeployments(db), endpoints=sagemaker, models=models, endpoint_name=settings.endpoint_name
    )
    tables = IcebergLake(settings)
    lake = Lake(tables)
    functions = LambdaFunctions(region=settings.region, read_seconds=SCORE_READ_SECONDS, attempts=1)
    api = ScoringApi(functions=functions, function=settings.score_function)
    loop = bootstrap_loop.build(
        settings,
        db=db,
        pulse=pulse,
        tables=IcebergLake(settings),
        training=training,
        endpoint=deployment,
        read_seconds=SCREEN_READ_SECONDS,
    )
    return Services(
        settings=settings,
        transactions=Transactions(MongoTransactionStore(db)),
        cases=Cases(MongoCaseStore(db)),
        intake=Intake(MongoIntakeStore(db), rules_of(desk_mapping(settings.mapping))),
        live_scoring=LiveScoring(api, MongoEntityStore(db), MongoThresholdStore(db)),
        kpis=Kpis(MongoKpiStore(db)),
        rates=Rates(lake, _engine(settings, tables)),
        training=training,
        models=models,
        deployment=deployment,
        health=loop.health,
        connectors=loop.connectors,
        reconciliation=loop.reconciliation,
        lake=lake,
        close=close,
    )


def _engine(settings: Settings, tables: IcebergLake) -> Engine:
    """Athena where a workgroup is set, else DuckDB in this process; both run the same queries."""
    if not settings.athena_workgroup:
        return DuckDbEngine(LakeScan(tables))
    return AthenaEngine(
        region=settings.region,
        workgroup=settings.athena_workgroup,
        database=settings.athena_database,
        output=settings.athena_output,
    )
