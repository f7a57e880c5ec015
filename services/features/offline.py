"""The offline driver: the plan over whole columns, kind by kind and block by block, on the machine's cores.

Entities whose transactions arrived in order of time, nearly all, are done by positions (`windows`), a block of whole
entities at a time; the others one transaction at a time (`stragglers`). Both give the same integers to the same
formulas. Beside the result memory holds the columns, the order of each kind and a few blocks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features import counterparty, history
from services.features.arithmetic import COLUMNS
from services.features.columns import Ints, Source, Transactions, clipped, read_labels, read_transactions
from services.features.company import company, geography
from services.features.counterparty import Traffic
from services.features.grouping import Group, pairs, sorting
from services.features.history import History
from services.features.memory import (
    State,
    add_to_day,
    add_to_history,
    meet,
    new_category,
    new_counterparty,
    new_history,
)
from services.features.plan import Plan, feature_name
from services.features.roles import Role
from services.features.stragglers import Late, disordered, walk
from services.features.verdicts import Spans, Verdicts, relevant, spans
from services.features.windows import histories, traffic, volumes

# More cores than this do not help: what numpy does between two operations on a block is one thread's at a time.
_THREADS = 4


def matrix(
    plan: Plan, transactions: Source, labels: Source | None, *, since_ms: int | None = None
) -> NDArray[np.float32]:
    """[n, f] float32, rows as given, features as `plan.names`: what `compute` gives when each transaction arrives.

    Transactions arrive by received_ms (event_ms where there is none), equal ones in the order given, and labels by
    labelled_ms, before a transaction of the same moment. With `since_ms` only transactions at or after it are rows.
    The memory of the result is one block, by feature.
    """
    stored = [place for place, kind in enumerate(plan.kinds) if kind.role is not Role.KNOWN]
    with ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0))), "features") as pool:
        rows = read_transactions(plan, transactions, each=pool.map)
        ids = transactions["transaction_id"] if labels is not None and "transaction_id" in _columns(labels) else None
        told = pool.submit(read_labels, labels, rows, ids)
        orders = list(pool.map(lambda place: _order(rows.names[place].code), stored))
        known = relevant(rows, told.result(), orders[0])
        sheet = _Sheet(plan, rows, since_ms)
        sheet.put(["amount_minor"], None, [rows.amount])
        sheet.put([number.name for number in plan.numbers], None, rows.numbers)
        parts = list(pool.map(partial(_part, plan, rows, known, sheet), stored, orders))
        blocks = [(part, block) for part in parts for block in part.ordered.blocks()]
        for _ in pool.map(lambda one: _put(*one), blocks):
            pass  # what a block raises is raised here
    for part in parts:
        (_walk_payers if part.payer else _walk_counterparties)(part)
    return sheet.matrix()


def _columns(source: Source) -> Sequence[str]:
    return source.column_names if hasattr(source, "column_names") else list(source)


class _Sheet:
    """The matrix while it is filled."""

    def __init__(self, plan: Plan, rows: Transactions, since_ms: int | None) -> None:
        self._place = {name: place for place, name in enumerate(plan.names)}
        chosen = np.ones(len(rows), np.bool_)
        if since_ms is not None:
            chosen[rows.given] = rows.at >= since_ms
        self._all = bool(chosen.all())
        self._target = rows.given if self._all else np.where(chosen, np.cumsum(chosen) - 1, -1)[rows.given]
        self._cells = np.empty((len(plan.names), int(chosen.sum())), np.float32)

    def put(self, names: Sequence[str], rows: Ints | None, values: Sequence[Any]) -> None:
        """`values`: a column (or number) a name, for `rows` (places among the transactions by arrival; None: all)."""
        target = self._target if rows is None else self._target[rows]
        kept = slice(None) if self._all else target >= 0
        target = target[kept]
        for name, value in zip(names, values, strict=True):
            cells = np.asarray(value, np.float32)
            self._cells[self._place[name]][target] = cells[kept] if cells.ndim else cells

    def matrix(self) -> NDArray[np.float32]:
        return self._cells.T


@dataclass(frozen=True, slots=True)
class _Part:
    """One kind: `ordered`, its entities to be done by position, and `late`, those to be walked."""

    plan: Plan
    place: int
    rows: Transactions
    sheet: _Sheet
    ordered: Group
    found: Spans
    late: tuple[Late, NDArray[np.bool_]]

    @property
    def payer(self) -> bool:
        return self.plan.kinds[self.place].role is Role.PAYER

    @property
    def category(self) -> bool:
        return self.plan.kinds[self.place].role is Role.CATEGORY

    @property
    def names(self) -> list[str]:
        name, first = self.plan.kinds[self.place].name, not self.place
        if self.payer:
            return [feature_name(name, suffix, first=first) for suffix in history.SUFFIXES]
        suffixes = counterparty.CATEGORY_SUFFIXES if self.category else counterparty.SUFFIXES
        return [feature_name(name, suffix) for suffix in suffixes]

    @property
    def beside(self) -> list[str]:
        """What the first payer has beside the features of its kind."""
        return [] if self.place else [*self.plan.company_names, *self.plan.geography_names]


def _order(codes: NDArray[np.int32]) -> Ints:
    """The rows that have a name, entity by entity and each in order of arrival."""
    present = np.flatnonzero(codes >= 0)
    return present[sorting(codes[present])]


def _part(plan: Plan, rows: Transactions, known: Verdicts, sheet: _Sheet, place: int, order: Ints) -> _Part:
    codes = rows.names[place].code
    late = Late(rows, known, codes)
    bad = disordered(late, order)
    if bad.any():
        order = order[~bad[codes[order]]]
    part = _Part(plan, place, rows, sheet, Group(order, codes[order], rows.at[order]), spans(known, codes), (late, bad))
    names = part.names + part.beside
    sheet.put(names, np.flatnonzero(codes < 0), [nan] * len(names))
    return part


def _put(part: _Part, g: Group) -> None:
    """A block by position."""
    rows, found, amount = part.rows, part.found.among(g), clipped(part.rows.amount[g.rows])
    if part.payer:
        part.sheet.put(part.names, g.rows, history.features(COLUMNS, histories(g, amount, found), amount))
        if part.beside:
            part.sheet.put(part.beside, g.rows, company(part.plan, rows, g) + geography(part.plan, rows, g))
        return
    if part.category:
        cut = volumes(g, amount, found)
    else:
        payer = rows.names[0].code[g.rows]
        cut = traffic(g, amount, pairs(g, payer)[1], payer >= 0, found)
    _put_traffic(part, g.rows, cut, g.at, amount)


def _put_traffic(part: _Part, rows: Ints, cut: Traffic, at: Ints, amount: Ints) -> None:
    if part.category:
        found = [counterparty.rate(COLUMNS, cut)]
    else:
        found = counterparty.features(COLUMNS, cut, at, amount)
    part.sheet.put(part.names, rows, found)


def _walk_payers(part: _Part) -> None:
    plan, rows, first, amount = part.plan, part.rows, not part.place, clipped(part.rows.amount)
    read: list[History] = []
    beside: list[list[float]] = []

    def visit(state: State, row: int) -> None:
        at = int(rows.at[row])
        read.append(history.read(state, at))
        if first:
            event = rows.event(row, coded=True)
            beside.append(plan.company(event, state) + plan.geography(event, state))
        add_to_history(state, at, int(amount[row]))
        if first:
            plan.observe_company(event, state)

    seen = [other.name for other in plan.kinds[1:]] if first else []
    visited = walk(*part.late, lambda: new_history(seen), visit)
    if len(visited):
        part.sheet.put(part.names, visited, history.features(COLUMNS, History(*_turned(read)), amount[visited]))
        if first:
            part.sheet.put(part.beside, visited, list(np.array(beside).T))


def _walk_counterparties(part: _Part) -> None:
    rows, payer, amount = part.rows, part.rows.names[0].code, clipped(part.rows.amount)
    read: list[Traffic] = []

    def visit(state: State, row: int) -> None:
        at, who = int(rows.at[row]), int(payer[row])
        read.append(counterparty.read(state, at, None if part.category or who < 0 else who))
        add_to_day(state, at, int(amount[row]))
        if not part.category and who >= 0:
            meet(state["payers"], at, who)

    visited = walk(*part.late, new_category if part.category else new_counterparty, visit)
    if len(visited):
        _put_traffic(part, visited, Traffic(*_turned(read)), rows.at[visited], amount[visited])


def _turned(tuples: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    return list(np.array(tuples, np.int64).T)
