"""Work of the curator cut into groups, which bounds the memory of every commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def in_groups(items: Iterable[Item], rows_of: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Neighbouring items that have at most `most` rows together; a larger one is a group of its own."""
    group: list[Item] = []
    rows = 0
    for item in items:
        more = rows_of(item)
        if group and rows + more > most:
            yield group
            group, rows = [], 0
        group.append(item)
        rows += more
    if group:
        yield group
