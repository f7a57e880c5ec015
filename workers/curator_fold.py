"""Changes + the rows that are there -> the rows that should be there. Pure; the tables fit in memory by chunks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.lake_schema import LakeTable

_ORDER = ("cluster_time", "raw_offset")


def latest(changes: pa.Table, key: str) -> pa.Table:
    """One row an id: the one with the greatest (cluster_time, raw_offset). Order of the result is not promised."""
    if changes.num_rows == 0:
        return changes
    codes = pc.dictionary_encode(changes[key].combine_chunks()).indices.to_numpy(zero_copy_only=False)
    time, offset = _stamps(changes)
    order = np.lexsort((offset, time, codes))
    ordered = codes[order]
    last_of_id = np.append(ordered[1:] != ordered[:-1], True)
    return changes.take(pa.array(order[last_of_id]))


def merge(existing: pa.Table, changes: pa.Table, table: LakeTable) -> pa.Table:
    """The table's rows after the changes.

    Both are unique by the table's key. A change replaces the row of its id unless that row is newer; a removal takes
    it away. Ties (the same event folded again) go to the change, which then is the same row.
    """
    assert table.key is not None
    found = pc.index_in(existing[table.key], value_set=changes[table.key].combine_chunks())
    matched = np.asarray(pc.is_valid(found).to_numpy(zero_copy_only=False), dtype=bool)
    if matched.any():
        where = pc.fill_null(found, 0).to_numpy(zero_copy_only=False)
        old_time, old_offset = _stamps(existing)
        new_time, new_offset = (stamps[where] for stamps in _stamps(changes))
        older_wins = matched & ((old_time > new_time) | ((old_time == new_time) & (old_offset > new_offset)))
        superseded = np.zeros(changes.num_rows, dtype=bool)
        superseded[where[older_wins]] = True
        existing = existing.filter(pa.array(~matched | older_wins))
        changes = changes.filter(pa.array(~superseded))
    added = changes.filter(pc.invert(changes["removed"])).select(table.schema.names)
    return pa.concat_tables([existing.select(table.schema.names), added.cast(table.schema)])


def append_new(existing: pa.Table, changes: pa.Table, table: LakeTable) -> pa.Table:
    """For a table that only grows: rows of unknown ids are added; known ids and removals change nothing."""
    assert table.key is not None
    known = pc.is_in(changes[table.key], value_set=existing[table.key].combine_chunks())
    fresh = changes.filter(pc.and_not(pc.invert(changes["removed"]), known)).select(table.schema.names)
    return pa.concat_tables([existing.select(table.schema.names), fresh.cast(table.schema)])


def _stamps(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    time, offset = (rows[name] for name in _ORDER)
    return pc.cast(time, pa.int64()).to_numpy(), offset.to_numpy()
