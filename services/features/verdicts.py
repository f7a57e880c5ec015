"""Known frauds over columns: from when to when each one counts for each row of its entities.

Frauds are few, so that each is put through the same `add_verdict` that the scorer calls; what comes out are spans of
time, and rows are counted into them column by column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints, Labels, Transactions, clipped
from services.features.counterparty import RATE_DAYS
from services.features.grouping import Group, group, sums
from services.features.memory import BLOCK, BLOCKS, DAY_MS, EXPLAINED_RATIO, State, add_verdict, new_risk

FOREVER = 2**61


@dataclass(slots=True)
class Verdicts:
    """The labels that can change anything, in the order in which they became known."""

    row: Ints
    fraud: NDArray[np.bool_]
    known: Ints
    at: Ints
    unexplained: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(slots=True)
class Spans:
    """Of one kind. Frauds: `code` of the entity, `known` from when, `end` until when (exclusive) it stands and is
    remembered, `cleared` until when it counts towards the day it became known. Runs: from `run_known` on, the
    entity's latest run is `run` [m, 4] (length, first and last event time, when that became known; length 0: none)."""

    code: NDArray[np.int32]
    known: Ints
    end: Ints
    cleared: Ints
    run_code: NDArray[np.int32]
    run_known: Ints
    run: Ints


def relevant(rows: Transactions, labels: Labels) -> Verdicts:
    """Without the verdicts on transactions that nobody ever called fraud."""
    called = np.zeros(len(rows), np.bool_)
    called[labels.row[labels.fraud]] = True
    kept = called[labels.row]
    row, known = labels.row[kept], labels.known[kept]
    return Verdicts(row, labels.fraud[kept], known, rows.at[row], _unexplained(rows, row, known))


def _unexplained(rows: Transactions, row: Ints, known: Ints) -> NDArray[np.bool_]:
    """Whether the amount was ordinary for its payer when the verdict became known."""
    code, amount = rows.names[0].code, clipped(rows.amount)
    # By arrival, which is the order in which the usual amount was learned, whatever the event times.
    payers = group(np.flatnonzero(code >= 0), code, rows.arrival)
    running = sums(amount[payers.rows])
    payer = code[row]
    begin = payers.first_from(payer, np.full(len(row), -FOREVER))
    end = payers.first_from(payer, known)
    before = end - begin
    since = begin + BLOCK * np.maximum(0, -(-before // BLOCK) - BLOCKS)
    counted, total = end - since, running[end] - running[since]
    return (payer < 0) | (counted == 0) | (amount[row] * counted <= EXPLAINED_RATIO * total)


def spans(verdicts: Verdicts, codes: NDArray[np.int32]) -> Spans:
    """`codes`: the entity of every transaction, -1 where absent."""
    states: dict[int, State] = {}
    code: list[int] = []
    known: list[int] = []
    end: list[int] = []
    cleared: list[int] = []
    open_: dict[tuple[int, int], int] = {}
    run_code, run_known, runs = [], [], []
    entity = codes[verdicts.row]
    columns = (entity, verdicts.row, verdicts.fraud, verdicts.known, verdicts.at, verdicts.unexplained)
    for who, row, fraud, moment, at, bare in zip(*(column.tolist() for column in columns), strict=True):
        if who < 0:
            continue
        state = states.get(who)
        if state is None:
            state = states[who] = new_risk()
        former = state["run"]
        added, ended, was_cleared = add_verdict(state, row, fraud=fraud, known_ms=moment, event_ms=at, unexplained=bare)
        for entry in ended:
            place = open_.pop((who, entry[0]))
            end[place] = moment
            if was_cleared:
                cleared[place] = moment
        if added:
            open_[who, row] = len(code)
            code.append(who)
            known.append(moment)
            end.append(FOREVER)
            cleared.append(FOREVER)
        if state["run"] != former:
            run_code.append(who)
            run_known.append(moment)
            runs.append(state["run"] or [0, 0, 0, 0])
    return Spans(
        np.array(code, np.int32),
        np.array(known, np.int64),
        np.array(end, np.int64),
        np.array(cleared, np.int64),
        np.array(run_code, np.int32),
        np.array(run_known, np.int64),
        np.array(runs, np.int64).reshape(-1, 4),
    )


def of_group(found: Spans, present: Group) -> Spans:
    """Those of the group's entities, runs in the order of its keys."""
    there = np.zeros(1 + max(int(c.max(initial=0)) for c in (present.code, found.code, found.run_code)), np.bool_)
    there[present.code] = True
    kept, runs = there[found.code], np.flatnonzero(there[found.run_code])
    runs = runs[np.argsort(present.keys(found.run_code[runs], found.run_known[runs]), kind="stable")]
    return Spans(
        found.code[kept],
        found.known[kept],
        found.end[kept],
        found.cleared[kept],
        found.run_code[runs],
        found.run_known[runs],
        found.run[runs],
    )


def known_frauds(found: Spans, present: Group, days: int) -> Ints:
    """For each row, how many frauds of its entity became known in the last `days` days and stand."""
    last = np.minimum(found.known + days * DAY_MS, found.end - 1)
    return present.stabbed(present.first_from(found.code, found.known), present.until(found.code, last))


def rate_frauds(found: Spans, present: Group) -> Ints:
    """The same by UTC day: those that became known today or on the last RATE_DAYS days."""
    last = np.minimum((found.known // DAY_MS + RATE_DAYS + 1) * DAY_MS - 1, found.cleared - 1)
    return present.stabbed(present.first_from(found.code, found.known), present.until(found.code, last))


def latest_runs(found: Spans, present: Group) -> Ints:
    """[n, 4] for each row the latest run of its entity, as `Spans.run` has it; zeros where there is none."""
    if not len(found.run):
        return np.zeros((len(present), 4), np.int64)
    place = np.searchsorted(present.keys(found.run_code, found.run_known), present.key, side="right") - 1
    there = np.maximum(place, 0)
    valid = (place >= 0) & (found.run_code[there] == present.code) & (found.run[there, 0] > 0)
    out: Ints = np.where(valid[:, None], found.run[there], 0)
    return out
