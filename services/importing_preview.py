"""What an import would make of a file's beginning; nothing is stored."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services import mapped_file
from services.domain.mapping import Mapping
from services.domain.transaction_rules import check_transaction, rules_of
from services.importing_records import located, records
from services.mapped_file import RowProblem
from services.worker_status import utc_now


@dataclass(frozen=True, slots=True)
class Preview:
    """`rows` were looked at; `records` are the good ones in the front door's shape, with their verdicts beside them
    ("fraud", "genuine" or None) and their numbers in the file."""

    rows: int
    records: tuple[dict[str, Any], ...]
    verdicts: tuple[str | None, ...]
    numbers: tuple[int, ...]
    problems: tuple[RowProblem, ...]


def preview(path: Path, mapping: Mapping, *, rows: int, token_key: bytes | None) -> Preview:
    """The first `rows` rows by the rules of an import. Raises InvalidData where the file does not fit the mapping."""
    key = token_key or secrets.token_bytes(32)
    batch = next(mapped_file.read(path, mapping, batch_rows=rows, token_key=key), None)
    if batch is None:
        return Preview(0, (), (), (), ())
    now, rules, problems = utc_now(), rules_of(mapping), list(batch.problems)
    good = []
    for number, (record, verdict) in zip(map(int, batch.rows), records(batch.table, mapping), strict=True):
        document, found = check_transaction(record, row=number, now=now, rules=rules)
        problems += [located(number, problem, mapping) for problem in found]
        if document is not None:
            good.append((number, record, None if verdict is None else str(verdict.value)))
    ordered = tuple(sorted(problems, key=lambda p: (p.row, p.column)))
    numbers, made, verdicts = (tuple(part) for part in zip(*good, strict=True)) if good else ((), (), ())
    return Preview(batch.last_row, made, verdicts, numbers, ordered)
