"""The training set of an experiment from the snapshots it is pinned to; building it again gives the same bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from services.features import DEMO, Plan
from services.lake import Lake
from services.training import Experiment
from services.training_files import write
from services.training_set import build, columns_of

log = logging.getLogger(__name__)


def build_for(
    experiment: Experiment, lake: Lake, put: Callable[[str, bytes], None], plan: Plan = DEMO
) -> dict[str, Any]:
    """Replay the pinned snapshots, write the set through `put` and return its manifest.

    History is read from its beginning: features such as how long a customer is known would otherwise be learned
    shorter than scoring sees them. InvalidData when no training set can be made of the window, NotFound when a
    snapshot is not kept any more.
    """
    assert experiment.snapshot_id is not None, "snapshots are chosen before anything is built"
    transactions = lake.read_transactions(experiment.snapshot_id, end=experiment.window_end, columns=columns_of(plan))
    labels = lake.read_labels(experiment.labels_snapshot_id)
    log.info("lifecycle.replay transactions=%d labels=%d", transactions.num_rows, labels.num_rows)
    start, end, cutoff = experiment.window_start, experiment.window_end, experiment.label_cutoff
    data = build(transactions, labels, window_start=start, window_end=end, label_cutoff=cutoff, plan=plan)
    return write(
        data,
        put,
        experiment_id=experiment.experiment_id,
        snapshot_id=experiment.snapshot_id,
        labels_snapshot_id=experiment.labels_snapshot_id,
        window_start=start,
        window_end=end,
        label_cutoff=cutoff,
    )
