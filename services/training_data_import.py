"""Rows of one snapshot with features and labels, as a model would have met them: a sample to look at, with counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services import flow_inputs
from services.features import Plan
from services.flow_training import inputs
from services.lake import Lake
from services.training_beside import Recipe
from services.training_set import EXCLUDED, TRAIN, YOUNG, TrainingSet, build, columns_of

SAMPLE_ROWS = 30_000
SEED = 20_260_301
Say = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Selection:
    """Transactions with window_start <= event_time < window_end of one state of the lake; labels to the cut-off."""

    snapshot_id: int
    labels_snapshot_id: int | None
    window_start: datetime
    window_end: datetime
    label_cutoff: datetime

    @property
    def key(self) -> str:
        times = (self.window_start, self.window_end, self.label_cutoff)
        return ":".join([str(self.snapshot_id), str(self.labels_snapshot_id), *(t.isoformat() for t in times)])


@dataclass(frozen=True)
class Imported:
    """`table` [n] has every feature and raw column of a seeded random sample of the rows with a label, in time order.

    labels [n]: 1 fraud, 0 genuine; train [n]: belongs to the earlier part; event_ms [n]. The counts are of all rows:
    `rows` in the window, `usable` with a label, `frauds` among them, `young` of them too young to measure (not in the
    sample), `duplicates` rows equal in features and label to an earlier one.
    """

    selection: Selection
    features: tuple[str, ...]
    features_version: str
    raw: tuple[str, ...]
    table: pa.Table
    labels: NDArray[np.int8]
    train: NDArray[np.bool_]
    event_ms: NDArray[np.int64]
    rows: int
    usable: int
    frauds: int
    duplicates: int
    young: int = 0

    @property
    def sampled(self) -> bool:
        return self.table.num_rows < self.usable - self.young


def read_set(lake: Lake, selection: Selection, *, plan: Plan, recipe: Recipe | None = None) -> TrainingSet:
    """The whole training set of a selection with the plan's features. InvalidData when nothing can be learned of it."""
    wanted = columns_of(plan, recipe)
    transactions = lake.read_transactions(selection.snapshot_id, end=selection.window_end, columns=wanted)
    labels = lake.read_labels(selection.labels_snapshot_id)
    return build(
        transactions,
        labels,
        window_start=selection.window_start,
        window_end=selection.window_end,
        label_cutoff=selection.label_cutoff,
        plan=plan,
        recipe=recipe,
    )


def read_raw(lake: Lake, selection: Selection, raw: list[str]) -> pa.Table:
    """The lake's rows of the window with what raw inputs are made of."""
    return lake.read_transactions(
        selection.snapshot_id,
        start=selection.window_start,
        end=selection.window_end,
        columns=flow_inputs.lake_columns(raw),
    )


def take(lake: Lake, selection: Selection, *, plan: Plan, say: Say, sample_rows: int = SAMPLE_ROWS) -> Imported:
    """Import a selection. InvalidData, one sentence, when no model could be trained on it; NotFound, Unavailable."""
    say("Reading the lake and replaying its history", 0.1)
    data = read_set(lake, selection, plan=plan)
    say("Reading what else transactions carry", 0.7)
    transactions = read_raw(lake, selection, [*flow_inputs.RAW, flow_inputs.ATTRIBUTES])
    raw = [
        name
        for name in flow_inputs.RAW
        if name != flow_inputs.TIME and transactions[name].null_count < len(transactions)
    ]
    raw = [flow_inputs.TIME, *raw, *flow_inputs.attribute_names(transactions)]
    features = tuple(data.schema["features"])
    say("Taking a sample", 0.9)
    young = data.chosen(YOUNG)
    kept = np.flatnonzero(~young)[sample(int((~young).sum()), sample_rows)]
    usable = data.rows.filter(pc.not_equal(data.rows["split"], EXCLUDED))
    table = inputs(data, transactions, [*features, *raw])
    return Imported(
        selection=selection,
        features=features,
        features_version=str(data.schema["features_version"]),
        raw=tuple(raw),
        table=table.take(pa.array(kept)),
        labels=data.labels[kept],
        train=data.chosen(TRAIN)[kept],
        event_ms=usable["event_time"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy()[kept],
        rows=data.rows.num_rows,
        usable=len(data.labels),
        frauds=data.positives,
        duplicates=duplicates(data.matrix, data.labels),
        young=int(young.sum()),
    )


def sample(count: int, most: int) -> NDArray[np.int64]:
    """Places of at most `most` of `count` rows, chosen at random with a fixed seed, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, most, replace=False))


def duplicates(matrix: NDArray[np.float32], labels: NDArray[np.int8]) -> int:
    """Rows whose features and label are all equal to those of an earlier row; missing equals missing."""
    rows = np.ascontiguousarray(np.column_stack([np.nan_to_num(matrix, nan=-3.4e38), labels.astype(np.float32)]))
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return len(keys) - len(np.unique(keys))
