"""Known frauds over columns: from when to when each one counts for each row of its entities.

What comes out are spans of time, and rows are counted into them column by column. Where verdicts are plain, frauds
that all stand and became known in the order they happened, spans are made by columns; all others are few, so that
each is put through the same `add_verdict` that the scorer calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints, Labels, Transactions, clipped
from services.features.counterparty import RATE_DAYS, RUN_ENDS_MS
from services.features.grouping import Group, changes, sorting, sums
from services.features.memory import (
    BLOCK,
    BLOCKS,
    DAY_MS,
    EXPLAINED_RATIO,
    FRAUDS_MAX,
    RUN_GAP_MS,
    State,
    add_verdict,
    new_risk,
)

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

    def of(self, chosen: Any) -> Verdicts:
        return Verdicts(
            self.row[chosen], self.fraud[chosen], self.known[chosen], self.at[chosen], self.unexplained[chosen]
        )


@dataclass(slots=True)
class Spans:
    """Of one kind, in order of the entity. Frauds: `code` of the entity, `known` from when, `end` until when
    (exclusive) it stands and is remembered, `cleared` until when it counts towards the day it became known. Runs: from
    `run_known` on, the entity's latest run is `run` [m, 4] (length, first and last event time, when that became known;
    length 0: none)."""

    code: NDArray[np.int32]
    known: Ints
    end: Ints
    cleared: Ints
    run_code: NDArray[np.int32]
    run_known: Ints
    run: Ints

    def columns(self) -> tuple[NDArray[Any], ...]:
        return self.code, self.known, self.end, self.cleared, self.run_code, self.run_known, self.run

    def of(self, frauds: Any, runs: Any) -> Spans:
        """Those chosen among the frauds and among the runs."""
        return Spans(*(c[frauds] for c in self.columns()[:4]), *(c[runs] for c in self.columns()[4:]))

    def among(self, present: Group) -> Spans:
        """Those of the entities from the group's first to its last."""
        if not len(present):
            return self.of(slice(0), slice(0))
        ends = [int(present.code[0]), int(present.code[-1]) + 1]
        return self.of(slice(*np.searchsorted(self.code, ends)), slice(*np.searchsorted(self.run_code, ends)))


def relevant(rows: Transactions, labels: Labels, payers: Group) -> Verdicts:
    """Without the verdicts on transactions that nobody ever called fraud. `payers`: all of the first kind."""
    called = np.zeros(len(rows), np.bool_)
    called[labels.row[labels.fraud]] = True
    kept = called[labels.row]
    row, known = labels.row[kept], labels.known[kept]
    return Verdicts(row, labels.fraud[kept], known, rows.at[row], _unexplained(rows, payers, row, known))


