"""`python -m services reproduce` against a real lake, database and bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.access import system
from services.adapters.iceberg_snapshots import IcebergSnapshots
from services.adapters.mongo.client import Db
from services.adapters.mongo.flows import MongoFrozenSets
from services.adapters.mongo.training_data_jobs import MongoJobNotes
from services.lake_schema import LABELS_TOPIC
from services.settings import Settings
from services.training import ExperimentState
from services.training_build import build_for
from services.training_data import TrainingData
from tests.integration.test_lifecycle_lake import ROOT, World, verdict
from tests.unit.test_training_reproduce import MODEL, run_job
from workers.lifecycle_building import source_archive

pytestmark = pytest.mark.timeout(180)


def reproduce(settings: Settings, experiment_id: str) -> tuple[int, str, str]:
    env = os.environ | {
        "MONGODB_URI": settings.mongodb_uri,
        "FRAUD_DESK_DATABASE": settings.database,
        "FRAUD_DESK_BUCKET": settings.bucket,
        "FRAUD_DESK_CATALOG": settings.catalog_uri,
    }
    command = [sys.executable, "-m", "services", "reproduce", experiment_id, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_an_experiment_is_made_again_from_its_record_whatever_the_lake_has_learned_since(
    settings: Settings, db: Db, tmp_path: Path
) -> None:
    world = World(settings, db)
    given = {"num_round": 12, "max_depth": 2}
    experiment = world.experiment(
        state=ExperimentState.CANDIDATE,
        hyperparameters=given,
        artifact_uri=f"s3://{settings.bucket}/models/job/output/model.tar.gz",
    )
    build_for(experiment, world.desk.lake, world.desk.objects.put)
    world.desk.objects.put("training/exp-1/source/sourcedir.tar.gz", source_archive(MODEL))
    model = run_job(tmp_path, world.stored, {name: str(value) for name, value in given.items()})
    world.desk.objects.put("models/job/output/model.tar.gz", model)

    world._put(LABELS_TOPIC, [verdict(n, world.asked) for n in (201, 202, 203)], len(world.labels) + 1)
    world.desk.fold()
    code, said, error = reproduce(settings, "exp-1")
    assert code == 0, (said, error)
    verdict_of = json.loads(said)
    assert (verdict_of["training_set"], verdict_of["model"]) == ("same bytes", "same bytes")

    code, said, error = reproduce(settings, "exp-none")
    assert (code, said, error) == (1, "", "There is no experiment exp-none.\n")


def test_the_builder_takes_the_files_of_a_frozen_set_whatever_the_lake_has_learned_since(
    settings: Settings, db: Db
) -> None:
    world = World(settings, db)
    objects = world.desk.objects
    experiment = world.experiment()
    data = TrainingData(
        world.desk.lake, IcebergSnapshots(world.desk.tables), MongoFrozenSets(db), objects.put,
        lambda key: objects.get(key)[0], notes=MongoJobNotes(db), clock=lambda: experiment.label_cutoff,
    )  # fmt: skip
    window = (experiment.window_start, experiment.window_end)
    selection = data.choose(snapshot_id=None, window=window, label_cutoff=experiment.label_cutoff)
    data.start_freeze(selection, name="Spring", held=None, actor=system("test"))
    assert (data.wait(60) or data.job()).failure is None  # type: ignore[union-attr]
    held = data.frozen()[0]
    db["experiments"].update_one({"_id": "exp-1"}, {"$set": {"frozen": held.frozen_id, "frozen_sha256": held.sha256}})
    world._put(LABELS_TOPIC, [verdict(n, world.asked) for n in (201, 202, 203)], len(world.labels) + 1)
    world.desk.fold()
    code, said = world.built()
    assert code == 0, said
    frozen = objects.get(f"{held.prefix}train/part-00000.parquet")[0]
    assert world.stored("train/part-00000.parquet") == frozen
    assert json.loads(world.stored("manifest.json"))["frozen_sha256"] == held.sha256
