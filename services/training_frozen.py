"""A frozen training set as the data of an experiment: its very files, checked against the sums that it was frozen with.

Nothing is read from the lake: what the job gets are the bytes that the frozen set has, so every model trained on the
set learned from the same rows, labels and columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from services.errors import InvalidData, NotFound
from services.experiment import Experiment
from services.flows import FitOrigin, FlowStore
from services.frozen_sets import FrozenSet

FLOW = "flow.json"


def take_frozen(
    experiment: Experiment,
    held: FrozenSet,
    get: Callable[[str], bytes],
    put: Callable[[str, bytes], None],
    flows: FlowStore,
) -> dict[str, Any]:
    """Copy the set's files to the experiment's place, keep its fitted flow, and return the manifest, which is put last.

    InvalidData when a file is not what it was when it was frozen; NotFound when one is gone. Nothing is trained then.
    """
    raw = _file(held, "manifest.json", get)
    digest = hashlib.sha256(raw).hexdigest()
    if digest != held.sha256 or experiment.frozen_sha256 not in (None, digest):
        raise _changed(held, "manifest.json")
    manifest = json.loads(raw)
    prefix = f"training/{experiment.experiment_id}/"
    for name, expected in manifest["sha256"].items():
        body = _file(held, name, get)
        if hashlib.sha256(body).hexdigest() != expected:
            raise _changed(held, name)
        put(prefix + name, body)
    if held.flow is not None:
        _keep_flow(experiment, held, get, put, flows)
    made = manifest | {
        "experiment_id": experiment.experiment_id,
        "frozen": held.frozen_id,
        "frozen_sha256": digest,
    }
    put(prefix + "manifest.json", json.dumps(made, indent=1).encode())
    return dict(made)


def _keep_flow(
    experiment: Experiment,
    held: FrozenSet,
    get: Callable[[str], bytes],
    put: Callable[[str, bytes], None],
    flows: FlowStore,
) -> None:
    """What scoring runs for the model: the flow as it was fitted when the set was frozen."""
    from services.flow_engine import from_json  # with DuckDB, which nobody needs before there is a flow

    assert held.flow is not None
    body = _file(held, FLOW, get)
    fitted = from_json(json.loads(body))
    if tuple(fitted.outputs) != held.features or fitted.flow != flows.get(*held.flow).flow:
        raise _changed(held, FLOW)
    put(f"training/{experiment.experiment_id}/{FLOW}", body)
    flows.keep_fit(FitOrigin(experiment.experiment_id, *held.flow), fitted)


def _file(held: FrozenSet, name: str, get: Callable[[str], bytes]) -> bytes:
    try:
        return get(held.prefix + name)
    except NotFound as error:
        raise NotFound(f"The frozen training set {held.name} has lost its file {name}; freeze it again.") from error


def _changed(held: FrozenSet, name: str) -> InvalidData:
    return InvalidData(
        f"The file {name} of the frozen training set {held.name} is not what was frozen; nothing was trained. "
        "Freeze the rows again."
    )
