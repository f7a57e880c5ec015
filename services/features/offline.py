"""The offline driver: the plan over whole columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Labels, Source, Transactions, read_labels, read_transactions
from services.features.memory import State
from services.features.plan import Plan


def matrix(
    plan: Plan, transactions: Source, labels: Source | None, *, since_ms: int | None = None
) -> NDArray[np.float32]:
    """[n, f] float32, rows as given, features as `plan.names`: what `compute` gives when each transaction arrives.

    Transactions arrive by received_ms (event_ms where there is none), equal ones in the order given, and labels by
    labelled_ms, before a transaction of the same moment. With `since_ms` only transactions at or after it are rows.
    """
    rows = read_transactions(plan, transactions)
    ids = transactions["transaction_id"] if labels is not None and "row" not in labels else None
    return by_rows(plan, rows, read_labels(labels, rows, ids), since_ms)


def by_rows(plan: Plan, rows: Transactions, labels: Labels, since_ms: int | None = None) -> NDArray[np.float32]:
    """The same, one transaction at a time."""
    states: dict[str, State] = {}
    chosen = rows.at >= (since_ms if since_ms is not None else -(2**62))
    out = np.zeros((len(rows), len(plan.names)), np.float32)
    waiting = 0
    for row in range(len(rows)):
        while waiting < len(labels) and labels.known[waiting] <= rows.arrival[row]:
            plan.observe_label(labels.event(waiting, rows), states)
            waiting += 1
        event = rows.event(row)
        if chosen[row]:
            out[rows.given[row]] = plan.compute(event, states)
        plan.observe(event, states)
    kept = np.zeros(len(rows), np.bool_)
    kept[rows.given] = chosen
    return out[kept]
