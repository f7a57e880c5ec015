"""An import tells the verdicts of a batch right behind its transactions, which is before they became known.

What a later payment sees of them is the same but for one thing: whether a fraud was explained by its amount is decided
by its customer's mean at the moment the verdict arrives, and decides which frauds make up a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.features import State, plan, verdicts
from services.features.columns import Labels, Transactions, read_labels, read_transactions
from tests.unit.feature_columns import DAY, WIDE, differences, history

COUNT, LIVE = 1_500, 300
RUNS = {f"{kind}_{name}" for kind in ("merchant", "beneficiary")
        for name in ("unexplained_run", "run_age_days", "clean_since_fraud")}  # fmt: skip
Order = Callable[[Transactions, Labels], list[tuple[bool, int]]]


def imported(rows: Transactions, known: Labels) -> list[tuple[bool, int]]:
    """(whether a verdict, its place) in the order an import of batches of 40 rows writes them."""
    found: list[tuple[bool, int]] = []
    for begin in range(0, COUNT - LIVE, 40):
        found += [(False, row) for row in range(begin, begin + 40)]
        found += [(True, place) for place in np.flatnonzero(known.row // 40 == begin // 40).tolist()]
    return found


def as_known(rows: Transactions, known: Labels) -> list[tuple[bool, int]]:
    """Each verdict when it became known."""
    told = [(int(moment), 0, place) for place, moment in enumerate(known.known.tolist())]
    told += [(int(moment), 1, row) for row, moment in enumerate(rows.at[: COUNT - LIVE].tolist())]
    return [(kind == 0, place) for _, kind, place in sorted(told)]


def live(order: Order) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(offline, online) features of the last LIVE payments, after a history that was learned in this order."""
    transactions, _ = history(COUNT, seed=51, entities=100)
    transactions["event_ms"][COUNT - LIVE :] += 7 * DAY
    # Many amounts are about three times the customer's mean, which is what explains a fraud.
    transactions["amount_minor"] = np.random.default_rng(6).lognormal(8, 1.2, COUNT).astype(np.int64)
    columns: dict[str, Any] = transactions | {"received_ms": transactions["event_ms"]}
    fraud = np.flatnonzero(np.random.default_rng(5).random(COUNT - LIVE) < 0.2)
    moments = transactions["event_ms"][fraud] + 7 * DAY
    labels = {"row": fraud, "label": np.ones(len(fraud), np.int8), "labelled_ms": moments}
    rows, states = read_transactions(WIDE, columns), dict[str, State]()
    known = read_labels(labels, rows, None)
    for verdict, place in order(rows, known):
        if verdict:
            WIDE.observe_label(known.event(place, rows), states)
        else:
            WIDE.observe(rows.event(place), states)
    online = np.array([WIDE.step(rows.event(row), states) for row in range(COUNT - LIVE, COUNT)])
    return WIDE.matrix(columns, labels)[COUNT - LIVE :], online


def test_verdicts_told_as_they_became_known_give_what_training_computes() -> None:
    offline, online = live(as_known)
    assert differences(WIDE, offline, online) == {}
    assert all(np.nanmax(offline[:, WIDE.names.index(name)]) > 0 for name in RUNS)


def test_verdicts_told_behind_their_batch_change_runs_of_frauds_and_nothing_else() -> None:
    offline, online = live(imported)
    found = differences(WIDE, offline, online)
    assert found
    assert set(found) <= RUNS
    assert sum(found.values()) < 0.05 * len(RUNS) * LIVE


def test_it_is_the_customer_s_mean_alone_that_makes_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = live(imported)
    # No amount explains a fraud: then when a verdict arrives makes no difference at all.
    for module in (plan, verdicts):
        monkeypatch.setattr(module, "EXPLAINED_RATIO", 2**20)
    offline, online = live(imported)
    assert differences(WIDE, offline, online) == {}
    assert differences(WIDE, offline, before)
