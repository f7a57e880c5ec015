"""A table that stands still while the world moves, and a selection that belongs to a transaction, not to a place.

The grid knows its selection by row position only. Here positions are translated to ids with the rows that were drawn
last, and back to positions before the next drawing. Pure, so that the rules can be tested without a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.domain.states import AlertStatus
from services.transactions import QueueRow


@dataclass(frozen=True, slots=True)
class Standing:
    """Rows in the order of their first drawing, with their newest known state; `gone` matched before, not now."""

    rows: tuple[QueueRow, ...]
    gone: frozenset[str]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(row.transaction_id for row in self.rows)


def stand_still(pinned: Sequence[QueueRow], latest: Sequence[QueueRow]) -> Standing:
    """Keep every drawn row in its place: news replace a row's content, newcomers wait, leavers stay and are marked."""
    news = {row.transaction_id: row for row in latest}
    rows = tuple(news.get(row.transaction_id, row) for row in pinned)
    return Standing(rows, frozenset(row.transaction_id for row in pinned if row.transaction_id not in news))


def id_at(selection: Mapping[str, Any] | None, drawn: Sequence[str]) -> str | None:
    """The id behind the grid's selection, by the ids drawn last. A position beyond them selects nothing."""
    rows = ((selection or {}).get("selection") or {}).get("rows") or []
    if not rows or not 0 <= rows[0] < len(drawn):
        return None
    return drawn[rows[0]]


def selection_of(identifier: str | None, drawn: Sequence[str]) -> dict[str, Any]:
    """What the grid must hold to show `identifier` as selected among the ids about to be drawn."""
    rows = [drawn.index(identifier)] if identifier in drawn else []
    return {"selection": {"rows": rows, "columns": [], "cells": []}}


def step(identifier: str | None, drawn: Sequence[str], by: int) -> str | None:
    """The neighbour `by` places down; the nearest end stays itself. From nothing, down starts at the first row."""
    if not drawn:
        return None
    if identifier not in drawn:
        return drawn[0] if by > 0 else drawn[-1]
    return drawn[min(max(drawn.index(identifier) + by, 0), len(drawn) - 1)]


def next_open(after: str, standing: Standing, *, decided: frozenset[str] = frozenset()) -> str | None:
    """The next alert that still needs a verdict: below `after` first, then from the top; None when all are done."""
    ids = standing.ids
    start = ids.index(after) + 1 if after in ids else 0
    for row in (*standing.rows[start:], *standing.rows[:start]):
        skip = row.transaction_id in standing.gone or row.transaction_id in decided or row.transaction_id == after
        if not skip and row.alert_status is AlertStatus.OPEN:
            return row.transaction_id
    return None
