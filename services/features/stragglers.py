"""Entities whose transactions did not arrive in order: one transaction at a time, by the scorer's own functions.

Windows over positions need event times that rise in order of arrival. The few entities of which that is not so are
put through their states, each for itself; what is read is handed back as columns, like that of all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints, Transactions
from services.features.grouping import Group
from services.features.memory import State, add_verdict
from services.features.verdicts import Verdicts

Visit = Callable[[State, int], None]


@dataclass(frozen=True, slots=True)
class Late:
    """What the driver needs to walk a kind's disordered entities."""

    rows: Transactions
    verdicts: Verdicts
    codes: NDArray[np.int32]


def disordered(late: Late, whole: Group) -> NDArray[np.bool_]:
    """By code: whether event times fall in order of arrival, or a verdict fell between an event and its arrival."""
    codes, at, arrival, order = late.codes, late.rows.at, late.rows.arrival, whole.rows
    out = np.zeros(int(codes.max(initial=-1)) + 1, np.bool_)
    if at is arrival or not len(out):
        return out
    back = (whole.code[1:] == whole.code[:-1]) & (whole.at[1:] < whole.at[:-1])
    out[whole.code[1:][back]] = True
    waited = order[whole.at != arrival[order]]
    labelled = codes[late.verdicts.row]
    known = late.verdicts.known[labelled >= 0]
    labelled = labelled[labelled >= 0]
    if len(labelled) and len(waited):
        low = min(int(at.min()), int(arrival.min()), int(known.min())) - 1
        span = max(int(at.max()), int(arrival.max()), int(known.max())) - low + 2
        keys = np.sort(labelled.astype(np.int64) * span + known - low)
        base = codes[waited].astype(np.int64) * span - low
        between = np.searchsorted(keys, base + at[waited], side="right") != np.searchsorted(
            keys, base + arrival[waited], side="right"
        )
        out[codes[waited[between]]] = True
    return out


def walk(late: Late, chosen: NDArray[np.bool_], new_state: Callable[[], State], visit: Visit) -> Ints:
    """Visit every transaction of the chosen entities with the state of its entity, which `visit` reads and updates.

    Returns the rows, in the order of the visits: entity by entity, each in order of arrival.
    """
    visited: list[int] = []
    for rows, verdicts in _entities(late, chosen):
        state, waiting = new_state(), iter(verdicts)
        verdict = next(waiting, None)
        for row, arrival in zip(rows.tolist(), late.rows.arrival[rows].tolist(), strict=True):
            while verdict is not None and verdict["known_ms"] <= arrival:
                add_verdict(state, **verdict)
                verdict = next(waiting, None)
            visit(state, row)
            visited.append(row)
    return np.array(visited, np.int64)


def _entities(late: Late, chosen: NDArray[np.bool_]) -> Iterator[tuple[Ints, list[dict[str, Any]]]]:
    """(rows by arrival, verdicts by the moment they became known) of each chosen entity."""
    v = late.verdicts
    rows, ends = _by_code(late.codes, chosen)
    labels, label_ends = _by_code(late.codes[v.row], chosen)
    columns = (v.row, v.fraud, v.known, v.at, v.unexplained)
    fields = ("transaction_id", "fraud", "known_ms", "event_ms", "unexplained")
    told = [dict(zip(fields, one, strict=True)) for one in zip(*(c[labels].tolist() for c in columns), strict=True)]
    for code in np.flatnonzero(chosen).tolist():
        yield rows[ends[code] : ends[code + 1]], told[label_ends[code] : label_ends[code + 1]]


def _by_code(codes: NDArray[np.int32], chosen: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """(places of the chosen codes, side by side; where each code begins, and the end)."""
    places = np.flatnonzero(codes >= 0)
    places = places[chosen[codes[places]]]
    places = places[np.argsort(codes[places], kind="stable")]
    return places, np.searchsorted(codes[places], np.arange(len(chosen) + 1))
