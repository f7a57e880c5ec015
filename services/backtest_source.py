"""Where a backtest's transactions come from: somebody's file through a mapping, or the desk's own lake."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services import mapped_file
from services.backtest_data import Portfolio, portfolio
from services.domain.mapping import Mapping
from services.errors import InvalidData
from services.features import epoch_ms, from_lake, lake_columns, plan_of
from services.lake import Lake

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


def read_lake(
    lake: Lake, mapping: Mapping | None, *, now: datetime, delay_days: float
) -> tuple[Portfolio, tuple[str, ...]]:
    """The desk's own transactions with the verdicts known now. `mapping` None: the demo's columns.

    The latest verdict counts; one that is inconclusive makes a row unknown. Without a verdict a transaction is genuine
    when it is older than the delay, else unknown. Raises NotFound while the lake is empty, Unavailable without S3.
    """
    plan = plan_of(mapping)
    beside = ("transaction_id", "event_time", "currency", "channel")
    rows = lake.read_transactions(lake.snapshot(), columns=tuple(dict.fromkeys((*lake_columns(plan), *beside))))
    columns = {name: values for name, values in from_lake(plan, rows).items() if name != "received_ms"}
    columns |= {"transaction_id": rows["transaction_id"], "currency": rows["currency"]}
    if mapping is None:
        columns["feature.channel"] = rows["channel"]
    times = (
        columns["event_ms"]
        if isinstance(columns["event_ms"], pa.ChunkedArray)
        else pa.chunked_array([columns["event_ms"]])
    )
    mature = pc.less_equal(times, epoch_ms(now - timedelta(days=delay_days)))
    columns["label"] = _labels(rows["transaction_id"], lake.read_labels(), mature)
    return portfolio(pa.table(columns), mapping), ()


def _labels(ids: pa.ChunkedArray, verdicts: pa.Table, mature: pa.ChunkedArray) -> pa.ChunkedArray:
    """1 fraud, 0 genuine, null unknown."""
    order = pc.sort_indices(verdicts, sort_keys=[("labelled_at", "descending"), ("label_id", "descending")])
    newest = verdicts.select(["transaction_id", "value"]).take(order)
    value = newest["value"].take(pc.index_in(ids, newest["transaction_id"].combine_chunks()))
    fraud, genuine = (pc.fill_null(pc.equal(value, word), False) for word in ("fraud", "genuine"))
    genuine = pc.or_(genuine, pc.and_(pc.is_null(value), mature))
    nothing = pa.scalar(None, pa.int8())
    return pc.if_else(fraud, np.int8(1), pc.if_else(genuine, np.int8(0), nothing))
