"""The online driver: what is read of the states of one transaction's entities, and features of many readings at once.

Reading is a transaction's own, because each sees the states that the former left behind. The formulas are not: those
of a batch are worked out together, over columns, which gives the same bits in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from services.features import counterparty, history
from services.features.arithmetic import COLUMNS, SCALARS
from services.features.inputs import Event
from services.features.memory import AMOUNT_MAX, State
from services.features.roles import Role

if TYPE_CHECKING:
    from services.features.plan import Plan

# Fewer than this are worked out one by one: an operation on a column costs as much as on a dozen numbers.
_BATCH = 16


class Reading(NamedTuple):
    """Of one transaction: `parts` are a History or Traffic for each kind with states, None where the transaction has
    no such entity; `beside` are features as they are."""

    event: Event
    parts: list[Any]
    beside: list[float]


def read(plan: Plan, event: Event, states: Mapping[str, State]) -> Reading:
    """Changes nothing."""
    at, names = event.at_ms, event.names
    get, payer = states.get, names[0]
    parts: list[Any] = []
    first = None
    for i, prefix, role in plan.stored:
        name = names[i]
        if name is None:
            parts.append(None)
            continue
        state = get(prefix + name)
        if role is Role.COUNTERPARTY:
            parts.append(counterparty.read(state, at, payer))
        elif role is Role.CATEGORY:
            parts.append(counterparty.read(state, at, None))
        else:
            parts.append(history.read(state, at))
            if i == 0:
                first = state
    return Reading(event, parts, plan.company(event, first) + plan.geography(event, first))


def vector(plan: Plan, reading: Reading) -> list[float]:
    """The features of one reading, in the order of the plan's names."""
    event, at = reading.event, reading.event.at_ms
    amount = min(event.amount_minor, AMOUNT_MAX)
    payers: list[float] = []
    others: list[float] = []
    rates: list[float] = []
    for (_, _, role), part in zip(plan.stored, reading.parts, strict=True):
        if role is Role.PAYER:
            payers += [nan] * _WIDTH[role] if part is None else history.features(SCALARS, part, amount)
        elif role is Role.CATEGORY:
            rates.append(nan if part is None else counterparty.rate(SCALARS, part))
        else:
            others += [nan] * _WIDTH[role] if part is None else counterparty.features(SCALARS, part, at, amount)
    return [float(event.amount_minor), *payers, *reading.beside, *others, *rates, *event.numbers]


def vectors(plan: Plan, readings: Sequence[Reading]) -> list[list[float]]:
    """The features of each reading."""
    if len(readings) < _BATCH:
        return [vector(plan, reading) for reading in readings]
    raw = np.array([reading.event.amount_minor for reading in readings], np.int64)
    at = np.array([reading.event.at_ms for reading in readings], np.int64)
    amount = np.minimum(raw, AMOUNT_MAX)
    blocks: dict[Role, list[Any]] = {role: [] for role in _WIDTH}
    for place, (_, _, role) in enumerate(plan.stored):
        blocks[role].append(_block(role, [reading.parts[place] for reading in readings], at, amount))
    beside = np.array([reading.beside for reading in readings], np.float64)
    numbers = np.array([reading.event.numbers for reading in readings], np.float64)
    columns = [*blocks[Role.PAYER], beside, *blocks[Role.COUNTERPARTY], *blocks[Role.CATEGORY], numbers]
    found: list[list[float]] = np.concatenate([raw[:, None].astype(np.float64), *columns], axis=1).tolist()
    return found


_WIDTH = {
    Role.PAYER: len(history.SUFFIXES),
    Role.COUNTERPARTY: len(counterparty.SUFFIXES),
    Role.CATEGORY: len(counterparty.CATEGORY_SUFFIXES),
}


def _block(role: Role, parts: Sequence[Any], at: Any, amount: Any) -> Any:
    """[n, width] features of one kind, missing where there is no such entity."""
    out = np.full((len(parts), _WIDTH[role]), nan)
    rows = [row for row, part in enumerate(parts) if part is not None]
    if rows:
        columns = np.array([parts[row] for row in rows], np.int64).T
        if role is Role.PAYER:
            found = history.features(COLUMNS, history.History(*columns), amount[rows])
        elif role is Role.CATEGORY:
            found = [counterparty.rate(COLUMNS, counterparty.Traffic(*columns))]
        else:
            found = counterparty.features(COLUMNS, counterparty.Traffic(*columns), at[rows], amount[rows])
        out[rows] = np.array(found).T
    return out
