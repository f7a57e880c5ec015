"""An Autopilot experiment once more: the candidate that won, trained again as its own training job trained it.

Its settings and its code are what the job in SageMaker says, its threads what its artifact noted. A blend's members are
trained again too, and blended again from all that it had to choose from.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from services.errors import InvalidData, NotFound
from services.experiment import Candidate, Experiment
from services.reproduce import (
    Objects,
    Verdict,
    code_of,
    compare_models,
    compare_sets,
    fetched,
    key_of,
    stored_set,
    train_again,
    unpacked,
)
from services.training_beside import Recipe
from services.training_jobs import TrainingJob

_TASK, _PROGRAM, _CODE = "sagemaker_automl", "sagemaker_program", "sagemaker_submit_directory"
_CHANNELS = {"train": "training", "validation": "validation"}


class Jobs(Protocol):
    def describe_training_job(self, name: str) -> TrainingJob:
        """NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class _Again:
    """What every candidate that is trained again needs."""

    objects: Objects
    stored: Mapping[str, bytes]
    folder: Path

    def artifact(self, candidate: Candidate) -> dict[str, bytes]:
        return unpacked(self.packed(candidate))

    def packed(self, candidate: Candidate) -> bytes:
        return fetched(self.objects, key_of(candidate.artifact_uri or ""), f"artifact of {candidate.name}")

    def train(self, job: TrainingJob, artifact: Mapping[str, bytes], base: Mapping[str, bytes]) -> Path:
        """The folder in which the job ran once more; `base` are the artifacts a blend chooses from, by channel."""
        folder = self.folder / job.name
        threads = json.loads(artifact["metadata.json"])["training"]["threads"]
        config = folder / "input/config"
        for made in (config, folder / "model", folder / "output"):
            made.mkdir(parents=True)
        (config / "hyperparameters.json").write_text(json.dumps({**job.hyperparameters, "threads": str(threads)}))
        files = {f"{channel}/model.tar.gz": body for channel, body in base.items()}
        for name, body in self.stored.items():
            channel, _, rest = name.partition("/")
            if channel in _CHANNELS:
                files[f"{_CHANNELS[channel]}/{rest}"] = body
        for name, body in files.items():
            path = folder / "input/data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        code_of(fetched(self.objects, key_of(job.hyperparameters[_CODE]), "candidates' code"), folder / "code")
        train_again(folder, Path(job.hyperparameters[_PROGRAM]).name)
        return folder


def reproduce_search(
    experiment: Experiment,
    *,
    rebuild: Callable[[Callable[[str, bytes], None], Recipe], object],
    objects: Objects,
    jobs: Jobs,
    folder: Path,
) -> Verdict:
    """As `services.reproduce.reproduce`, of the search's winner. The search itself is not
    repeated: it ends by the clock. Of a search that Amazon's own Autopilot made only the training set is compared, and
    a sentence says so.
    """
    best = next((candidate for candidate in experiment.candidates if candidate.best), None)
    if best is None or experiment.artifact_uri is None or experiment.snapshot_id is None:
        raise InvalidData(f"{experiment.name} ({experiment.state}) left no model that could be compared.")
    stored = stored_set(experiment, objects)
    how, sentences = compare_sets(experiment, stored, rebuild)
    job = _ours(jobs, best.name)
    if job is None:
        said = (
            f"Only the training set was compared: nothing tells how {best.name} was trained (Amazon's own Autopilot "
            "does not give its programs away), so the model cannot be trained again."
        )
        return Verdict(experiment.experiment_id, how, "cannot be trained again", 0.0, (*sentences, said))
    again = _Again(objects, stored, folder)
    model, difference, said_of = _winner(experiment, again, jobs, best, job)
    return Verdict(experiment.experiment_id, how, model, difference, (*sentences, *said_of))


def _winner(
    experiment: Experiment, again: _Again, jobs: Jobs, best: Candidate, job: TrainingJob
) -> tuple[str, float, list[str]]:
    """How its model compares, the largest difference of scores, and the sentences."""
    artifact = again.artifact(best)
    about = _about(artifact)
    sentences = [f"The winner was {best.name} ({json.loads(job.hyperparameters[_TASK])['family']})."]
    weights, base = about.get("weights"), dict[str, bytes]()
    if weights is not None:
        base, said_of = _members(experiment, again, jobs, weights)
        sentences += said_of
    made = again.train(job, artifact, base)
    if weights is not None:
        now = json.loads((made / "model/metadata.json").read_text())["training"]["weights"]
        same = "the same members and weights" if now == weights else f"{_shares(now)}, other members or weights than"
        sentences.append(f"Blended again: {same} ({_shares(weights)}).")
    metadata = json.loads(artifact["metadata.json"])
    model, difference, said = compare_models(made, artifact, metadata, again.stored)
    return model, difference, [*sentences, *said]


def _members(
    experiment: Experiment, again: _Again, jobs: Jobs, weights: Mapping[str, float]
) -> tuple[dict[str, bytes], list[str]]:
    """Artifacts by channel: those with a weight trained again, the others, which were passed over, as they are."""
    base: dict[str, bytes] = {}
    same = []
    for candidate in experiment.candidates:
        key = candidate.name.rpartition("-")[2]
        if candidate.best or candidate.status != "Completed" or candidate.artifact_uri is None:
            continue
        packed = again.packed(candidate)
        if key in weights:
            artifact, job = unpacked(packed), _ours(jobs, candidate.name)
            if job is None:
                raise NotFound(f"The training job {candidate.name} is not known any more; the blend needs it.")
            booster = (again.train(job, artifact, {}) / "model/model.ubj").read_bytes()
            packed = _archive(booster)
            same.append(booster == artifact["model.ubj"])
        base[f"base-{key}"] = packed
    return base, [f"Of the {len(same)} members of the blend {sum(same)} were trained again to the same bytes."]


def _ours(jobs: Jobs, name: str) -> TrainingJob | None:
    """The candidate's training job, None where it does not say what it ran."""
    try:
        job = jobs.describe_training_job(name)
    except NotFound:
        return None
    return job if {_TASK, _PROGRAM, _CODE} <= set(job.hyperparameters) else None


def _about(artifact: Mapping[str, bytes]) -> dict[str, Any]:
    return dict(json.loads(artifact["metadata.json"])["training"])


def _shares(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())


def _archive(booster: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("model.ubj")
        member.size = len(booster)
        archive.addfile(member, io.BytesIO(booster))
    return out.getvalue()
