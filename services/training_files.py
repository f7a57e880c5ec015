"""A training set as the files that its job reads: Parquet channels, every row's fate, a schema and a manifest."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.training_set import TRAIN, VALIDATION, YOUNG, TrainingSet


def write(
    data: TrainingSet,
    put: Callable[[str, bytes], None],
    *,
    experiment_id: str,
    snapshot_id: int | str,
    window_start: datetime,
    window_end: datetime,
    label_cutoff: datetime,
    labels_snapshot_id: int | str | None = None,
    also: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Put the set under `training/<experiment_id>/` and return its manifest, which is put last.

    The channel `young` is there where such rows are; a manifest without `layout` is of a set that knew none.
    `also` are further files of the set by name. The same set gives the same bytes, so writing again after a crash
    changes nothing. Times are ISO 8601 in UTC.
    """
    prefix = f"training/{experiment_id}/"
    about: dict[str, Any] = {
        "experiment_id": experiment_id,
        "snapshot_id": snapshot_id,
        "labels_snapshot_id": labels_snapshot_id,
        "window_start": _iso(window_start),
        "window_end": _iso(window_end),
        "label_cutoff": _iso(label_cutoff),
        **({"flow": data.schema["flow"]} if "flow" in data.schema else {}),
    }
    if data.recipe.layout > 1:
        about |= _layout_2(data)
    channels = [split for split in (TRAIN, VALIDATION, YOUNG) if data.chosen(split).any()]
    files = {
        **{f"{split}/part-00000.parquet": _channel(data, split, about) for split in channels},
        "rows.parquet": _parquet(data.rows),
        "schema.json": json.dumps(data.schema, indent=1).encode(),
        **(also or {}),
    }
    manifest = about | {
        **data.recipe.as_json(),
        "rows": len(data.labels),
        "positives": data.positives,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    for name, content in files.items():
        put(prefix + name, content)
    put(prefix + "manifest.json", json.dumps(manifest, indent=1).encode())
    return manifest


def _layout_2(data: TrainingSet) -> dict[str, Any]:
    """What sets say of themselves since they have young rows and dimensions."""
    young = data.labels[data.chosen(YOUNG)]
    return {
        "young": {"rows": len(young), "positives": int(young.sum())},
        "segments": {dimension.key: dimension.title for dimension in data.recipe.dimensions},
    }


def _channel(data: TrainingSet, split: str, about: Mapping[str, Any]) -> bytes:
    """Label, what stands beside the features, the features; `about` and the features' words go along as metadata."""
    matrix, labels = data.part(split)
    names: list[str] = list(data.schema["features"])
    beside = data.beside.filter(pa.array(data.chosen(split)))
    columns = [
        pa.array(labels),
        *(column.combine_chunks() for column in beside.columns),
        *(pa.array(np.ascontiguousarray(matrix[:, place])) for place in range(len(names))),
    ]
    words = {spec.name: {"title": spec.title, "unit": spec.unit} for spec in data.plan.features}
    metadata = {
        "features_version": str(data.schema["features_version"]),
        "training_set": json.dumps({**about, "features": words}, sort_keys=True),
    }
    table = pa.Table.from_arrays(columns, names=["label", *beside.column_names, *names])
    return _parquet(table.replace_schema_metadata(metadata))


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
