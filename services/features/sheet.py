"""The offline driver's matrix while it is filled.

Writing a column in the order of a kind and turning it into the order of the rows at the end is five times as fast as
writing every value to its row: what is read from here and there stays in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.columns import Ints, Transactions
from services.features.grouping import Group, sums


class Sheet:
    """[f, rows] float32, empty at first. `since_ms`: rows before it are left out."""

    def __init__(self, names: Sequence[str], rows: Transactions, since_ms: int | None) -> None:
        self.place = {name: place for place, name in enumerate(names)}
        chosen = np.ones(len(rows), np.bool_)
        if since_ms is not None:
            chosen[rows.given] = rows.at >= since_ms
        self.whole = bool(chosen.all())
        # The row of the result for each transaction by arrival, -1 where it is left out.
        self.target = rows.given if self.whole else np.where(chosen, np.cumsum(chosen) - 1, -1)[rows.given]
        self.cells = np.empty((len(names), int(chosen.sum())), np.float32)

    def put(self, names: Sequence[str], rows: Ints | None, values: Sequence[Any]) -> None:
        """`values`: a column (or number) a name, for `rows` (places among the transactions by arrival; None: all)."""
        target = self.target if rows is None else self.target[rows]
        kept = slice(None) if self.whole else target >= 0
        target = target[kept]
        for name, value in zip(names, values, strict=True):
            column = np.asarray(value, np.float32)
            self.cells[self.place[name]][target] = column[kept] if column.ndim else column

    def page(self, order: Ints) -> Page:
        return Page(self, order)

    def matrix(self) -> NDArray[np.float32]:
        """[rows, f], its memory by feature."""
        return self.cells.T


class Page:
    """The columns of one kind, which are `put` block by block in its own order and then `given` to the rows."""

    def __init__(self, sheet: Sheet, order: Ints) -> None:
        """`order`: the kind's transactions in its own order; the others are not written."""
        target = sheet.target[order]
        self._sheet = sheet
        self._kept: NDArray[np.bool_] | None = None
        if not sheet.whole:
            self._kept = target >= 0
            self._before = sums(self._kept)
            target = target[self._kept]
        # Where each row of the result stands in this order; anywhere if it does not.
        self._from = np.zeros(sheet.cells.shape[1], np.int64)
        self._from[target] = np.arange(len(target))

    def put(self, names: Sequence[str], g: Group, values: Sequence[Any]) -> None:
        """`values`: a column a name, of a block of the kind."""
        begin, end = g.begin, g.begin + len(g)
        kept: Any = slice(None)
        if self._kept is not None:
            kept = self._kept[begin:end]
            begin, end = int(self._before[begin]), int(self._before[end])
        for name, value in zip(names, values, strict=True):
            self._sheet.cells[self._sheet.place[name], begin:end] = value[kept]

    def give(self, names: Sequence[str]) -> None:
        """Turn columns into the order of the rows."""
        turned = np.empty(len(self._from), np.float32)
        for name in names:
            cells = self._sheet.cells[self._sheet.place[name]]
            # Places are never out of range; without a mode that says what then, numpy takes them into another copy.
            cells.take(self._from, out=turned, mode="clip")
            cells[:] = turned
