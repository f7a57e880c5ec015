"""The offline driver works on blocks of entities at once, on several threads: neither changes a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.features import grouping, windows
from services.features.memory import FRAUDS_MAX
from tests.unit.feature_columns import DAY, NARROW, START, WIDE, differences, history, scored


@pytest.mark.parametrize("rows", [1, 50])
def test_no_number_depends_on_where_a_block_ends(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    transactions, labels = history(1_500, seed=21, entities=30, late=0.002)
    whole = WIDE.matrix(transactions, labels)
    monkeypatch.setattr(grouping, "BLOCK_ROWS", rows)
    assert differences(WIDE, WIDE.matrix(transactions, labels), whole) == {}
    since = START + 40 * DAY
    later = whole[transactions["event_ms"] >= since]
    assert differences(WIDE, WIDE.matrix(transactions, labels, since_ms=since), later) == {}


@pytest.mark.parametrize("told", [0.02, 0.9])
def test_frauds_that_all_stand_count_as_they_do_one_by_one_however_many(told: float) -> None:
    transactions, _ = history(1_200, seed=22, entities=12)
    chosen = np.flatnonzero(np.random.default_rng(2).random(1_200) < told)
    known = transactions["event_ms"][chosen] + 7 * DAY
    labels: dict[str, Any] = {"row": chosen, "label": np.ones(len(chosen), np.int8), "labelled_ms": known}
    # With many of them some merchants have more frauds than are remembered.
    merchants = transactions["entity.merchant"].take(chosen).to_pylist()
    assert (max(merchants.count(one) for one in set(merchants)) > FRAUDS_MAX) == (told > 0.5)
    by_id = {"transaction_id": transactions["transaction_id"].take(chosen), "value": np.full(len(chosen), "fraud")}
    online, _ = scored(NARROW, transactions, by_id | {"labelled_ms": known})
    offline = NARROW.matrix(transactions, labels)
    assert differences(NARROW, offline, online) == {}
    assert np.nanmax(offline[:, NARROW.names.index("merchant_unexplained_run")]) > 1


def test_more_than_two_bytes_of_entities_are_in_order() -> None:
    codes = np.random.default_rng(3).integers(0, 200_000, 5_000).astype(np.int32)
    assert (grouping.sorting(codes) == np.argsort(codes, kind="stable")).all()


def test_what_fails_in_a_block_fails_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ArithmeticError("a window that cannot be")

    monkeypatch.setattr(windows, "ranked", broken)
    transactions, labels = history(300, seed=23, entities=30)
    with pytest.raises(ArithmeticError, match="cannot be"):
        WIDE.matrix(transactions, labels)
