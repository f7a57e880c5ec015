"""Rows in the source's own columns, as its systems send them -> records of the front door's shape.

The same reading as a file's (`services.mapped_file`): the same ids, the same tokens, the same rules, so that a customer
whose history was imported is the same customer. A verdict among the columns is not read: it is told by a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.domain.mapping import Mapping
from services.errors import InvalidData, Problem
from services.importing_records import column_of, records
from services.mapped_file import Reader, optional_columns
from services.mapped_sources import raw_rows

_ABSENT = "is missing; send null where there is no value"


@dataclass(frozen=True, slots=True)
class ReadRows:
    """`records[i]` is made of row `rows[i]` (from 0); `problems` are of the others, by row and source column."""

    records: tuple[dict[str, Any], ...]
    rows: tuple[int, ...]
    problems: tuple[Problem, ...]


class SourceRows:
    """`token_key` keys the hashes that stand for card numbers, as at the import."""

    def __init__(self, mapping: Mapping, token_key: bytes | None) -> None:
        self.mapping, self._key = replace(mapping, label=None), token_key
        self._needed = set(self.mapping.columns) - optional_columns(self.mapping)

    def read(self, rows: Sequence[Any]) -> ReadRows:
        """Every column that the mapping needs must be there, with null where it has no value, so that a mistyped name
        is noticed; further columns are passed by. Raises InvalidData where card numbers come in and no key is set."""
        if self.mapping.tokenise and not self._key:
            raise InvalidData(
                f"The mapping replaces {', '.join(self.mapping.tokenise)} by keyed hashes: set FRAUD_DESK_TOKEN_KEY "
                "as at the import."
            )
        raw = raw_rows(rows, self.mapping.columns)
        batch = Reader(self.mapping, frozenset(), self._key or b"").batch(raw)
        found = {(p.row - 1, p.column): Problem(p.row - 1, p.column, p.message) for p in batch.problems}
        broken = {p.row for p in raw.problems}
        for number, row in enumerate(rows):
            if isinstance(row, dict) and number + 1 not in broken:
                absent = (column for column in self._needed if not _has(row, column))
                found |= {(number, column): Problem(number, column, _ABSENT) for column in absent}
        bad = {row for row, _ in found}
        good = [
            (int(number) - 1, record)
            for number, (record, _) in zip(batch.rows, records(batch.table, self.mapping), strict=True)
            if int(number) - 1 not in bad
        ]
        ordered = sorted(found.values(), key=lambda p: (p.row, p.field))
        return ReadRows(tuple(record for _, record in good), tuple(row for row, _ in good), tuple(ordered))

    def located(self, problem: Problem, read: ReadRows) -> Problem:
        """A problem of a record, at its row and the source's column; where the source has none, the message says which
        field of the desk's it is."""
        column = column_of(problem.field, self.mapping)
        message = problem.message if column or not problem.field else f"{problem.field} {problem.message}"
        return Problem(read.rows[problem.row], column, message)


def _has(row: dict[str, Any], column: str) -> bool:
    """Also a member of a nested object, outer.inner, as in JSON lines."""
    if column in row:
        return True
    for end in (place for place, sign in enumerate(column) if sign == "."):
        inner = row.get(column[:end])
        if isinstance(inner, dict) and _has(inner, column[end + 1 :]):
            return True
    return False
