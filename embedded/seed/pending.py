"""Verdicts that will become known later in the replay, in the order they will."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from embedded.seed.analysts import Verdict


@dataclass(order=True, frozen=True, slots=True)
class Due:
    """At `at_ms` either a report (`entry`, a finished `labels` document) or a verdict on row `row` becomes known."""

    at_ms: int
    order: int
    row: int = field(compare=False)
    entry: dict[str, Any] | None = field(compare=False, default=None)
    verdict: Verdict | None = field(compare=False, default=None)


class Pending:
    def __init__(self) -> None:
        self._heap: list[Due] = []
        self._made = 0

    def add(self, at_ms: int, row: int, *, entry: dict[str, Any] | None = None, verdict: Verdict | None = None) -> None:
        self._made += 1
        heapq.heappush(self._heap, Due(at_ms, self._made, row, entry, verdict))

    def before(self, limit_ms: int) -> Iterator[Due]:
        """Take out, in order, what becomes known before `limit_ms`."""
        while self._heap and self._heap[0].at_ms < limit_ms:
            yield heapq.heappop(self._heap)

    def rows(self) -> set[int]:
        """Rows that something is still due for."""
        return {due.row for due in self._heap}
