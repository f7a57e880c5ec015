"""A flow on a training set: fitted on its training rows, run on all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services import flow_inputs
from services.flow_engine import Fitted, fit
from services.flow_steps import Flow
from services.training_set import EXCLUDED, TRAIN, TrainingSet, check_features


def raw_of(columns: Iterable[str], features: Sequence[str]) -> list[str]:
    """Those of a flow's columns that are read from the transaction itself, in order."""
    return [name for name in columns if name not in set(features)]


def inputs(data: TrainingSet, transactions: pa.Table, columns: Sequence[str]) -> pa.Table:
    """`columns` of the n rows of the set that are not excluded, in its order.

    `transactions` are rows of the lake with `flow_inputs.lake_columns` of the raw ones, in any order.
    """
    features = {name: place for place, name in enumerate(data.schema["features"])}
    raw = raw_of(columns, list(features))
    kept = data.rows.filter(pc.not_equal(data.rows["split"], EXCLUDED))["transaction_id"]
    held = {}
    if raw:
        ids = transactions["transaction_id"].combine_chunks()
        places = pc.index_in(kept.combine_chunks(), value_set=ids)
        held = flow_inputs.from_lake(transactions.take(places), raw)
    return flow_inputs.table(columns, features, data.matrix, held)


def with_flow(
    data: TrainingSet, transactions: pa.Table, flow: Flow, *, flow_id: str, version: int
) -> tuple[TrainingSet, Fitted]:
    """The set with the flow's columns in place of the plan's features, and the fitted flow.

    InvalidData, naming the step, when the flow cannot be run on these rows, or leaves nothing to learn from.
    """
    rows = inputs(data, transactions, flow.columns)
    fitted = fit(flow, rows, train=data.chosen(TRAIN), labels=data.labels)
    schema = {
        **data.schema,
        "features": list(fitted.flow.outputs),
        "flow": {"id": flow_id, "version": version},
    }
    matrix = np.ascontiguousarray(fitted.matrix())
    check_features(matrix[data.chosen(TRAIN)])
    return replace(data, matrix=matrix, schema=schema), fitted
