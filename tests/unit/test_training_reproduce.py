"""An experiment repeated from its record: the same, or a sentence that says what is other."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from services.errors import InvalidData, NotFound
from services.hyperparameters import as_text
from services.reproduce import Verdict, reproduce
from services.training import Experiment, ExperimentState
from services.training_beside import Recipe
from services.training_files import write
from services.training_set import TrainingSet
from tests.unit.test_training_set import START, history, made
from workers.lifecycle_building import source_archive

MODEL = Path(__file__).parents[2] / "model"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ID = "exp-20261101-0000-ab12"
Put = Callable[[str, bytes], None]


class Stored:
    """A bucket in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body

    def get(self, key: str) -> tuple[bytes, str]:
        if key not in self.objects:
            raise NotFound(f"There is no {key}.")
        return self.objects[key], ""


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return out.getvalue()


def young(**changes: Any) -> TrainingSet:
    """A set that has young rows: labels are known up to the end of the window."""
    return made(*history(), label_cutoff=START + timedelta(days=40), **changes)


def built(data: TrainingSet, put: Put) -> None:
    times = {"window_start": NOW - timedelta(35), "window_end": NOW, "label_cutoff": NOW}
    write(data, put, experiment_id=ID, snapshot_id=77, labels_snapshot_id=78, **times)


