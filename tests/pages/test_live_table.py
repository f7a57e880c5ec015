"""The selection belongs to a transaction while rows come, go and change places."""

from __future__ import annotations

from dataclasses import replace

from services.domain.states import AlertStatus
from services.transactions import QueueRow
from tests.pages.fakes import MemoryStore, row_of
from ui import live_table


def alerts(count: int) -> tuple[QueueRow, ...]:
    found = [row_of(t) for t in MemoryStore(size=80).items.values()]
    return tuple(row for row in found if row.alert_status is AlertStatus.OPEN)[:count]


def test_rows_stay_where_they_were_drawn_whatever_order_the_news_come_in() -> None:
    rows = alerts(4)
    shown = live_table.stand_still(rows, tuple(reversed(rows)))
    assert shown.rows == rows
    assert shown.gone == frozenset()


def test_newcomers_do_not_push_in_and_leavers_are_marked_in_place() -> None:
    rows = alerts(5)
    shown = live_table.stand_still(rows[:4], (rows[4], rows[0], rows[3]))
    assert shown.ids == tuple(r.transaction_id for r in rows[:4])
    assert shown.gone == {rows[1].transaction_id, rows[2].transaction_id}


def test_news_about_a_row_replace_its_content() -> None:
    rows = alerts(2)
    changed = replace(rows[1], score=0.123)
    assert live_table.stand_still(rows, (rows[0], changed)).rows[1].score == 0.123


def test_a_click_means_the_row_that_was_drawn_there() -> None:
    assert live_table.id_at({"selection": {"rows": [1], "columns": []}}, ("a", "b", "c")) == "b"
    assert live_table.id_at({"selection": {"rows": []}}, ("a",)) is None
    assert live_table.id_at({"selection": {"rows": [7]}}, ("a",)) is None
    assert live_table.id_at(None, ("a",)) is None


def test_the_selection_follows_its_transaction_to_another_place() -> None:
    assert live_table.selection_of("b", ("x", "y", "b"))["selection"]["rows"] == [2]
    assert live_table.selection_of("b", ("x", "y"))["selection"]["rows"] == []
    assert live_table.selection_of(None, ("x",))["selection"]["rows"] == []


def test_stepping_stops_at_both_ends_and_starts_at_the_top() -> None:
    drawn = ("a", "b", "c")
    assert live_table.step(None, drawn, 1) == "a"
    assert live_table.step("a", drawn, -1) == "a"
    assert live_table.step("c", drawn, 1) == "c"
    assert live_table.step("gone", drawn, 1) == "a"
    assert live_table.step("a", (), 1) is None


def test_the_next_alert_is_below_then_from_the_top_and_never_a_decided_one() -> None:
    rows = alerts(4)
    ids = [r.transaction_id for r in rows]
    shown = live_table.Standing(rows, frozenset({ids[2]}))
    assert live_table.next_open(ids[1], shown) == ids[3]
    assert live_table.next_open(ids[3], shown) == ids[0]
    assert live_table.next_open(ids[3], shown, decided=frozenset({ids[0], ids[1]})) is None
