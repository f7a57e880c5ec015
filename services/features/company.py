"""Whom the payer met before, and where it was, over columns: `Plan.company` and `Plan.geography` of whole groups."""

from __future__ import annotations

from collections import OrderedDict
from math import nan

import numpy as np
from numpy.typing import NDArray

from services.features.arithmetic import COLUMNS, cap, kilometres
from services.features.columns import Floats, Ints, Transactions
from services.features.grouping import Group, last_valid, pairs
from services.features.limits import COUNT_CAP
from services.features.memory import DAY_MS, SEEN_MAX
from services.features.plan import Plan, speed
from services.features.stretches import latest
from services.features.windows import others

Codes = NDArray[np.int32]


def company(plan: Plan, g: Group, names: list[Codes], known: NDArray[np.bool_]) -> list[Floats]:
    """Columns of `Plan.company` for a group of payers. `names`: codes of each of the other kinds; `known`: whether the
    payer had any transaction before."""
    new, many = [], []
    for kind, code in zip(plan.kinds[1:], names, strict=True):
        before, after = pairs(g, code)
        named = code >= 0
        met = before >= 0
        _forget(g, code, before, met)
        new.append(np.where(named & known, np.where(met, 0.0, 1.0), nan))
        if kind in plan.met:
            found = others(g, DAY_MS, after, named)
            many.append(np.where(named, cap(COLUMNS, COLUMNS.number(found), COUNT_CAP), nan))
    return new + many


def _forget(g: Group, code: Codes, before: Ints, met: NDArray[np.bool_]) -> None:
    """Take back `met` where SEEN_MAX others were met since, which takes as many rows: for the few payers of whom
    somebody was met again after so many rows, and who ever met so many others."""
    long_ago = np.flatnonzero(met & (g.here - before > SEEN_MAX))
    for start in np.unique(g.start[long_ago]).tolist():
        end = int(np.searchsorted(g.start, start, side="right"))
        if np.count_nonzero(~met[start:end] & (code[start:end] >= 0)) <= SEEN_MAX:
            continue
        seen: OrderedDict[int, None] = OrderedDict()
        for place, one in enumerate(code[start:end].tolist(), start=start):
            if one < 0:
                continue
            met[place] = one in seen
            seen[one] = None
            seen.move_to_end(one)
            if len(seen) > SEEN_MAX:
                seen.popitem(last=False)


def geography(plan: Plan, rows: Transactions, g: Group, event: Ints | None = None) -> list[Floats]:
    """Columns of `Plan.geography` for a group of payers. `event`: event times where they do not rise."""
    out: list[Floats] = []
    if rows.place is None:
        return out
    lon, lat = rows.place[0][g.rows], rows.place[1][g.rows]
    here = ~(np.isnan(lon) | np.isnan(lat))
    if rows.home is not None:
        out.append(kilometres(COLUMNS, rows.home[0][g.rows], rows.home[1][g.rows], lon, lat))
    at = g.at if event is None else event
    # Where a payer was last is the latest place by event time, of equal ones that which arrived last.
    kept = here if event is None else here & (at >= latest(g.code, np.where(here, at, at.min())))
    before = last_valid(kept, g.start)
    there = np.maximum(before, 0)
    elapsed = at - at[there]
    kmh = speed(COLUMNS, elapsed, kilometres(COLUMNS, lon[there], lat[there], lon, lat))
    out.append(np.where(here & (before >= 0) & (elapsed >= 0), kmh, nan))
    return out
