"""Freezing: the whole training set of a selection with a flow, written to S3 once, its snapshots kept for good.

Order: the snapshots are named (so that expiry keeps them), the files are written, then the manifest with their sums,
and the caller records the set last. Whatever is cut off in between is no set: nothing lists it and nothing reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime

from services.access import Actor
from services.audit import AuditEntry
from services.features import Plan
from services.flow_training import raw_of, with_flow
from services.flows import FlowVersion
from services.frozen_sets import FrozenSet, prefix_of, tag_of
from services.lake import Lake
from services.lake_schema import LABELS_TABLE, TRANSACTIONS_TABLE
from services.training_beside import Recipe
from services.training_data_import import Say, Selection, read_raw, read_set
from services.training_files import write
from services.training_frozen import FLOW
from services.training_set import TRAIN, VALIDATION, YOUNG


def freeze(
    lake: Lake,
    selection: Selection,
    held: FlowVersion | None,
    put: Callable[[str, bytes], None],
    *,
    plan: Plan,
    recipe: Recipe | None = None,
    frozen_id: str,
    name: str,
    actor: Actor,
    now: datetime,
    say: Say,
) -> tuple[FrozenSet, AuditEntry]:
    """The record of the set and its audit entry, for the caller to store. InvalidData, NotFound, Unavailable."""
    tag = tag_of(frozen_id)
    lake.pin(selection.snapshot_id, tag, TRANSACTIONS_TABLE.name)
    if selection.labels_snapshot_id is not None:
        lake.pin(selection.labels_snapshot_id, tag, LABELS_TABLE.name)
    say("Reading the lake and replaying its history", 0.1)
    data = read_set(lake, selection, plan=plan, recipe=recipe)
    also: dict[str, bytes] = {}
    if held is not None:
        say("Running the flow", 0.6)
        raw = raw_of(held.flow.columns, data.schema["features"])
        data, fitted = with_flow(
            data, read_raw(lake, selection, raw), held.flow, flow_id=held.flow_id, version=held.version
        )
        also[FLOW] = json.dumps(fitted.flow.as_json(), indent=1).encode()
    say("Writing the files", 0.8)
    last = b""

    def put_and_keep(key: str, body: bytes) -> None:
        nonlocal last
        put(key, body)
        last = body

    write(
        data,
        put_and_keep,
        experiment_id=f"frozen/{frozen_id}",
        snapshot_id=selection.snapshot_id,
        labels_snapshot_id=selection.labels_snapshot_id,
        window_start=selection.window_start,
        window_end=selection.window_end,
        label_cutoff=selection.label_cutoff,
        also=also,
    )
    made = FrozenSet(
        frozen_id=frozen_id,
        name=name,
        snapshot_id=selection.snapshot_id,
        labels_snapshot_id=selection.labels_snapshot_id,
        window_start=selection.window_start,
        window_end=selection.window_end,
        label_cutoff=selection.label_cutoff,
        flow_id=held.flow_id if held else None,
        flow_version=held.version if held else None,
        features=tuple(data.schema["features"]),
        features_version=str(data.schema["features_version"]),
        rows=data.rows.num_rows,
        usable=len(data.labels),
        frauds=data.positives,
        train=int(data.chosen(TRAIN).sum()),
        validation=int(data.chosen(VALIDATION).sum()),
        young=int(data.chosen(YOUNG).sum()),
        sha256=hashlib.sha256(last).hexdigest(),  # the manifest is what `write` puts last
        prefix=prefix_of(frozen_id),
        frozen_by=actor.name,
        frozen_at=now,
    )
    return made, _audit(made, actor, now)


def _audit(made: FrozenSet, actor: Actor, now: datetime) -> AuditEntry:
    return AuditEntry(
        entry_id=f"{made.frozen_id}:training_data.freeze",
        at=now,
        actor=actor,
        action="training_data.freeze",
        object=made.frozen_id,
        before={},
        after={
            "name": made.name,
            "snapshot_id": made.snapshot_id,
            "flow": f"{made.flow_id}:{made.flow_version}" if made.flow_id else None,
            "label_cutoff": made.label_cutoff,
            "usable": made.usable,
            "sha256": made.sha256,
        },
        outcome="done",
    )
