"""The lifecycle worker as a process of its own, on a lake that is always current, with a training set made here.

python -m tests.integration.lifecycle_process work
python -m tests.integration.lifecycle_process build <experiment id>
"""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.s3 import ObjectStore
from services.lake import Lake
from services.settings import Settings
from workers import lifecycle
from workers.lifecycle_wiring import wire

MODULE = "tests.integration.lifecycle_process"
FEATURES = ("amount", "velocity", "distance")
SNAPSHOT = 4711


class CurrentLake(Lake):
    """Has snapshots, and nothing to wait for as long as MongoDB is empty."""

    def __init__(self) -> None:
        pass

    def snapshot(self, table: str = "") -> int:
        return SNAPSHOT

    def pin(self, snapshot_id: int, tag: str, table: str = "") -> None:
        return None


def channel(seed: int, rows: int) -> bytes:
    """Fraud where amount and velocity are both high, with a little noise; one value in ten is missing."""
    random = np.random.default_rng(seed)
    matrix = random.random((rows, len(FEATURES)), dtype=np.float32)
    label = ((matrix[:, 0] + matrix[:, 1] + random.normal(0, 0.05, rows)) > 1.6).astype(np.int8)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    columns = {"label": label} | {name: matrix[:, n] for n, name in enumerate(FEATURES)}
    out = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata({"features_version": "1"}), out)
    return out.getvalue()


def build(experiment_id: str) -> None:
    settings = Settings.from_environment()
    objects = ObjectStore(settings.bucket, region=settings.region)
    prefix = f"training/{experiment_id}/"
    objects.put(f"{prefix}train/part-00000.parquet", channel(1, 2000))
    objects.put(f"{prefix}validation/part-00000.parquet", channel(2, 500))
    manifest = {"experiment_id": experiment_id, "snapshot_id": SNAPSHOT, "rows": 2500, "positives": 200}
    objects.put(f"{prefix}manifest.json", json.dumps(manifest).encode())


def main() -> int:
    if sys.argv[1] == "build":
        build(sys.argv[2])
        return 0
    settings = Settings.from_environment()
    return lifecycle.work(wire(settings, lake=CurrentLake, build_command=(sys.executable, "-m", MODULE, "build")))


if __name__ == "__main__":
    sys.exit(main())