def _unexplained(rows: Transactions, payers: Group, row: Ints, known: Ints) -> NDArray[np.bool_]:
    """Whether the amount was ordinary for its payer when the verdict became known."""
    running, payer = sums(clipped(rows.amount[payers.rows])), rows.names[0].code[row]
    # By arrival, which is the order in which the usual amount was learned, whatever the event times.
    begin = np.searchsorted(payers.code, payer)
    last = np.searchsorted(payers.code, payer, side="right")
    end = _first_from(rows.arrival, payers.rows, begin, last, known)
    before = end - begin
    since = begin + BLOCK * np.maximum(0, -(-before // BLOCK) - BLOCKS)
    counted, total = end - since, running[end] - running[since]
    return (payer < 0) | (counted == 0) | (clipped(rows.amount[row]) * counted <= EXPLAINED_RATIO * total)


def _first_from(times: Ints, order: Ints, begin: Ints, end: Ints, at: Ints) -> Ints:
    """Of each range of `order`, whose times ascend, the first place at or after a time (the end where there is none):
    a binary search, all ranges at once."""
    begin, end = begin.copy(), end.copy()
    while len(open_ := np.flatnonzero(begin < end)):
        middle = (begin[open_] + end[open_]) // 2
        early = times[order[middle]] < at[open_]
        begin[open_[early]] = middle[early] + 1
        end[open_[~early]] = middle[~early]
    return begin


def spans(verdicts: Verdicts, codes: NDArray[np.int32]) -> Spans:
    """`codes`: the entity of every transaction, -1 where absent."""
    entity = codes[verdicts.row]
    order = np.flatnonzero(entity >= 0)
    order = order[sorting(entity[order])]
    v = verdicts.of(order)
    plain = _plain(entity[order], v)
    one, other = _straight(entity[order][plain], v.of(plain)), _one_by_one(entity[order][~plain], v.of(~plain))
    return _together(one, other)


def _plain(entity: NDArray[np.int32], v: Verdicts) -> NDArray[np.bool_]:
    """Whether a verdict is on an entity with frauds only, each told once, in order, and few enough to be kept."""
    first = changes(entity)
    count = np.diff(first, append=len(entity))
    which = np.repeat(np.arange(len(first)), count)
    odd = count > FRAUDS_MAX
    odd[which[~v.fraud]] = True
    odd[which[1:][(np.diff(v.at) < 0) & (which[1:] == which[:-1])]] = True
    # The same transaction of an entity again: rows side by side.
    by_row = np.argsort(v.row, kind="stable")
    again = v.row[by_row[1:]] == v.row[by_row[:-1]]
    odd[which[by_row[1:][again]]] = True
    return ~odd[which]


def _straight(entity: NDArray[np.int32], v: Verdicts) -> Spans:
    """Spans of frauds that all stand: what `add_verdict` would make of them, by columns."""
    forever = np.full(len(entity), FOREVER)
    bare = np.flatnonzero(v.unexplained)
    code, at, known = entity[bare], v.at[bare], v.known[bare]
    begins = np.ones(len(bare), np.bool_)
    begins[1:] = (code[1:] != code[:-1]) | (at[1:] - at[:-1] > RUN_GAP_MS)
    here = np.arange(len(bare))
    first = np.maximum.accumulate(np.where(begins, here, 0))
    run = np.stack([here - first + 1, at[first], at, known], axis=1)
    return Spans(entity, v.known, forever, forever, code, known, run)


def _together(one: Spans, other: Spans) -> Spans:
    if not len(other.code) and not len(other.run_code):
        return one
    whole = Spans(*(np.concatenate([a, b]) for a, b in zip(one.columns(), other.columns(), strict=True)))
    frauds, runs = np.argsort(whole.code, kind="stable"), np.argsort(whole.run_code, kind="stable")
    return whole.of(frauds, runs)


def _one_by_one(entity: NDArray[np.int32], verdicts: Verdicts) -> Spans:
    """Each verdict through the scorer's own `add_verdict`."""
    states: dict[int, State] = {}
    code: list[int] = []
    known: list[int] = []
    end: list[int] = []
    cleared: list[int] = []
    open_: dict[tuple[int, int], int] = {}
    run_code, run_known, runs = [], [], []
    columns = (entity, verdicts.row, verdicts.fraud, verdicts.known, verdicts.at, verdicts.unexplained)
    for who, row, fraud, moment, at, bare in zip(*(column.tolist() for column in columns), strict=True):
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


def known_frauds(found: Spans, present: Group, days: int) -> Ints:
    """For each row, how many frauds of its entity became known in the last `days` days and stand."""
    last = np.minimum(found.known + days * DAY_MS, found.end - 1)
    return present.stabbed(present.first_from(found.code, found.known), present.until(found.code, last))


def rate_frauds(found: Spans, present: Group) -> Ints:
    """The same by UTC day: those that became known today or on the last RATE_DAYS days."""
    last = np.minimum((found.known // DAY_MS + RATE_DAYS + 1) * DAY_MS - 1, found.cleared - 1)
    return present.stabbed(present.first_from(found.code, found.known), present.until(found.code, last))


def latest_runs(found: Spans, present: Group) -> tuple[Ints, Ints]:
    """(the rows of whose entity a run is known that has not ended, which of the runs is the latest of each)."""
    begin = present.first_from(found.run_code, found.run_known)
    end = present.until(found.run_code, found.run[:, 2] + RUN_ENDS_MS)
    same = np.flatnonzero(found.run_code[1:] == found.run_code[:-1])
    end[same] = np.minimum(end[same], begin[same + 1])
    length = np.where(found.run[:, 0] > 0, np.maximum(end - begin, 0), 0)
    former = np.cumsum(length) - length
    rows = np.arange(int(length.sum())) + np.repeat(begin - former, length)
    return rows, np.repeat(np.arange(len(length)), length)
