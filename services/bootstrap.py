"""The wiring of the screens: adapters into capabilities. Workers are wired in `services.bootstrap_workers`.

Nothing is contacted here; the first call of a capability is the first packet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services import bootstrap_imports, bootstrap_loop, bootstrap_scoring
from services.adapters.athena import AthenaEngine
from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_snapshots import IcebergSnapshots
from services.adapters.lake_scan import LakeScan
from services.adapters.logs import TrainingJobLogs
from services.adapters.model_artifacts import ModelArtifacts
from services.adapters.mongo.cases import MongoCaseStore
from services.adapters.mongo.client import connect
from services.adapters.mongo.deployments import MongoDeployments
from services.adapters.mongo.experiments import MongoExperiments
from services.adapters.mongo.flows import MongoFlows, MongoFrozenSets
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.kpis import MongoKpiStore
from services.adapters.mongo.training_data_jobs import MongoJobNotes
from services.adapters.mongo.transactions import MongoTransactionStore
from services.adapters.s3 import ObjectStore
from services.adapters.sagemaker import SageMaker
from services.backtest_runs import BacktestRuns
from services.cases import Cases
from services.connectors import Connectors
from services.cost_estimate import Price
from services.deployment import DeploymentService
from services.domain.mapping import desk_mapping, totals_currency
from services.domain.own_columns import own_columns
from services.domain.transaction_rules import rules_of
from services.features import plan_of
from services.flows import Flows
from services.health import Health
from services.importing_desk import Imports
from services.intake import Intake
from services.kpis import Kpis
from services.lake import Lake
from services.lake_engine import DuckDbEngine, Engine
from services.live_scoring import LiveScoring
from services.live_scoring_write_back import WriteBack
from services.mapped_rows import SourceRows
from services.models import Models
from services.rates import Rates
from services.reconciliation import Reconciliation
from services.scoring_runs import ScoringRuns
from services.scoring_runs_write_back import FileWriteBack
from services.settings import Settings
from services.training import Training
from services.training_beside import recipe_for
from services.training_data import TrainingData
from services.transactions import Transactions

# Workers may wait longer for a busy database than a person in front of a screen.
WORKER_TIMEOUT_SECONDS = 20.0
# A screen says within five seconds that AWS does not answer.
SCREEN_READ_SECONDS = 2.5
# A screen asks for the workers' heartbeats before its own data: both timeouts together are what a person waits.
PULSE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Services:
    """What the desk can do, for one installation. Safe to share between threads. `close` ends its connections."""

    settings: Settings
    # Of sums over payments: ISO 4217 code ("" for several) and exponent.
    currency: tuple[str, int]
    transactions: Transactions
    cases: Cases
    intake: Intake
    live_scoring: LiveScoring
    scoring_runs: ScoringRuns
    write_back: WriteBack
    file_write_back: FileWriteBack
    kpis: Kpis
    rates: Rates
    training: Training
    flows: Flows
    training_data: TrainingData
    models: Models
    deployment: DeploymentService
    health: Health
    connectors: Connectors
    reconciliation: Reconciliation
    lake: Lake
    backtests: BacktestRuns
    imports: Imports
    close: Callable[[], None]


def build(settings: Settings | None = None) -> Services:
    settings = settings or Settings.from_environment()
    db = connect(settings, app="fraud-desk-screens")
    pulse = connect(settings, timeout_seconds=PULSE_SECONDS, app="fraud-desk-pulse")

    backtests = BacktestRuns()

    imports = bootstrap_imports.build(settings)

    def close() -> None:
        imports.close()
        backtests.close()
        scoring.close()
        db.client.close()
        pulse.client.close()
        loop.close()

    sagemaker = SageMaker(region=settings.region, read_seconds=SCREEN_READ_SECONDS, attempts=1)
    models = Models(registry=sagemaker, group=settings.model_package_group)
    logs = TrainingJobLogs(region=settings.region, read_seconds=SCREEN_READ_SECONDS, attempts=1)
    cards = ModelArtifacts(region=settings.region)
    mapping = desk_mapping(settings.mapping)
    plan = plan_of(mapping)
    training = Training(
        store=MongoExperiments(db),
        logs=logs,
        endpoint_name=settings.endpoint_name,
        cards=cards,
        frozen=MongoFrozenSets(db),
        price=None if settings.training_price is None else Price(settings.training_price, settings.training_currency),
        features_version=plan.version,
    )
    tables = IcebergLake(settings)
    lake = Lake(tables)
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=60.0, attempts=3)
    deployment = DeploymentService(
        store=MongoDeployments(db),
        endpoints=sagemaker,
        models=models,
        endpoint_name=settings.endpoint_name,
        features_version=plan.version,
    )
    source = None if mapping is None else SourceRows(mapping, settings.token_key.encode() or None)
    intake = Intake(MongoIntakeStore(db), rules_of(mapping), source)
    scoring = bootstrap_scoring.build(settings, db=db, intake=intake, mapping=mapping)
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
        currency=totals_currency(mapping),
        transactions=Transactions(MongoTransactionStore(db, own_columns(mapping)), mapping),
        cases=Cases(MongoCaseStore(db)),
        intake=intake,
        live_scoring=scoring.live_scoring,
        scoring_runs=scoring.runs,
        write_back=scoring.write_back,
        file_write_back=scoring.file_write_back,
        kpis=Kpis(MongoKpiStore(db)),
        rates=Rates(lake, _engine(settings, tables)),
        training=training,
        flows=Flows(MongoFlows(db)),
        training_data=TrainingData(
            lake,
            IcebergSnapshots(tables),
            MongoFrozenSets(db),
            objects.put,
            lambda key: objects.get(key)[0],
            notes=MongoJobNotes(db),
            plan=plan,
            recipe=recipe_for(mapping),
        ),
        models=models,
        deployment=deployment,
        health=loop.health,
        connectors=loop.connectors,
        reconciliation=loop.reconciliation,
        lake=lake,
        backtests=backtests,
        imports=imports,
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
