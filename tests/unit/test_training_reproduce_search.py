"""The winner of an Autopilot search trained again from its record, a blend with its members."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.aws.sagemaker import auto_ml_inputs
from services.errors import NotFound
from services.reproduce import Verdict
from services.reproduce_search import reproduce_search
from services.training import Autopilot, Candidate, Experiment, ExperimentState
from services.training_jobs import TrainingJob
from tests.unit.test_training_reproduce import ID, MODEL, NOW, Stored, built, packed, young

SETTINGS = {"c01": {"num_round": "6", "subsample": "0.8"}, "c02": {"num_round": "9"}, "blend": {}}
FAMILIES = {"c01": "trees", "c02": "stumps", "blend": "blend"}


class Jobs:
    def __init__(self) -> None:
        self.held: dict[str, dict[str, str]] = {}

    def describe_training_job(self, name: str) -> TrainingJob:
        if name not in self.held:
            raise NotFound(f"There is no training job {name}.")
        return TrainingJob(name, "Completed", "Completed", (), {}, self.held[name], None, None)


def trained(key: str, base: Path, bucket: Stored, code: dict[str, bytes], given: dict[str, str]) -> bytes:
    """model.tar.gz of the candidate, trained by its program in folders as SageMaker lays them out."""
    for made in ("input/config", "model", "output", "code"):
        (base / made).mkdir(parents=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(given))
    files = {
        f"{channel}/part.parquet": bucket.objects[f"training/{ID}/{name}/part-00000.parquet"]
        for name, channel in (("train", "training"), ("validation", "validation"))
    }
    if key == "blend":
        files |= {f"base-{name}/model.tar.gz": bucket.objects[f"out/{name}.tar.gz"] for name in ("c01", "c02")}
    for name, body in files.items():
        (base / "input/data" / name).parent.mkdir(parents=True)
        (base / "input/data" / name).write_bytes(body)
    for name, body in code.items():
        (base / "code" / name).write_bytes(body)
    command = [sys.executable, auto_ml_inputs.PROGRAM]
    env = os.environ | {"SAGEMAKER_BASE_DIR": str(base)}
    done = subprocess.run(command, cwd=base / "code", env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return packed({name: (base / "model" / name).read_bytes() for name in ("model.ubj", "metadata.json")})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stored, Jobs, Experiment]:
    bucket, jobs = Stored(), Jobs()
    built(young(), bucket.put)
    program = Path(auto_ml_inputs.__file__).with_name(auto_ml_inputs.PROGRAM)
    code = {path.name: path.read_bytes() for path in (*MODEL.glob("*.py"), program)}
    bucket.put("out/code.tar.gz", packed(code))
    names = json.loads(bucket.objects[f"training/{ID}/schema.json"])["features"]
    candidates = []
    for key, family in FAMILIES.items():
        task = {"role": "train", "family": family, "target": "label", "features": names, "fraction": 0.2}
        given = SETTINGS[key] | {
            "sagemaker_program": auto_ml_inputs.PROGRAM,
            "sagemaker_submit_directory": "s3://desk/out/code.tar.gz",
            "sagemaker_automl": json.dumps(task),
        }
        jobs.held[f"search-{key}"] = given
        bucket.put(f"out/{key}.tar.gz", trained(key, tmp_path_factory.mktemp(key), bucket, code, given))
        candidates.append(Candidate(f"search-{key}", "Completed", {}, f"s3://desk/out/{key}.tar.gz"))
    experiment = Experiment(
        experiment_id=ID, name="Search", state=ExperimentState.CANDIDATE, requested_by="Ada", requested_at=NOW,
        window_start=NOW, window_end=NOW, label_cutoff=NOW, method="autopilot", hyperparameters={}, snapshot_id=77,
        labels_snapshot_id=78, autopilot=Autopilot(), candidates=tuple(candidates),
    )  # fmt: skip
    return bucket, jobs, experiment


def again(searched: tuple[Stored, Jobs, Experiment], best: str, folder: Path, jobs: Jobs | None = None) -> Verdict:
    bucket, known, experiment = searched
    candidates = tuple(replace(c, best=c.name == f"search-{best}") for c in experiment.candidates)
    experiment = replace(experiment, candidates=candidates, artifact_uri=f"s3://desk/out/{best}.tar.gz")
    return reproduce_search(
        experiment, rebuild=lambda put, _: built(young(), put), objects=bucket, jobs=jobs or known, folder=folder
    )


def test_a_blend_is_made_again_with_its_members_and_weights(
    searched: tuple[Stored, Jobs, Experiment], tmp_path: Path
) -> None:
    verdict = again(searched, "blend", tmp_path)
    assert (verdict.training_set, verdict.model, verdict.max_difference) == ("same bytes", "same bytes", 0.0)
    assert any("the same members and weights" in said for said in verdict.sentences), verdict.sentences


def test_another_setting_than_then_is_another_model(searched: tuple[Stored, Jobs, Experiment], tmp_path: Path) -> None:
    jobs = Jobs()
    jobs.held = {"search-c01": searched[1].held["search-c01"] | {"eta": "0.03"}}
    verdict = again(searched, "c01", tmp_path, jobs)
    assert (verdict.training_set, verdict.model, verdict.same) == ("same bytes", "different", False)
    assert verdict.max_difference > 0


def test_of_amazons_own_search_only_the_set_is_compared_and_that_is_said(
    searched: tuple[Stored, Jobs, Experiment], tmp_path: Path
) -> None:
    verdict = again(searched, "c01", tmp_path, Jobs())
    assert (verdict.training_set, verdict.model, verdict.same) == ("same bytes", "cannot be trained again", False)
    assert verdict.sentences[-1].startswith("Only the training set was compared: nothing tells how search-c01")
