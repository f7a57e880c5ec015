"""The training set of an experiment from the snapshots it is pinned to; building it again gives the same bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from services import flow_inputs
from services.features import DEMO, Plan
from services.flow_training import raw_of, with_flow
from services.flows import FitOrigin, FlowStore
from services.lake import Lake
from services.training import Experiment
from services.training_beside import Recipe
from services.training_files import write
from services.training_frozen import FLOW
from services.training_set import build, columns_of

log = logging.getLogger(__name__)


def build_for(
    experiment: Experiment,
    lake: Lake,
    put: Callable[[str, bytes], None],
    plan: Plan = DEMO,
    flows: FlowStore | None = None,
    recipe: Recipe | None = None,
) -> dict[str, Any]:
    """Replay the pinned snapshots, run the experiment's flow, write the set through `put` and return its manifest.

    Of an experiment on a frozen set this makes the frozen set once more, under its own name, to be compared with it.

    The fitted flow is kept in `flows` before the manifest is written: scoring runs it for the model of the experiment.

    History is read from its beginning: features such as how long a customer is known would otherwise be learned
    shorter than scoring sees them. InvalidData when no training set can be made of the window, NotFound when a
    snapshot is not kept any more.
    """
    assert experiment.snapshot_id is not None, "snapshots are chosen before anything is built"
    name = f"frozen/{experiment.frozen}" if experiment.frozen else experiment.experiment_id
    also: dict[str, bytes] = {}
    recipe = recipe or Recipe()
    wanted = columns_of(plan, recipe)
    transactions = lake.read_transactions(experiment.snapshot_id, end=experiment.window_end, columns=wanted)
    labels = lake.read_labels(experiment.labels_snapshot_id)
    log.info("lifecycle.replay transactions=%d labels=%d", transactions.num_rows, labels.num_rows)
    start, end, cutoff = experiment.window_start, experiment.window_end, experiment.label_cutoff
    data = build(
        transactions, labels, window_start=start, window_end=end, label_cutoff=cutoff, plan=plan, recipe=recipe
    )
    if experiment.flow is not None:
        assert flows is not None, "an experiment with a flow is built with the flows"
        held = flows.get(*experiment.flow)
        raw = flow_inputs.lake_columns(raw_of(held.flow.columns, data.schema["features"]))
        rows = lake.read_transactions(experiment.snapshot_id, start=start, end=end, columns=raw)
        data, fitted = with_flow(data, rows, held.flow, flow_id=held.flow_id, version=held.version)
        also[FLOW] = json.dumps(fitted.flow.as_json(), indent=1).encode()
        flows.keep_fit(FitOrigin(experiment.experiment_id, held.flow_id, held.version), fitted.flow)
    return write(
        data,
        put,
        experiment_id=name,
        snapshot_id=experiment.snapshot_id,
        labels_snapshot_id=experiment.labels_snapshot_id,
        window_start=start,
        window_end=end,
        label_cutoff=cutoff,
        also=also,
    )
