"""Where a backtest's transactions come from: somebody's file through a mapping, or the desk's own lake."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from services import mapped_file
from services.backtest_data import Portfolio, portfolio
from services.domain.mapping import Mapping
from services.errors import InvalidData

# Of the problems of a file so many are told; the import lists them all.
_TOLD = 3


def read_file(path: Path, mapping: Mapping) -> tuple[Portfolio, tuple[str, ...]]:
    """(the file's transactions, notes on what was left out). InvalidData where nothing can be tested with them."""
    if mapping.label is None:
        raise InvalidData("The mapping has no [label]: a backtest needs to know which transactions were fraud.")
    table, problems = mapped_file.read_all(path, mapping)
    notes: tuple[str, ...] = ()
    if problems:
        told = "; ".join(f"row {p.row}, {p.column}: {p.message}" for p in problems[:_TOLD])
        rows = len({problem.row for problem in problems})
        notes = (f"{rows:,} rows were left out because of problems, such as: {told}",)
    repeated = table.num_rows - pc.count_distinct(table.column("transaction_id")).as_py()
    if repeated:
        notes = (*notes, f"{repeated:,} rows repeat the id of another; an import would keep the first of each.")
    return portfolio(table, mapping), notes
