"""The two drivers give the same vectors, and nothing of the future is in them."""

from __future__ import annotations

import random
import struct
from typing import Any

import bson
import pytest

from services.features import (
    Event,
    LabelEvent,
    State,
    compute,
    entity_keys,
    label_keys,
    observe,
    observe_label,
    replay,
)

DAY = 86_400_000


def history(count: int, seed: int) -> tuple[list[Event], list[LabelEvent]]:
    """Random events in time order, several at one millisecond, and verdicts in the order they became known."""
    r = random.Random(seed)
    homes = [(r.uniform(-5, 20), r.uniform(40, 60)) for _ in range(300)]
    at_ms, events, labels = 1_780_000_000_000, [], []
    for n in range(count):
        at_ms += r.choice([0, 1, 60_000, r.randrange(1, 300_000)])
        who, merchant, channel = r.randrange(300), r.randrange(120), r.choice(["pos", "pos", "ecom", "atm", "moto"])
        here = (r.uniform(-5, 20), r.uniform(40, 60)) if r.random() < 0.9 else (None, None)
        event = Event(
            transaction_id=f"t{n}",
            at_ms=at_ms,
            amount_minor=int(r.lognormvariate(8, 1)) if r.random() < 0.99 else 0,
            customer_id=f"c.{who}",
            merchant_id=f"m:{merchant}",
            terminal_id=f"T{r.randrange(200)}" if channel != "ecom" else None,
            device_id=f"d{r.randrange(250)}" if channel == "ecom" else None,
            channel=channel,
            entry_mode=r.choice(["chip", "contactless", "keyed", "swipe", "stored"]),
            category=f"k{merchant % 13}",
            country=r.choice(["DE", "FR", None]),
            home_country=r.choice(["DE", None]),
            lon=here[0],
            lat=here[1],
            home_lon=homes[who][0],
            home_lat=homes[who][1],
        )
        events.append(event)
        if r.random() < 0.05:
            labels += [_label(event, r) for _ in range(r.choice([1, 1, 2]))]
    return events, sorted(labels, key=lambda label: label.labelled_ms)


def _label(event: Event, r: random.Random) -> LabelEvent:
    return LabelEvent(
        transaction_id=event.transaction_id,
        customer_id=event.customer_id,
        merchant_id=event.merchant_id,
        terminal_id=event.terminal_id,
        device_id=event.device_id,
        event_ms=event.at_ms,
        amount_minor=event.amount_minor,
        value=r.choice(["fraud", "fraud", "genuine", "inconclusive"]),
        labelled_ms=event.at_ms + r.choice([0, r.randrange(20 * DAY)]),
    )


def exact(vector: list[float]) -> bytes:
    """The bits of a vector: nan equals nan, and nothing is rounded."""
    return struct.pack(f"{len(vector)}d", *vector)


def offline(events: list[Event], labels: list[LabelEvent]) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}

    def keep(event: Event, vector: list[float]) -> None:
        rows[event.transaction_id] = exact(vector)

    replay(events, labels, on_row=keep)
    return rows


class Store:
    """States as MongoDB keeps them: bytes between one transaction and the next."""

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}

    def load(self, keys: tuple[str, ...]) -> dict[str, State]:
        return {key: bson.decode(self._bytes[key]) for key in keys if key in self._bytes}

    def save(self, states: dict[str, State]) -> None:
        for key, state in states.items():
            self._bytes[key] = bson.encode(state)


def online(events: list[Event], labels: list[LabelEvent]) -> dict[str, bytes]:
    store, rows = Store(), {}
    todo: list[Any] = sorted([*labels, *events], key=_moment)
    for item in todo:
        if isinstance(item, LabelEvent):
            states = store.load(label_keys(item))
            observe_label(item, states)
        else:
            states = store.load(entity_keys(item))
            rows[item.transaction_id] = exact(compute(item, states))
            observe(item, states)
        store.save(states)
    return rows


def _moment(item: Event | LabelEvent) -> tuple[int, int]:
    return (item.labelled_ms, 0) if isinstance(item, LabelEvent) else (item.at_ms, 1)


def test_both_drivers_agree_bit_for_bit_over_twenty_thousand_events() -> None:
    events, labels = history(20_000, seed=11)
    former, latter = offline(events, labels), online(events, labels)
    assert len(former) == 20_000
    assert sum(former[key] != latter[key] for key in former) == 0


def test_a_future_verdict_never_changes_a_past_vector() -> None:
    events, labels = history(4_000, seed=12)
    middle = events[2_000].at_ms
    with_all = offline(events, labels)
    without = offline(events, [label for label in labels if label.labelled_ms <= middle])
    past = [event.transaction_id for event in events if event.at_ms <= middle]
    assert all(with_all[key] == without[key] for key in past)
    later = [event.transaction_id for event in events if event.at_ms > middle]
    assert any(with_all[key] != without[key] for key in later)


def test_a_future_transaction_never_changes_a_past_vector() -> None:
    events, labels = history(4_000, seed=13)
    whole, part = offline(events, labels), offline(events[:1_500], labels)
    assert all(whole[key] == vector for key, vector in part.items())


def test_a_verdict_on_a_transaction_is_not_in_its_own_vector() -> None:
    events, _ = history(3_000, seed=14)
    r = random.Random(1)
    labels = sorted((_label(event, r) for event in events), key=lambda label: label.labelled_ms)
    for label in labels:
        label.labelled_ms += 1  # known a millisecond after the transaction at the earliest
    labels.sort(key=lambda label: label.labelled_ms)
    last = events[-1]
    own = [label for label in labels if label.transaction_id == last.transaction_id]
    others = [label for label in labels if label.transaction_id != last.transaction_id]
    assert own
    assert offline(events, labels)[last.transaction_id] == offline(events, others)[last.transaction_id]


def test_replay_goes_on_from_states_and_skips_rows_before_a_moment() -> None:
    events, labels = history(2_000, seed=15)
    middle = events[1_000].at_ms
    whole = offline(events, labels)
    states = replay([e for e in events if e.at_ms < middle], [x for x in labels if x.labelled_ms < middle])
    rows: dict[str, bytes] = {}
    replay(
        [e for e in events if e.at_ms >= middle],
        [x for x in labels if x.labelled_ms >= middle],
        states=states,
        on_row=lambda event, vector: rows.__setitem__(event.transaction_id, exact(vector)),
    )
    assert rows
    assert all(whole[key] == vector for key, vector in rows.items())
    since: list[str] = []
    replay(events, labels, since_ms=middle, on_row=lambda event, vector: since.append(event.transaction_id))
    assert since == list(rows)


def test_replay_refuses_to_go_back_in_time() -> None:
    events, labels = history(100, seed=16)
    with pytest.raises(ValueError, match="events are not in time order"):
        replay([events[-1], events[0]], [])
    labels = [_label(event, random.Random(3)) for event in (events[99], events[0])]
    labels[0].labelled_ms = labels[1].labelled_ms + 1
    with pytest.raises(ValueError, match="labels are not in the order"):
        replay([], labels)


def test_a_state_is_small_enough_to_be_read_and_written_with_every_transaction() -> None:
    events, labels = history(10_000, seed=17)
    assert max(len(bson.encode(state)) for state in replay(events, labels).values()) < 8_000
