"""The offline driver: the plan over whole columns, kind by kind and block by block, on the machine's cores.

Entities whose transactions arrived in order of time, nearly all, are done by positions (`windows`), a block of whole
entities at a time; of the others only what came late is done one transaction at a time (`late`). Both give the same
integers to the same formulas. Beside the result memory holds the columns, the order of each kind and a few blocks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features import counterparty, grouping, history
from services.features.arithmetic import COLUMNS
from services.features.columns import Ints, Source, Transactions, clipped, read_labels, read_transactions
from services.features.company import company, geography
from services.features.counterparty import Traffic
from services.features.grouping import Group, group, pairs
from services.features.late import late_histories, late_traffic
from services.features.plan import Plan, feature_name
from services.features.roles import Role
from services.features.sheet import Page, Sheet
from services.features.stragglers import Block, Late, disordered
from services.features.verdicts import Spans, Verdicts, relevant, spans
from services.features.windows import histories, traffic, volumes

# More cores than this do not help: what numpy does between two operations on a block is one thread's at a time.
_THREADS = 4
# Blocks give their memory back to the C library, which gives it to the system and asks for it again, page by page, a
# tenth of the time. glibc stops doing so up to twice the size of the largest mapping that was freed (mallopt(3),
# M_MMAP_THRESHOLD; 32 MB at most). One of this size that is never written to costs nothing.
_KEPT = 4_000_000


def matrix(
    plan: Plan, transactions: Source, labels: Source | None, *, since_ms: int | None = None
) -> NDArray[np.float32]:
    """[n, f] float32, rows as given, features as `plan.names`: what `compute` gives when each transaction arrives.

    Transactions arrive by received_ms (event_ms where there is none), equal ones in the order given, and labels by
    labelled_ms, before a transaction of the same moment. With `since_ms` only transactions at or after it are rows.
    The memory of the result is one block, by feature.
    """
    np.empty(_KEPT)
    stored = [place for place, kind in enumerate(plan.kinds) if kind.role is not Role.KNOWN]
    workers = min(_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers, "features") as pool:
        rows = read_transactions(plan, transactions, each=pool.map)
        grouped = pool.map(lambda place: group(rows.names[place].code, rows.at), stored)
        ids = transactions["transaction_id"] if labels is not None and "transaction_id" in _columns(labels) else None
        told, payers = read_labels(labels, rows, ids), next(grouped)
        known, groups = relevant(rows, told, payers), [payers, *grouped]
        sheet = Sheet(plan.names, rows, since_ms)
        parts = list(pool.map(partial(_part, plan, rows, known, sheet), stored, groups))
        made = [given for part in parts for given in _begin(pool, part, workers)]
        sheet.put(["amount_minor"], None, [rows.amount])
        sheet.put([number.name for number in plan.numbers], None, rows.numbers)
        for given in made:
            given.result()
    for part in parts:
        sheet.put(part.columns, part.absent, [nan] * len(part.columns))
    return sheet.matrix()


def _begin(pool: ThreadPoolExecutor, part: _Part, workers: int) -> list[Future[None]]:
    """Have a kind's blocks done and then its columns turned. Blocks are not kept: what they remember is freed."""
    done = [pool.submit(_put, part, g) for g in part.ordered.blocks(_share(len(part.ordered), workers))]
    late = part.late.whole
    done += [pool.submit(_put_late, part, g) for g in late.blocks(_share(len(late), workers))]
    return [pool.submit(_give, done, part.page, names) for names in _shares(part.columns)]


def _share(rows: int, workers: int) -> int:
    """How many rows a block has, so that all threads have as many blocks. The last is not to be a small one more."""
    blocks = -(-rows // (workers * grouping.BLOCK_ROWS)) * workers
    return -(-rows // max(blocks, 1)) * 65 // 64


def _give(done: Sequence[Future[None]], page: Page, names: Sequence[str]) -> None:
    """Blocks were begun before, in the order of the pool, so that waiting for them keeps no thread from them."""
    for one in done:
        one.result()
    page.give(names)


def _shares(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start::_THREADS] for start in range(_THREADS)]


def _columns(source: Source) -> Sequence[str]:
    return source.column_names if hasattr(source, "column_names") else list(source)


@dataclass(frozen=True, slots=True)
class _Part:
    """One kind: `ordered`, its entities that arrived in order, and the others, of which some rows arrived `late`."""

    plan: Plan
    place: int
    rows: Transactions
    sheet: Sheet
    page: Page
    ordered: Group
    found: Spans
    late: Late

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
    def columns(self) -> list[str]:
        return self.names + self.beside

    @property
    def absent(self) -> Ints:
        """Rows without an entity of the kind."""
        return np.flatnonzero(self.rows.names[self.place].code < 0)

    @property
    def beside(self) -> list[str]:
        """What the first payer has beside the features of its kind."""
        return [] if self.place else [*self.plan.company_names, *self.plan.geography_names]


def _part(plan: Plan, rows: Transactions, known: Verdicts, sheet: Sheet, place: int, g: Group) -> _Part:
    codes = rows.names[place].code
    bad, behind = disordered(rows, known, codes, g)
    late = bad[g.code]
    ordered = g.chosen(~late) if late.any() else g
    other = g.chosen(late, begin=len(ordered))
    page = sheet.page(np.concatenate([ordered.rows, other.rows]) if len(other) else g.rows)
    found = spans(known, codes)
    return _Part(plan, place, rows, sheet, page, ordered, found, Late(rows, known, codes, other, behind[late]))


def _put(part: _Part, g: Group) -> None:
    """A block by position."""
    rows, found, amount = part.rows, part.found.among(g), clipped(part.rows.amount[g.rows])
    if part.payer:
        part.page.put(part.names, g, history.features(COLUMNS, histories(g, amount, found), amount))
        if part.beside:
            part.page.put(part.beside, g, _beside(part, g))
        return
    if part.category:
        cut = volumes(g, found)
    else:
        payer = rows.names[0].code[g.rows]
        cut = traffic(g, amount, pairs(g, payer)[1], payer >= 0, found)
    part.page.put(part.names, g, _features(part, cut, g.at, amount))


def _beside(part: _Part, g: Group) -> list[Any]:
    names = [names.code[g.rows] for names in part.rows.names[1:]]
    return company(part.plan, g, names, g.place > 0) + geography(part.plan, part.rows, g)


def _features(part: _Part, cut: Traffic, at: Ints, amount: Ints) -> list[Any]:
    return [counterparty.rate(COLUMNS, cut)] if part.category else counterparty.features(COLUMNS, cut, at, amount)


def _put_late(part: _Part, g: Group) -> None:
    """A block of entities of which some transactions arrived late."""
    block, found, amount = Block(part.late, g), part.found.among(g), clipped(part.rows.amount[g.rows])
    if part.payer:
        cut, beside = late_histories(part.plan, block, found, first=not part.place)
        part.page.put(part.names, g, history.features(COLUMNS, cut, amount))
        part.page.put(part.beside, g, beside)
        return
    told = late_traffic(block, found, category=part.category)
    part.page.put(part.names, g, _features(part, told, g.at, amount))
