"""States kept for a file for some seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services import live_scoring_states
from services.live_scoring_states import FRESH_SECONDS, RecentStates


class Store:
    def __init__(self) -> None:
        self.items: dict[str, Any] = {"customer:a": 1, "customer:b": 2}
        self.asked: list[list[str]] = []

    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        self.asked.append(list(keys))
        return {key: self.items[key] for key in keys if key in self.items}

    def known(self, kind: str, limit: int) -> tuple[str, ...]:
        return ()


def test_a_state_is_asked_for_once_until_it_is_too_old_and_so_is_one_that_is_absent() -> None:
    store, now = Store(), [0.0]
    states = RecentStates(store, clock=lambda: now[0])
    assert states.load(["customer:a", "customer:x"]) == {"customer:a": 1}
    store.items |= {"customer:a": 5, "customer:x": 6}
    assert states.load(["customer:a", "customer:b", "customer:x"]) == {"customer:a": 1, "customer:b": 2}
    assert store.asked == [["customer:a", "customer:x"], ["customer:b"]]
    now[0] = FRESH_SECONDS
    assert states.load(["customer:a", "customer:x"]) == {"customer:a": 5, "customer:x": 6}


def test_no_more_than_the_limit_is_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(live_scoring_states, "MOST", 3)
    store = Store()
    states = RecentStates(store)
    for name in "abcdefg":
        states.load([f"customer:{name}"])
        assert len(states._held) <= 3
    assert states.load(["customer:a", "customer:b"]) == {"customer:a": 1, "customer:b": 2}
