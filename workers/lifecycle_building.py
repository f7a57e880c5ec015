"""Building training sets in a process of their own: it needs memory by the gigabyte and must not delay a heartbeat.

The manifest is the last object of a training set, so its presence means that the set is complete; building again from
the same pinned snapshot writes the same bytes. A builder ends when the process that started it does.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from services.errors import InvalidData, NotFound, Unavailable
from services.training import Experiment
from workers.lifecycle_ports import Built

ATTEMPTS = 3
BUILD = (sys.executable, "-m", "workers.lifecycle_build")
# Exit codes of `python -m workers.lifecycle_build`; its last line of output is the sentence for 2 and 3.
REFUSED, UNAVAILABLE = 2, 3
PROJECT = Path(__file__).resolve().parents[1]


class Objects(Protocol):
    def put(self, key: str, body: bytes) -> None: ...

    def get(self, key: str) -> tuple[bytes, str]:
        """NotFound."""
        ...

    def etag(self, key: str) -> str | None: ...


@dataclass
class _Run:
    process: subprocess.Popen[bytes]
    experiment_id: str


class Builders:
    """`Builders(objects=ObjectStore(...), bucket=settings.bucket)`. Satisfies `lifecycle_ports.Builder`.

    One builder runs at a time. `command` starts it; the experiment's id is appended.
    """

    def __init__(
        self,
        *,
        objects: Objects,
        bucket: str,
        command: tuple[str, ...] = BUILD,
        code: Path = PROJECT / "model",
    ) -> None:
        self._objects, self._bucket, self._command, self._code = objects, bucket, command, code
        self._run: _Run | None = None
        self._failures: dict[str, int] = {}

    def poll(self, experiment: Experiment) -> Built | None:
        """Begin, look after, and finally read the manifest of the experiment's training set.

        None while under way. InvalidData when the builder refused the window or died ATTEMPTS times; Unavailable when
        what it needs did not answer (the next poll begins again).
        """
        run = self._run
        if run is None or run.experiment_id != experiment.experiment_id:
            built = self._manifest(experiment)
            if built is None:
                self.close()
                self._run = self._start(experiment.experiment_id)
            return built
        code = run.process.poll()
        if code is None:
            return None
        said = _last_line(run.process)
        self._run = None
        if code == REFUSED:
            raise InvalidData(said or "The training set could not be built.")
        if code == UNAVAILABLE:
            raise Unavailable(said or "The lake did not answer.", dependency="S3")
        built = self._manifest(experiment) if code == 0 else None
        if built is None:
            self._count_failure(experiment.experiment_id, code)
        return built

    def cancel(self, experiment_id: str) -> None:
        if self._run is not None and self._run.experiment_id == experiment_id:
            self.close()

    def close(self) -> None:
        """End the builder, if one runs."""
        if self._run is not None:
            self._run.process.kill()
            self._run.process.communicate()
            self._run = None

    def source_uri(self, experiment_id: str) -> str:
        """Where the container finds our code. Uploaded once an experiment; later changes here do not reach it."""
        key = f"training/{experiment_id}/source/sourcedir.tar.gz"
        if self._objects.etag(key) is None:
            self._objects.put(key, source_archive(self._code))
        return f"s3://{self._bucket}/{key}"

    def features_uri(self, experiment_id: str) -> str:
        """The feature names of the training set as Autopilot's feature specification; the same set, the same bytes."""
        prefix = f"training/{experiment_id}/"
        raw, _ = self._objects.get(prefix + "schema.json")
        names = orjson.loads(raw)["features"]
        self._objects.put(prefix + "features.json", orjson.dumps({"FeatureAttributeNames": names}))
        return f"s3://{self._bucket}/{prefix}features.json"

    def _manifest(self, experiment: Experiment) -> Built | None:
        try:
            raw, _ = self._objects.get(f"training/{experiment.experiment_id}/manifest.json")
        except NotFound:
            return None
        held = orjson.loads(raw)
        if held.get("snapshot_id") != experiment.snapshot_id:
            return None
        young = int(held.get("young", {}).get("rows", 0))
        return Built(rows=int(held["rows"]), positives=int(held["positives"]), young=young)

    def _start(self, experiment_id: str) -> _Run:
        # The open pipe to its input is how the builder notices that this process is gone, however it went.
        process = subprocess.Popen(
            [*self._command, experiment_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT
        )
        return _Run(process, experiment_id)

    def _count_failure(self, experiment_id: str, code: int) -> None:
        failures = self._failures[experiment_id] = self._failures.get(experiment_id, 0) + 1
        if failures >= ATTEMPTS:
            how = f"was killed by signal {-code}; memory may be short" if code < 0 else f"ended with code {code}"
            raise InvalidData(f"Building the training set failed {failures} times: it {how}.")


def source_archive(folder: Path) -> bytes:
    """The Python files of `folder` as a .tar.gz at its top level; the same files are the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.glob("*.py")):
            body = path.read_bytes()
            member = tarfile.TarInfo(path.name)
            member.size, member.mode, member.mtime = len(body), 0o644, 0
            archive.addfile(member, io.BytesIO(body))
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # gzip without a time stamp
    return packer.compress(plain.getvalue()) + packer.flush()


def _last_line(process: subprocess.Popen[bytes]) -> str:
    out, _ = process.communicate()
    lines = out.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:500] if lines else ""
