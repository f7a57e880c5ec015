"""Entities whose transactions did not all arrive in order: what is late goes through states, the rest by columns.

Windows over positions need event times that rise in order of arrival. A transaction that arrived late, or behind a
verdict on its entity, is put through the entity's state by the scorer's own functions; between two of them lie
stretches in order (`stretches`), over which states are brought forward at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints, Transactions
from services.features.grouping import Group, changes
from services.features.memory import State, add_verdict
from services.features.stretches import latest, singled
from services.features.verdicts import Verdicts


@dataclass(frozen=True, slots=True)
class Late:
    """A kind's disordered entities. `whole`: all their rows by arrival; `behind`: which of these arrived behind a
    verdict on their entity that became known after they happened."""

    rows: Transactions
    verdicts: Verdicts
    codes: NDArray[np.int32]
    whole: Group
    behind: NDArray[np.bool_]


class Block:
    """Some of them, rows by entity and arrival. `g`: their group, whose times are the entity's clock, its latest event
    time so far; `event`: their own times; `alone`: the rows to be walked."""

    def __init__(self, late: Late, part: Group) -> None:
        begin = part.begin - late.whole.begin
        clock = latest(part.code, part.at)
        self.late, self.event = late, part.at
        self.g = Group(part.rows, part.code, clock, part.begin)
        self.alone = singled(part.code, (part.at < clock) | late.behind[begin : begin + len(part)])
        self.walked = np.flatnonzero(self.alone)

    @property
    def age(self) -> Ints:
        """Since the entity's earliest transaction so far."""
        return self.event + latest(self.g.code, -self.event)


class Walker(Protocol):
    """What is done with the states of a kind; positions are those of the block."""

    def new(self) -> State: ...

    def visit(self, state: State, position: int) -> None:
        """Read the state for a transaction and add it."""
        ...

    def begin(self, state: State) -> None:
        """A stretch begins."""
        ...

    def forward(self, state: State, begin: int, end: int) -> None:
        """Add a stretch to the state."""
        ...


def disordered(
    rows: Transactions, verdicts: Verdicts, codes: NDArray[np.int32], whole: Group
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """By code: whether event times fall in order of arrival, or a verdict fell between an event and its arrival; and
    of which positions of the group that is so."""
    at, arrival, order = rows.at, rows.arrival, whole.rows
    out, behind = np.zeros(int(codes.max(initial=-1)) + 1, np.bool_), np.zeros(len(whole), np.bool_)
    if at is arrival or not len(out):
        return out, behind
    back = (whole.code[1:] == whole.code[:-1]) & (whole.at[1:] < whole.at[:-1])
    out[whole.code[1:][back]] = True
    waited = np.flatnonzero(whole.at != arrival[order])
    labelled = codes[verdicts.row]
    known = verdicts.known[labelled >= 0]
    labelled = labelled[labelled >= 0]
    if len(labelled) and len(waited):
        low = min(int(at.min()), int(arrival.min()), int(known.min())) - 1
        span = max(int(at.max()), int(arrival.max()), int(known.max())) - low + 2
        keys = np.sort(labelled.astype(np.int64) * span + known - low)
        base = whole.code[waited].astype(np.int64) * span - low
        between = np.searchsorted(keys, base + whole.at[waited], side="right") != np.searchsorted(
            keys, base + arrival[order[waited]], side="right"
        )
        behind[waited[between]] = True
        out[whole.code[waited[between]]] = True
    return out, behind


def walk(block: Block, walker: Walker) -> None:
    """Through the block entity by entity, by arrival: `visit` the rows to be walked, each after the verdicts that were
    known when it arrived, and bring the state `forward` over what lies between them."""
    g, alone = block.g, block.alone
    first = changes(g.code, alone)
    ends = np.append(first[1:], len(g))
    verdicts = _verdicts(block)
    arrival = block.late.rows.arrival[g.rows]
    current, state, waiting = -1, walker.new(), iter(())
    verdict: dict[str, Any] | None = None
    codes = [*g.code[first].tolist(), -1]
    for place, (begin, end, single) in enumerate(
        zip(first.tolist(), ends.tolist(), alone[first].tolist(), strict=True)
    ):
        if codes[place] != current:
            current, state, waiting = codes[place], walker.new(), verdicts(codes[place])
            verdict = next(waiting, None)
        if not single:
            walker.begin(state)
            if codes[place + 1] == current:
                walker.forward(state, begin, end)
            continue
        for position, moment in enumerate(arrival[begin:end].tolist(), start=begin):
            while verdict is not None and verdict["known_ms"] <= moment:
                add_verdict(state, **verdict)
                verdict = next(waiting, None)
            walker.visit(state, position)


def _verdicts(block: Block) -> Any:
    """code -> the verdicts on an entity of the block by the moment they became known."""
    v, codes = block.late.verdicts, block.late.codes
    code = codes[v.row]
    chosen = np.flatnonzero((code >= int(block.g.code[0])) & (code <= int(block.g.code[-1])))
    chosen = chosen[np.argsort(code[chosen], kind="stable")]
    code = code[chosen]
    columns = (v.row, v.fraud, v.known, v.at, v.unexplained)
    fields = ("transaction_id", "fraud", "known_ms", "event_ms", "unexplained")

    def of(one: int) -> Iterator[dict[str, Any]]:
        begin, end = np.searchsorted(code, [one, one + 1])
        told = [column[chosen[begin:end]].tolist() for column in columns]
        return (dict(zip(fields, values, strict=True)) for values in zip(*told, strict=True))

    return of
