"""Whom the payer met before, and where it was, over columns: `Plan.company` and `Plan.geography` of whole groups."""

from __future__ import annotations

from collections import OrderedDict
from math import nan

import numpy as np
from numpy.typing import NDArray

from services.features.arithmetic import COLUMNS, cap, kilometres
from services.features.columns import Floats, Ints, Transactions
from services.features.grouping import Group, last_valid
from services.features.limits import COUNT_CAP
from services.features.memory import DAY_MS, SEEN_MAX
from services.features.plan import Plan, speed
from services.features.windows import others

Codes = NDArray[np.int32]


def pairs(payer: Codes, other: Codes) -> tuple[Ints, Ints]:
    """For each transaction the one before and the one after it, by arrival, of the same payer with the same other.

    -1 where there is none; also where payer or other is absent.
    """
    before, after = np.full(len(payer), -1), np.full(len(payer), -1)
    rows = np.flatnonzero((payer >= 0) & (other >= 0))
    if len(rows):
        rows = rows[_sorting(other[rows])]
        rows = rows[_sorting(payer[rows])]
        same = (payer[rows[1:]] == payer[rows[:-1]]) & (other[rows[1:]] == other[rows[:-1]])
        before[rows[1:][same]], after[rows[:-1][same]] = rows[:-1][same], rows[1:][same]
    return before, after


def _sorting(codes: Codes) -> Ints:
    """Two bytes are sorted by radix, which is ten times as fast."""
    return np.argsort(codes.astype(np.uint16) if int(codes.max()) < 2**16 else codes, kind="stable")


def positions(g: Group, rows: Ints, count: int) -> Ints:
    """Where transactions are in the group; len(g) for -1. `count`: of all transactions."""
    where = np.full(count + 1, len(g))
    where[g.rows] = np.arange(len(g))
    return where[rows]


def company(plan: Plan, rows: Transactions, g: Group) -> list[Floats]:
    """Columns of `Plan.company` for a group of payers."""
    new, many = [], []
    known = g.place > 0
    for place, kind in enumerate(plan.kinds[1:], start=1):
        codes = rows.names[place].code
        before, after = pairs(rows.names[0].code, codes)
        named = codes[g.rows] >= 0
        met = before[g.rows] >= 0
        _forget(g, codes[g.rows], met)
        new.append(np.where(named & known, np.where(met, 0.0, 1.0), nan))
        if kind in plan.met:
            found = others(g, DAY_MS, positions(g, after[g.rows], len(rows)), named)
            many.append(np.where(named, cap(COLUMNS, COLUMNS.number(found), COUNT_CAP), nan))
    return new + many


def _forget(g: Group, code: Codes, met: NDArray[np.bool_]) -> None:
    """Take back `met` where more than SEEN_MAX others were met since, for the few payers who meet so many."""
    first = np.flatnonzero((code >= 0) & ~met)
    payers, many = np.unique(g.start[first], return_counts=True)
    for start in payers[many > SEEN_MAX].tolist():
        end = int(np.searchsorted(g.start, start, side="right"))
        seen: OrderedDict[int, None] = OrderedDict()
        for place, one in enumerate(code[start:end].tolist(), start=start):
            if one < 0:
                continue
            met[place] = one in seen
            seen[one] = None
            seen.move_to_end(one)
            if len(seen) > SEEN_MAX:
                seen.popitem(last=False)


def geography(plan: Plan, rows: Transactions, g: Group) -> list[Floats]:
    """Columns of `Plan.geography` for a group of payers."""
    out: list[Floats] = []
    if rows.place is None:
        return out
    lon, lat = rows.place[0][g.rows], rows.place[1][g.rows]
    here = ~(np.isnan(lon) | np.isnan(lat))
    if rows.home is not None:
        out.append(kilometres(COLUMNS, rows.home[0][g.rows], rows.home[1][g.rows], lon, lat))
    before = last_valid(here, g.start)
    there = np.maximum(before, 0)
    elapsed = g.at - g.at[there]
    kmh = speed(COLUMNS, elapsed, kilometres(COLUMNS, lon[there], lat[there], lon, lat))
    out.append(np.where(here & (before >= 0), kmh, nan))
    return out
