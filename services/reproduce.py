"""An experiment once more from its record: the training set from its snapshots, the model from its code, and a verdict.

What is compared with what the experiment left: the rebuilt training set with the manifest's checksums, the new booster
with the one of the artifact. The code is the copy that the job itself ran, so a newer desk repeats older experiments.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq

from services.errors import InvalidData, NotFound
from services.experiment import Experiment
from services.hyperparameters import as_text
from services.training_beside import Recipe, recipe_of

CHANNELS = ("train", "validation", "young")
TRAIN_SECONDS = 4 * 3600
_MAX_UNPACKED = 2 * 1024**3


class Objects(Protocol):
    def get(self, key: str) -> tuple[bytes, str]:
        """NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """`training_set`: same bytes | same values | different | cannot be rebuilt. `model`: same bytes | same scores |
    different | cannot be trained again. `max_difference` is the largest absolute difference of raw scores (0..1) on the
    validation rows."""

    experiment_id: str
    training_set: str
    model: str
    max_difference: float
    sentences: tuple[str, ...]

    @property
    def same(self) -> bool:
        return self.training_set.startswith("same") and self.model.startswith("same")

    def as_json(self) -> dict[str, Any]:
        return {
            "experiment_id": self.experiment_id,
            "same": self.same,
            "training_set": self.training_set,
            "model": self.model,
            "max_difference": self.max_difference,
            "sentences": list(self.sentences),
        }


def reproduce(
    experiment: Experiment,
    *,
    rebuild: Callable[[Callable[[str, bytes], None], Recipe], object],
    objects: Objects,
    folder: Path,
) -> Verdict:
    """Repeat it inside the empty `folder` and compare. `rebuild(put, recipe)` writes its training set through `put`, as
    the stored one was made.

    Raises InvalidData or NotFound when the record does not reach so far: no model yet, a search (`reproduce_search`),
    or files that are gone or changed; Unavailable.
    """
    _repeatable(experiment)
    stored = stored_set(experiment, objects)
    artifact = unpacked(fetched(objects, key_of(experiment.artifact_uri or ""), "model artifact"))
    metadata = json.loads(artifact.get("metadata.json", b"{}"))
    how, sentences = compare_sets(experiment, stored, rebuild)
    source = fetched(objects, f"training/{experiment.experiment_id}/source/sourcedir.tar.gz", "training code")
    _prepare(folder, experiment, metadata, stored, source)
    train_again(folder)
    model, difference, said = compare_models(folder, artifact, metadata, stored)
    return Verdict(experiment.experiment_id, how, model, difference, (*sentences, *said))


def _repeatable(experiment: Experiment) -> None:
    if experiment.method != "xgboost":
        raise InvalidData(f"{experiment.name} was made by {experiment.method}, which is no single training job.")
    if experiment.artifact_uri is None or experiment.snapshot_id is None:
        raise InvalidData(f"{experiment.name} ({experiment.state}) left no model that could be compared.")


def stored_set(experiment: Experiment, objects: Objects) -> dict[str, bytes]:
    """The files of the training set as the job got them, with the manifest; InvalidData when one was changed since."""
    prefix = f"training/{experiment.experiment_id}/"
    files = {"manifest.json": fetched(objects, prefix + "manifest.json", "training set's manifest")}
    for name, digest in json.loads(files["manifest.json"])["sha256"].items():
        files[name] = fetched(objects, prefix + name, f"training set's {name}")
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise InvalidData(f"The stored {prefix}{name} is not what its manifest says; it was changed afterwards.")
    return files


def compare_sets(
    experiment: Experiment,
    stored: Mapping[str, bytes],
    rebuild: Callable[[Callable[[str, bytes], None], Recipe], object],
) -> tuple[str, list[str]]:
    prefix = f"training/{f'frozen/{experiment.frozen}' if experiment.frozen else experiment.experiment_id}/"
    made: dict[str, bytes] = {}
    try:
        recipe = recipe_of(json.loads(stored["manifest.json"]))
        rebuild(lambda key, body: made.__setitem__(key.removeprefix(prefix), body), recipe)
    except (InvalidData, NotFound) as error:
        return "cannot be rebuilt", [f"The training set cannot be rebuilt: {error.message}"]
    names = list(json.loads(stored["manifest.json"])["sha256"])
    other = [name for name in names if made.get(name) != stored[name]]
    if not other:
        which = f"frozen set {experiment.frozen}" if experiment.frozen else "training set"
        return "same bytes", [f"The {which} was rebuilt from snapshot {experiment.snapshot_id}: the same bytes."]
    then, now = (json.loads(files["schema.json"])["features_version"] for files in (stored, made))
    if then != now:
        return "different", [f"The features have changed since (version {then}, now {now}), so the set is another."]
    differing = [name for name in other if not _same_values(made.get(name), stored[name])]
    if differing:
        return "different", [f"The rebuilt training set differs in {', '.join(differing)}."]
    return "same values", ["The rebuilt training set has the same rows and values, in files written otherwise."]