def run_job(base: Path, stored: Callable[[str], bytes], hyperparameters: dict[str, str]) -> bytes:
    """The training job as SageMaker would run it on the stored set; its model.tar.gz."""
    (base / "input/config").mkdir(parents=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    parts = [name for name in json.loads(stored("manifest.json"))["sha256"] if "/" in name]
    (base / "input/config/inputdataconfig.json").write_text(json.dumps({name.split("/")[0]: {} for name in parts}))
    for name in parts:
        (base / "input/data" / name).parent.mkdir(parents=True)
        (base / "input/data" / name).write_bytes(stored(name))
    done = subprocess.run(
        [sys.executable, str(MODEL / "train.py")],
        env={"SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return packed({name: (base / "model" / name).read_bytes() for name in ("model.ubj", "metadata.json")})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stored, Experiment]:
    bucket = Stored()
    built(young(), bucket.put)
    bucket.put(f"training/{ID}/source/sourcedir.tar.gz", source_archive(MODEL))

    def stored(name: str) -> bytes:
        return bucket.objects[f"training/{ID}/{name}"]

    given = {"num_round": "15", "max_depth": "2", "seed": "3", "subsample": "0.8"}
    bucket.put("models/job/output/model.tar.gz", run_job(tmp_path_factory.mktemp("ml"), stored, given))
    experiment = Experiment(
        experiment_id=ID,
        name="Weekly",
        state=ExperimentState.CANDIDATE,
        requested_by="Ada",
        requested_at=NOW,
        window_start=NOW - timedelta(35),
        window_end=NOW,
        label_cutoff=NOW,
        method="xgboost",
        hyperparameters={"num_round": 15, "max_depth": 2.0, "seed": 3, "subsample": 0.8},
        snapshot_id=77,
        labels_snapshot_id=78,
        artifact_uri="s3://desk/models/job/output/model.tar.gz",
    )
    return bucket, experiment


def repeated(
    desk: tuple[Stored, Experiment], folder: Path, *, data: TrainingSet | None = None, **changes: object
) -> Verdict:
    bucket, experiment = desk
    data = data or young()
    experiment = replace(experiment, **changes)  # type: ignore[arg-type]
    return reproduce(experiment, rebuild=lambda put, _: built(data, put), objects=bucket, folder=folder)


def test_the_same_record_gives_the_same_set_and_the_same_model(desk: tuple[Stored, Experiment], tmp_path: Path) -> None:
    verdict = repeated(desk, tmp_path)
    assert (verdict.training_set, verdict.model, verdict.max_difference) == ("same bytes", "same bytes", 0.0)
    assert verdict.same
    assert json.loads(json.dumps(verdict.as_json()))["same"] is True


def test_of_a_frozen_set_it_is_the_set_that_is_made_again(desk: tuple[Stored, Experiment], tmp_path: Path) -> None:
    bucket, experiment = desk

    def rebuild(put: Put, _: Recipe) -> None:
        built(young(), lambda key, body: put(key.replace(ID, "frozen/set-1"), body))

    verdict = reproduce(replace(experiment, frozen="set-1"), rebuild=rebuild, objects=bucket, folder=tmp_path)
    assert verdict.same
    assert verdict.sentences[0] == "The frozen set set-1 was rebuilt from snapshot 77: the same bytes."


def test_another_setting_is_another_model_and_the_difference_is_told(
    desk: tuple[Stored, Experiment], tmp_path: Path
) -> None:
    verdict = repeated(desk, tmp_path, hyperparameters={"num_round": 15, "max_depth": 1, "seed": 3})
    assert (verdict.training_set, verdict.model, verdict.same) == ("same bytes", "different", False)
    assert 0 < verdict.max_difference <= 1
    assert verdict.sentences[-1].startswith("The model trained again differs: scores by up to ")


def test_another_lake_is_another_training_set(desk: tuple[Stored, Experiment], tmp_path: Path) -> None:
    data = young()
    matrix = np.array(data.matrix)
    matrix[3, 0] += 1
    verdict = repeated(desk, tmp_path, data=replace(data, matrix=matrix))
    assert verdict.training_set == "different"
    assert verdict.sentences[0] == "The rebuilt training set differs in train/part-00000.parquet."
    assert verdict.model == "same bytes", "the model is repeated from the stored set"


def test_other_bytes_with_the_same_values_are_the_same_set(desk: tuple[Stored, Experiment], tmp_path: Path) -> None:
    bucket, experiment = desk

    def rebuild(put: Put, _: Recipe) -> None:
        def uncompressed(key: str, body: bytes) -> None:
            if key.endswith(".parquet"):
                out = io.BytesIO()
                pa.parquet.write_table(pa.parquet.read_table(io.BytesIO(body)), out, compression="none")
                body = out.getvalue()
            put(key, body)

        built(young(), uncompressed)

    verdict = reproduce(experiment, rebuild=rebuild, objects=bucket, folder=tmp_path)
    assert (verdict.training_set, verdict.same) == ("same values", True)


def test_an_experiment_of_before_there_were_young_rows_is_made_again_as_it_was(
    desk: tuple[Stored, Experiment], tmp_path: Path
) -> None:
    bucket, experiment = desk
    former = Stored()
    former.put(f"training/{ID}/source/sourcedir.tar.gz", bucket.objects[f"training/{ID}/source/sourcedir.tar.gz"])
    built(young(recipe=Recipe(layout=1)), former.put)
    manifest = json.loads(former.objects[f"training/{ID}/manifest.json"])
    assert not {"layout", "dimensions", "young"} & set(manifest)
    assert set(manifest["sha256"]) == {
        "train/part-00000.parquet", "validation/part-00000.parquet", "rows.parquet", "schema.json"
    }  # fmt: skip
    given = {name: as_text(value) for name, value in experiment.hyperparameters.items()}
    model = run_job(tmp_path / "then", lambda name: former.objects[f"training/{ID}/{name}"], given)
    former.put("models/job/output/model.tar.gz", model)
    asked: list[Recipe] = []

    def rebuild(put: Put, recipe: Recipe) -> None:
        asked.append(recipe)
        built(young(recipe=recipe), put)

    (tmp_path / "now").mkdir()
    verdict = reproduce(experiment, rebuild=rebuild, objects=former, folder=tmp_path / "now")
    assert (verdict.training_set, verdict.model) == ("same bytes", "same bytes")
    assert asked == [Recipe(layout=1)]


def test_a_window_that_cannot_be_built_any_more_is_said_and_the_model_still_compared(
    desk: tuple[Stored, Experiment], tmp_path: Path
) -> None:
    def gone(put: Put, _: Recipe) -> None:
        raise NotFound("Snapshot 77 is not kept any more.")

    bucket, experiment = desk
    verdict = reproduce(experiment, rebuild=gone, objects=bucket, folder=tmp_path)
    assert (verdict.training_set, verdict.model, verdict.same) == ("cannot be rebuilt", "same bytes", False)
    assert verdict.sentences[0] == "The training set cannot be rebuilt: Snapshot 77 is not kept any more."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "autopilot"}, "Weekly was made by autopilot, which is no single training job."),
        ({"artifact_uri": None}, "Weekly (candidate) left no model that could be compared."),
        ({"artifact_uri": "s3://desk/models/other"}, "The model artifact is not stored any more (models/other)."),
    ],
)
def test_a_record_that_does_not_reach_so_far_is_one_sentence(
    desk: tuple[Stored, Experiment], tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises((InvalidData, NotFound)) as refused:
        repeated(desk, tmp_path, **changes)
    assert refused.value.message == sentence


def test_a_stored_file_that_was_changed_is_noticed(desk: tuple[Stored, Experiment], tmp_path: Path) -> None:
    bucket, experiment = desk
    changed = Stored()
    changed.objects = dict(bucket.objects) | {f"training/{ID}/train/part-00000.parquet": b"PAR1"}
    with pytest.raises(InvalidData, match="is not what its manifest says; it was changed afterwards"):
        repeated((changed, experiment), tmp_path)
    changed.objects = dict(bucket.objects) | {"models/job/output/model.tar.gz": b"no archive"}
    with pytest.raises(InvalidData, match="cannot be read; it is damaged"):
        repeated((changed, experiment), tmp_path)
