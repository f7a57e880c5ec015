"""Changes + the rows that are there -> the rows that should be there. Pure; the tables fit in memory by chunks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.lake_schema import LABELS_TABLE, LakeTable

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


def superseded(existing: pa.Table, changes: pa.Table, table: LakeTable) -> np.ndarray:
    """Which changes a stored row makes void, as flags. Both are unique by the table's key; `existing` needs only the
    key, cluster_time and raw_offset.

    A newer row does. Of the same event folded again the change stands, and then is the same row. A table that only
    grows takes a known id again only with a later time (a copy of it, in a new epoch), and no removals.
    """
    grows = table is LABELS_TABLE
    void = np.asarray(changes["removed"]) if grows else np.zeros(changes.num_rows, dtype=bool)
    found = pc.index_in(existing[table.key], value_set=changes[table.key].combine_chunks())
    matched = np.asarray(pc.is_valid(found), dtype=bool)
    where = np.asarray(pc.fill_null(found, 0))[matched]
    old_time, old_offset = (stamps[matched] for stamps in _stamps(existing))
    new_time, new_offset = (stamps[where] for stamps in _stamps(changes))
    newer = (old_time > new_time) | ((old_time == new_time) & (grows | (old_offset > new_offset)))
    void = void.copy()
    void[where[newer]] = True
    return void


def added(stays: pa.Table, changes: pa.Table, table: LakeTable) -> pa.Table:
    """The rows that stay and those the changes bring."""
    brought = changes.filter(pc.invert(changes["removed"])).select(table.schema.names)
    return pa.concat_tables([stays.select(table.schema.names), brought.cast(table.schema)])


def merge(existing: pa.Table, changes: pa.Table, table: LakeTable) -> pa.Table:
    """The table's rows after the changes, where all of them are at hand."""
    changes = changes.filter(pa.array(~superseded(existing, changes, table)))
    stays = pc.invert(pc.is_in(existing[table.key], value_set=changes[table.key].combine_chunks()))
    return added(existing.filter(stays), changes, table)


def _stamps(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    time, offset = (rows[name] for name in _ORDER)
    return np.asarray(pc.cast(time, pa.int64())), np.asarray(offset)