def _same_values(made: bytes | None, stored: bytes) -> bool:
    if made is None or not stored.startswith(b"PAR1"):
        return False
    ours, theirs = (pq.read_table(io.BytesIO(body)) for body in (made, stored))
    if ours.schema != theirs.schema:
        return False
    return all(
        np.array_equal(a.to_numpy(), b.to_numpy(), equal_nan=True) if str(a.type) == "float" else a.equals(b)
        for a, b in zip(ours.columns, theirs.columns, strict=True)
    )


def code_of(source: bytes, folder: Path) -> None:
    """The programs of an archive, each directly in the new `folder`."""
    folder.mkdir()
    for name, body in unpacked(source).items():
        if name.endswith(".py") and "/" not in name:
            (folder / name).write_bytes(body)


def _prepare(
    folder: Path, experiment: Experiment, metadata: Mapping[str, Any], stored: Mapping[str, bytes], source: bytes
) -> None:
    """The job's folders as SageMaker lays them out; as many threads as then, because sums depend on it."""
    given = {name: as_text(value) for name, value in experiment.hyperparameters.items()}
    threads = metadata.get("training", {}).get("threads")
    if threads is not None:
        given["threads"] = str(threads)
    config = folder / "input/config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(given))
    channels = {name.split("/")[0] for name in stored} & set(CHANNELS)
    (config / "inputdataconfig.json").write_text(json.dumps({channel: {} for channel in sorted(channels)}))
    for name, body in stored.items():
        if name.split("/")[0] in CHANNELS:
            path = folder / "input/data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    code_of(source, folder / "code")


def train_again(folder: Path, program: str = "train.py") -> None:
    """Run the program among the code in `folder` as a job would; InvalidData with what it said when it fails."""
    environment = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "HOME", "VIRTUAL_ENV") if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, program],
        cwd=folder / "code",
        env=environment | {"SAGEMAKER_BASE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=TRAIN_SECONDS,
        check=False,
    )
    if done.returncode:
        failure = folder / "output/failure"
        said = failure.read_text() if failure.exists() else done.stderr.strip()[-300:]
        raise InvalidData(f"The repeated training failed: {said}")


def compare_models(
    folder: Path, artifact: Mapping[str, bytes], metadata: Mapping[str, Any], stored: Mapping[str, bytes]
) -> tuple[str, float, list[str]]:
    then, now = artifact.get("model.ubj", b""), (folder / "model/model.ubj").read_bytes()
    if then == now:
        digest = hashlib.sha256(now).hexdigest()
        return "same bytes", 0.0, [f"The model was trained again: the same bytes (SHA-256 {digest[:16]}...)."]
    difference = _largest_difference(then, now, stored)
    if difference == 0.0:
        return "same scores", 0.0, ["The model was trained again: other bytes, the same score for every row."]
    repeated = json.loads((folder / "model/metadata.json").read_text())
    versions = [held.get("training", {}).get("xgboost") for held in (metadata, repeated)]
    why = f" It was made by XGBoost {versions[0]}, this is {versions[1]}." if versions[0] != versions[1] else ""
    return "different", difference, [f"The model trained again differs: scores by up to {difference:.3g}.{why}"]


def _largest_difference(then: bytes, now: bytes, stored: Mapping[str, bytes]) -> float:
    import xgboost as xgb

    names: list[str] = json.loads(stored["schema.json"])["features"]
    tables = [pq.read_table(io.BytesIO(body)) for name, body in stored.items() if name.startswith("validation/")]
    scores = []
    for raw in (then, now):
        booster = xgb.Booster()
        booster.load_model(bytearray(raw))
        scores.append(
            [
                booster.inplace_predict(
                    np.column_stack([table.column(name).to_numpy() for name in names]).astype(np.float32),
                    validate_features=False,
                )
                for table in tables
            ]
        )
    return max(float(np.abs(a - b).max()) for a, b in zip(*scores, strict=True))


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Regular files of a .tar.gz by name; nothing is written to disk under a name the archive chose."""
    held: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            if sum(member.size for member in tar) > _MAX_UNPACKED:
                raise InvalidData("An archive of the experiment unpacks to more than it can be.")
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None:
                    held[member.name.removeprefix("./")] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidData("An archive of the experiment cannot be read; it is damaged.") from error
    return held


def fetched(objects: Objects, key: str, what: str) -> bytes:
    try:
        return objects.get(key)[0]
    except NotFound as error:
        raise NotFound(f"The {what} is not stored any more ({key}).") from error


def key_of(uri: str) -> str:
    return urlsplit(uri).path.lstrip("/")
