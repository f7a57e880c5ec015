"""What arrives late, or behind a verdict, gives the same numbers in both drivers, however late and however many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.features import stretches
from tests.unit.feature_columns import DAY, WIDE, differences, history, scored

HOUR = DAY // 24


def shaped(shape: str) -> tuple[dict[str, Any], dict[str, Any]]:
    transactions, labels = history(1_200, seed=41, entities=12, late=0.02)
    r, at, arrival = np.random.default_rng(4), transactions["event_ms"], transactions["received_ms"]
    if shape == "older than all that is remembered":
        at[r.random(len(at)) < 0.02] -= 200 * DAY
    elif shape == "clocks ahead":
        at[r.random(len(at)) < 0.02] += 50 * DAY
    elif shape == "many at one moment":
        at -= at % DAY
    elif shape == "all of them some time later":
        arrival[:] = at + r.integers(0, 2 * HOUR, len(at))
        labels["labelled_ms"] = at[r.integers(0, len(at), len(labels["labelled_ms"]))] + HOUR
    elif shape == "in no order at all":
        arrival[:] = r.permutation(arrival)
    return transactions, labels


@pytest.mark.parametrize("short", [1, 8])
@pytest.mark.parametrize(
    "shape",
    ["older than all that is remembered", "clocks ahead", "many at one moment", "all of them some time later",
     "in no order at all"],
)  # fmt: skip
def test_no_number_differs_whatever_came_late(monkeypatch: pytest.MonkeyPatch, shape: str, short: int) -> None:
    transactions, labels = shaped(shape)
    monkeypatch.setattr(stretches, "_SHORT", short)
    online, _ = scored(WIDE, transactions, labels)
    assert differences(WIDE, WIDE.matrix(transactions, labels), online) == {}


def test_only_what_is_late_is_walked_and_what_is_short_between() -> None:
    code = np.repeat(np.arange(3, dtype=np.int32), 20)
    late = np.zeros(60, np.bool_)
    late[[5, 10, 35]] = True
    # Entity 0: what comes before 5 and lies between 5 and 10 is short, the nine rows after 10 are not; 2 has none.
    assert np.flatnonzero(stretches.singled(code, late)).tolist() == [*range(11), 35, *range(36, 40)]


def test_the_latest_so_far_is_each_entity_s_own() -> None:
    code = np.array([1, 1, 1, 4, 4], np.int32)
    assert stretches.latest(code, np.array([5, 3, 9, 2, 1])).tolist() == [5, 5, 9, 2, 2]
    with pytest.raises(OverflowError, match="too many entities"):
        stretches.latest(np.arange(3, dtype=np.int32), np.array([0, 2**62, 5]))
