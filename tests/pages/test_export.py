"""Spreadsheets read the export as data: nothing in it becomes a formula."""

from __future__ import annotations

import csv
import io

import pytest

from services.transactions import QueueFilter, QueueView, Sort
from tests.pages import fakes
from ui import export


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\x00", " "])
def test_text_that_begins_like_a_formula_is_quoted(start: str) -> None:
    assert export.cell(f"{start}1+1").startswith("'")


def test_numbers_stay_numbers_and_absent_values_stay_empty() -> None:
    assert export.cell(-1.5) == "-1.5"
    assert export.cell(None) == ""
    assert export.cell("plain") == "plain"


def test_the_export_has_every_row_of_the_filter_in_the_shown_order() -> None:
    desk = fakes.desk()
    data = export.queue_csv(desk.transactions, QueueFilter(view=QueueView.ALL), Sort.NEWEST)
    lines = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert len(lines) == 260
    assert [line["event_time"] for line in lines] == sorted((line["event_time"] for line in lines), reverse=True)
    assert tuple(lines[0]) == export.COLUMNS
