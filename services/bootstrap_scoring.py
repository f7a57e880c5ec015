"""The wiring of live scoring: one payment in front of a person, files in the background, and writing back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.adapters.lambda_functions import LambdaFunctions
from services.adapters.mongo.client import Db, connect
from services.adapters.mongo.entities import MongoEntityStore, MongoThresholdStore
from services.adapters.mongo.file_scores import MongoFileScores
from services.adapters.mongo.flows import MongoFlows
from services.adapters.mongo.scoring_runs import MongoScoringRuns, MongoWriteBackAudit
from services.adapters.s3 import ObjectStore
from services.adapters.sagemaker_runtime import SageMakerRuntime
from services.domain.mapping import Mapping
from services.domain.transaction_rules import rules_of
from services.endpoint import Endpoint
from services.features import plan_of
from services.intake import Intake
from services.live_scoring import EntityStore, LiveScoring
from services.live_scoring_states import RecentStates
from services.live_scoring_write_back import WriteBack
from services.mapped_rows import SourceRows
from services.scoring import Scores
from services.scoring_api import ScoringApi
from services.scoring_runs import ScoringRuns
from services.scoring_runs_files import RunFiles
from services.scoring_runs_rows import MappedRows, OwnRows, Rows
from services.scoring_runs_write_back import FileWriteBack
from services.settings import Settings

# A person waits for one payment; a batch of a file takes the model longer, and nobody waits for it.
SCORE_READ_SECONDS, BATCH_READ_SECONDS = 8.0, 30.0
_PATIENT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class LiveParts:
    live_scoring: LiveScoring
    runs: ScoringRuns
    write_back: WriteBack
    file_write_back: FileWriteBack
    close: Callable[[], None]


def build(settings: Settings, *, db: Db, intake: Intake, mapping: Mapping | None) -> LiveParts:
    patient = connect(settings, timeout_seconds=_PATIENT_SECONDS, app="fraud-desk-scoring")
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=10.0, attempts=2)
    # Batches go to the model as the scorer's do: the scoring API is for callers outside, and costs more than the model.
    endpoint = Endpoint(
        runtime=SageMakerRuntime(region=settings.region, read_seconds=BATCH_READ_SECONDS), name=settings.endpoint_name
    )
    files, door = RunFiles(objects), WriteBack(intake, MongoWriteBackAudit(db), named=settings.write_back)
    runs = ScoringRuns(
        MongoScoringRuns(db),
        files,
        _live(RecentStates(MongoEntityStore(patient)), patient, mapping, endpoint, None),
        lambda: _rows(settings, mapping),
    )

    functions = LambdaFunctions(region=settings.region, read_seconds=SCORE_READ_SECONDS, attempts=1)

    file_write_back = FileWriteBack(runs, files, MongoFileScores(patient), door)

    def close() -> None:
        file_write_back.close()
        runs.close()
        patient.client.close()

    api = ScoringApi(functions=functions, function=settings.score_function)
    source = None if mapping is None else SourceRows(mapping, settings.token_key.encode() or None)
    return LiveParts(
        _live(MongoEntityStore(db), db, mapping, api, source),
        runs,
        door,
        file_write_back,
        close,
    )


def _live(
    entities: EntityStore, db: Db, mapping: Mapping | None, scores: Scores, source: SourceRows | None
) -> LiveScoring:
    return LiveScoring(
        scores,
        entities,
        MongoThresholdStore(db),
        rules=rules_of(mapping),
        plan=plan_of(mapping),
        flows=MongoFlows(db),
        mapping=mapping,
        source=source,
    )


def _rows(settings: Settings, mapping: Mapping | None) -> Rows:
    return OwnRows() if mapping is None else MappedRows(mapping, settings.token_key.encode() or None)
