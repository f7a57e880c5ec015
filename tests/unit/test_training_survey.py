"""What a window holds is told before anything is trained on it, by the rules of the training set itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from services.lake import Lake
from services.training_survey import Survey, survey
from tests.pages.fakes import Faults
from tests.pages.fakes_training_data import MemoryTables, lake_rows
from tests.unit.lifecycle_fakes import NOW


def asked(*, days: float = 30, frauds: bool = True, only_frauds: bool = False, cutoff: datetime = NOW) -> Survey:
    transactions, labels = lake_rows(NOW)
    if not frauds:
        labels = labels.slice(0, 0)
    if only_frauds:
        known = set(labels["transaction_id"].to_pylist())
        transactions = transactions.filter(
            pa.array([key in known for key in transactions["transaction_id"].to_pylist()])
        )
    tables: Any = MemoryTables(Faults(), NOW, {"transactions": transactions, "labels": labels})
    return survey(Lake(tables), start=NOW - timedelta(days=days), end=NOW - timedelta(days=1), cutoff=cutoff)


def test_a_good_window_is_counted() -> None:
    transactions, labels = lake_rows(NOW)
    inside = [t for t in transactions.to_pylist() if NOW - timedelta(days=30) <= t["event_time"] < NOW - timedelta(1)]
    known = {label["transaction_id"] for label in labels.to_pylist() if label["labelled_at"] <= NOW}
    frauds = sum(t["transaction_id"] in known for t in inside)
    usable = sum(t["transaction_id"] in known or t["event_time"] <= NOW - timedelta(days=7) for t in inside)
    young = sum(t["transaction_id"] in known and t["event_time"] > NOW - timedelta(days=7) for t in inside)
    assert young > 0
    assert asked() == Survey(len(inside), usable, frauds, young=young)
    assert 0 < frauds < usable < len(inside)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ({"days": 1}, "The window holds no transactions. Choose other dates."),
        ({"days": 3, "frauds": False}, "has a label yet, and none is old enough to count as genuine"),
        ({"frauds": False}, "The window holds 0 known frauds among"),
        ({"only_frauds": True}, "usable transactions of the window are frauds; a model needs both kinds."),
    ],
)
def test_a_window_that_teaches_nothing_says_why(window: dict[str, Any], sentence: str) -> None:
    assert sentence in (asked(**window).problem or "")
