"""The features of a block of entities of which some transactions arrived late."""

from __future__ import annotations

from operator import itemgetter

import numpy as np

from services.features import counterparty, history
from services.features.columns import Floats, Ints, clipped
from services.features.company import company, geography
from services.features.counterparty import Traffic
from services.features.grouping import pairs
from services.features.history import History
from services.features.memory import (
    DAY_MS,
    WINDOW_MS,
    State,
    add_to_day,
    add_to_history,
    meet,
    new_category,
    new_counterparty,
    new_history,
)
from services.features.plan import Plan
from services.features.stragglers import Block, walk
from services.features.stretches import Stretches, forward_days, forward_history, forward_seen
from services.features.verdicts import Spans, known_frauds, latest_runs
from services.features.windows import (
    NOTHING,
    by_day,
    clean,
    day_after,
    ever,
    frauds,
    others,
    remembered,
    runs,
    scattered,
)


class _Payers:
    """Walks payers; `first`: the plan's first kind, which remembers whom it met."""

    def __init__(self, plan: Plan, block: Block, amount: Ints, *, first: bool) -> None:
        rows, g = block.late.rows, block.g
        self._plan, self._block, self._amount, self._first = plan, block, amount, first
        self._kinds = [kind.name for kind in plan.kinds[1:]] if first else []
        self.codes = [names.code[g.rows] for names in rows.names[1:]] if first else []
        self._after = [pairs(g, code)[1] for code in self.codes]
        self.read: list[History] = []
        self.beside: list[list[float]] = []
        self.lengths: list[int] = []
        self.times: list[int] = []
        self.amounts: list[int] = []
        self.seen_lengths: list[int] = []
        self.seen: list[tuple[int, int, int]] = []  # (time, kind, name)

    def new(self) -> State:
        return new_history(self._kinds)

    def visit(self, state: State, position: int) -> None:
        at = int(self._block.event[position])
        self.read.append(history.read(state, at))
        if self._first:
            event = self._block.late.rows.event(int(self._block.g.rows[position]), coded=True)
            self.beside.append(self._plan.company(event, state))
        add_to_history(state, at, int(self._amount[position]))
        if self._first:
            self._plan.observe_company(event, state)

    def begin(self, state: State) -> None:
        self.lengths.append(len(state["times"]))
        self.times += state["times"]
        self.amounts += state["amounts"]
        if self._first:
            seen = [
                (at, place, name)
                for place, kind in enumerate(self._kinds)
                for name, at in zip(*state["seen"][kind].values(), strict=True)
            ]
            self.seen_lengths.append(len(seen))
            self.seen += sorted(seen, key=itemgetter(0))

    def forward(self, state: State, begin: int, end: int) -> None:
        at = self._block.event[begin:end]
        forward_history(state, at, self._amount[begin:end])
        for kind, codes, after in zip(self._kinds, self.codes, self._after, strict=True):
            forward_seen(state["seen"][kind], at, codes[begin:end], after[begin:end], end)


class _Counterparties:
    """Walks counterparties, and categories, which remember no payers."""

    def __init__(self, block: Block, amount: Ints, *, category: bool) -> None:
        self._block, self._amount, self._category = block, amount, category
        self.payer = block.late.rows.names[0].code[block.g.rows]
        self._after = pairs(block.g, self.payer)[1]
        self.read: list[Traffic] = []
        self.lengths: list[int] = []
        self.kept: list[tuple[int, int, int, int]] = []  # (time, transactions, their sum, payer)

    def new(self) -> State:
        return new_category() if self._category else new_counterparty()

    def visit(self, state: State, position: int) -> None:
        at, who = int(self._block.event[position]), int(self.payer[position])
        self.read.append(counterparty.read(state, at, None if self._category or who < 0 else who))
        add_to_day(state, at, int(self._amount[position]))
        if not self._category and who >= 0:
            meet(state["payers"], at, who)

    def begin(self, state: State) -> None:
        days = zip(state["days"], state["counts"], state["sums"], strict=True)
        kept = [(day * DAY_MS, count, total, -1) for day, count, total in days]
        if not self._category:
            kept += [(at, 0, 0, name) for name, at in zip(*state["payers"].values(), strict=True)]
        self.lengths.append(len(kept))
        self.kept += sorted(kept, key=itemgetter(0))

    def forward(self, state: State, begin: int, end: int) -> None:
        at = self._block.event[begin:end]
        forward_days(state, at, self._amount[begin:end])
        if not self._category:
            forward_seen(state["payers"], at, self.payer[begin:end], self._after[begin:end], end)


def late_histories(plan: Plan, block: Block, found: Spans, *, first: bool) -> tuple[History, list[Floats]]:
    """(history, and of the first kind whom it met and where it was) of a block of payers."""
    amount = clipped(block.late.rows.amount[block.g.rows])
    walked = _Payers(plan, block, amount, first=first)
    walk(block, walked)
    s = Stretches(block.g.code, block.alone, walked.lengths)
    cut = remembered(s.group(s.column(walked.times, block.event)), s.column(walked.amounts, amount))
    told = {name: s.back(values) for name, values in cut.items()}
    told["frauds_28d"] = known_frauds(found, block.g, 28)
    read = dict(zip(History._fields, np.array(walked.read, np.int64).T, strict=True))
    for name, values in told.items():
        values[block.walked] = read[name]
    whole = History(**told, **ever(block.g, amount, block.event, block.age))
    return whole, _beside(plan, block, walked) if first else []


def _beside(plan: Plan, block: Block, walked: _Payers) -> list[Floats]:
    s = Stretches(block.g.code, block.alone, walked.seen_lengths)
    at, kind, name = np.array(walked.seen, np.int64).reshape(-1, 3).T
    codes = [s.column(np.where(kind == place, name, -1), code) for place, code in enumerate(walked.codes)]
    known = s.column(True, block.g.place > 0)
    out = [s.back(column) for column in company(plan, s.group(s.column(at, block.event)), codes, known)]
    for column, values in zip(out, np.array(walked.beside).T, strict=True):
        column[block.walked] = values
    return out + geography(plan, block.late.rows, block.g, block.event)


def late_traffic(block: Block, found: Spans, *, category: bool) -> Traffic:
    amount = clipped(block.late.rows.amount[block.g.rows])
    walked = _Counterparties(block, amount, category=category)
    walk(block, walked)
    s = Stretches(block.g.code, block.alone, walked.lengths)
    at, count, total, payer = np.array(walked.kept, np.int64).reshape(-1, 4).T
    g, weight = s.group(s.column(at, block.event)), s.column(count, np.ones(s.rows, np.int64))
    days, since = by_day(g, s.column(total, amount), weight)
    told = {name: s.back(values) for name, values in days.items()} | frauds(block.g, found)
    if not category:
        met = s.column(payer, walked.payer)
        told["others"] = s.back(others(g, WINDOW_MS, pairs(g, met)[1], met >= 0))
        rows, which = latest_runs(found, block.g)
        rows, run = rows[~block.alone[rows]], found.run[which[~block.alone[rows]]]
        told |= runs(block.event, rows, run)
        there = s.places(rows)
        begin = g.first_from(g.code[there], day_after(run[:, 2]))
        told["clean"] = scattered(s.rows, rows, clean(g, there, begin, run, since, weight))
    told["age_ms"] = block.age
    read = dict(zip(Traffic._fields, np.array(walked.read, np.int64).T, strict=True))
    for name, values in told.items():
        values[block.walked] = read[name]
    return NOTHING._replace(**told)
