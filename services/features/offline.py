"""The offline driver: the plan over whole columns, kind by kind.

Entities whose transactions arrived in order of time, nearly all, are done by positions (`windows`); the others one
transaction at a time (`stragglers`). Both give the same integers to the same formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features import counterparty, history
from services.features.arithmetic import COLUMNS
from services.features.columns import Ints, Source, Transactions, clipped, read_labels, read_transactions
from services.features.company import company, geography, pairs, positions
from services.features.counterparty import Traffic
from services.features.grouping import Group, group
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
from services.features.verdicts import Spans, Verdicts, of_group, relevant, spans
from services.features.windows import histories, traffic


def matrix(
    plan: Plan, transactions: Source, labels: Source | None, *, since_ms: int | None = None
) -> NDArray[np.float32]:
    """[n, f] float32, rows as given, features as `plan.names`: what `compute` gives when each transaction arrives.

    Transactions arrive by received_ms (event_ms where there is none), equal ones in the order given, and labels by
    labelled_ms, before a transaction of the same moment. With `since_ms` only transactions at or after it are rows.
    The memory of the result is one block, by feature.
    """
    rows = read_transactions(plan, transactions)
    ids = transactions["transaction_id"] if labels is not None and "transaction_id" in _columns(labels) else None
    known = relevant(rows, read_labels(labels, rows, ids))
    sheet = _Sheet(plan, rows, since_ms)
    sheet.put(["amount_minor"], np.arange(len(rows)), [rows.amount])
    for place, kind in enumerate(plan.kinds):
        if kind.role is Role.PAYER:
            _payers(plan, place, rows, known, sheet)
        elif kind.role is not Role.KNOWN:
            _counterparties(plan, place, rows, known, sheet)
    sheet.put([number.name for number in plan.numbers], np.arange(len(rows)), rows.numbers)
    return sheet.matrix()


def _columns(source: Source) -> Sequence[str]:
    return source.column_names if hasattr(source, "column_names") else list(source)


class _Sheet:
    """The matrix while it is filled, missing where nothing was put."""

    def __init__(self, plan: Plan, rows: Transactions, since_ms: int | None) -> None:
        self._place = {name: place for place, name in enumerate(plan.names)}
        chosen = np.ones(len(rows), np.bool_)
        if since_ms is not None:
            chosen[rows.given] = rows.at >= since_ms
        target = np.where(chosen, np.cumsum(chosen) - 1, -1)
        self._target = target[rows.given]
        self._cells = np.full((len(plan.names), int(chosen.sum())), nan, np.float32)

    def put(self, names: Sequence[str], rows: Ints, values: Sequence[NDArray[Any]]) -> None:
        """`values`: a column a name, for `rows` (places among the transactions by arrival)."""
        target = self._target[rows]
        kept = target >= 0
        everything = bool(kept.all())
        for name, value in zip(names, values, strict=True):
            if everything:
                self._cells[self._place[name], target] = value
            else:
                self._cells[self._place[name], target[kept]] = value[kept]

    def matrix(self) -> NDArray[np.float32]:
        return self._cells.T


def _payers(plan: Plan, place: int, rows: Transactions, known: Verdicts, sheet: _Sheet) -> None:
    kind, first, amount = plan.kinds[place], place == 0, clipped(rows.amount)
    names = [feature_name(kind.name, suffix, first=first) for suffix in history.SUFFIXES]
    late, g, found = _ordered(rows, known, place)
    sheet.put(names, g.rows, history.features(COLUMNS, histories(g, amount[g.rows], found), amount[g.rows]))
    if first:
        sheet.put(plan.company_names, g.rows, company(plan, rows, g))
        sheet.put(plan.geography_names, g.rows, geography(plan, rows, g))
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
    visited = walk(*late, lambda: new_history(seen), visit)
    if len(visited):
        sheet.put(names, visited, history.features(COLUMNS, History(*_turned(read)), amount[visited]))
        if first:
            sheet.put([*plan.company_names, *plan.geography_names], visited, list(np.array(beside).T))


def _counterparties(plan: Plan, place: int, rows: Transactions, known: Verdicts, sheet: _Sheet) -> None:
    kind, amount, payer = plan.kinds[place], clipped(rows.amount), rows.names[0].code
    category = kind.role is Role.CATEGORY
    names = [
        feature_name(kind.name, suffix)
        for suffix in (counterparty.CATEGORY_SUFFIXES if category else counterparty.SUFFIXES)
    ]

    def put(at_rows: Ints, found: Traffic) -> None:
        if category:
            sheet.put(names, at_rows, [counterparty.rate(COLUMNS, found)])
        else:
            sheet.put(names, at_rows, counterparty.features(COLUMNS, found, rows.at[at_rows], amount[at_rows]))

    late, g, found = _ordered(rows, known, place)
    following = positions(g, pairs(payer, rows.names[place].code)[1][g.rows], len(rows))
    put(g.rows, traffic(g, amount[g.rows], following, found))
    read: list[Traffic] = []

    def visit(state: State, row: int) -> None:
        at, who = int(rows.at[row]), int(payer[row])
        read.append(counterparty.read(state, at, None if category or who < 0 else who))
        add_to_day(state, at, int(amount[row]))
        if not category and who >= 0:
            meet(state["payers"], at, who)

    visited = walk(*late, new_category if category else new_counterparty, visit)
    if len(visited):
        put(visited, Traffic(*_turned(read)))


def _ordered(rows: Transactions, known: Verdicts, place: int) -> tuple[tuple[Late, NDArray[np.bool_]], Group, Spans]:
    """(the kind's stragglers, its other entities, and what is known of the frauds of these)."""
    codes = rows.names[place].code
    late = Late(rows, known, codes)
    bad = disordered(late)
    good = codes >= 0
    if bad.any():
        good[good] = ~bad[codes[good]]
    g = group(np.flatnonzero(good), codes, rows.at)
    return (late, bad), g, of_group(spans(known, codes), g)


def _turned(tuples: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    return list(np.array(tuples, np.int64).T)
