"""Folding against a naive oracle: a dictionary that every event is applied to in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lake_schema import LABELS, LABELS_TABLE, TRANSACTIONS, TRANSACTIONS_TABLE
from workers.curator_fold import latest, merge
from workers.curator_rows import changes_schema

START = datetime(2026, 1, 1, tzinfo=UTC)
# (id, seconds since START at which the change was committed, removed); offsets follow the order of the list.
EVENTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.booleans()), max_size=25).map(
    lambda events: sorted(events, key=lambda event: event[1])
)


def changes(events: list[tuple[str, int, bool]], first: int) -> pa.Table:
    rows = [
        {
            "transaction_id": key,
            "event_time": None if removed else START,
            "cluster_time": START + timedelta(seconds=seconds),
            "raw_offset": first + index,
            "version": first + index,
            "removed": removed,
        }
        for index, (key, seconds, removed) in enumerate(events)
    ]
    return pa.Table.from_pylist(rows, schema=changes_schema(TRANSACTIONS_TABLE))


def versions(table: pa.Table) -> dict[str, Any]:
    rows = table.to_pylist()
    assert len({row["transaction_id"] for row in rows}) == len(rows)
    return {row["transaction_id"]: row["version"] for row in rows}


def oracle(events: list[tuple[str, int, bool]]) -> dict[str, int]:
    state: dict[str, int] = {}
    for offset, (key, _, removed) in enumerate(events):
        state.pop(key, None)
        if not removed:
            state[key] = offset
    return state


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 25), st.integers(0, 25))
def test_folding_in_any_cuts_and_again_gives_the_latest_state(
    events: list[tuple[str, int, bool]], cut: int, again: int
) -> None:
    cut = min(cut, len(events))
    first, second = changes(events[:cut], 0), changes(events[cut:], cut)
    state = merge(TRANSACTIONS.empty_table(), latest(first, "transaction_id"), TRANSACTIONS_TABLE)
    state = merge(state, latest(second, "transaction_id"), TRANSACTIONS_TABLE)
    assert versions(state) == oracle(events)
    # The last object is written again with its beginning unchanged and folded once more.
    repeated = latest(changes(events[min(again, cut) :], min(again, cut)), "transaction_id")
    assert versions(merge(state, repeated, TRANSACTIONS_TABLE)) == oracle(events)


def test_an_older_change_does_not_replace_a_newer_row() -> None:
    state = merge(TRANSACTIONS.empty_table(), changes([("a", 2, False)], 5), TRANSACTIONS_TABLE)
    assert versions(merge(state, changes([("a", 1, False)], 9), TRANSACTIONS_TABLE)) == {"a": 5}
    assert versions(merge(state, changes([("a", 1, True)], 9), TRANSACTIONS_TABLE)) == {"a": 5}


def test_labels_are_only_ever_added() -> None:
    def label(key: str, value: str) -> pa.Table:
        row = {"label_id": key, "value": value, "labelled_at": START, "cluster_time": START, "raw_offset": 1}
        return pa.Table.from_pylist([row | {"removed": False}], schema=changes_schema(LABELS_TABLE))

    once = merge(LABELS.empty_table(), label("l1", "fraud"), LABELS_TABLE)
    both = merge(once, pa.concat_tables([label("l1", "genuine"), label("l2", "genuine")]), LABELS_TABLE)
    assert both.select(["label_id", "value"]).to_pylist() == [
        {"label_id": "l1", "value": "fraud"},
        {"label_id": "l2", "value": "genuine"},
    ]
