"""The two drivers give the same numbers, and nothing of the future is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from services.features import DEMO, LabelEvent, replay
from tests.unit.feature_columns import DAY, NARROW, START, WIDE, differences, history, scored
from tests.unit.feature_events import at, verdict


def upto(columns: dict[str, Any], chosen: Any) -> dict[str, Any]:
    return {name: column.filter(pa.array(chosen)) if isinstance(column, pa.Array) else column[chosen]
            for name, column in columns.items()}  # fmt: skip


def test_no_number_differs_over_a_hundred_thousand_transactions_with_late_ones_and_changed_verdicts() -> None:
    transactions, labels = history(100_000, seed=11, entities=4_000, late=0.001)
    online, _ = scored(NARROW, transactions, labels)
    assert differences(NARROW, NARROW.matrix(transactions, labels), online) == {}


@pytest.mark.parametrize(("late", "entities"), [(0.0, 60), (0.001, 300), (0.05, 300)])
def test_no_number_differs_for_any_kind_of_feature(late: float, entities: int) -> None:
    transactions, labels = history(4_000, seed=12, entities=entities, late=late)
    online, _ = scored(WIDE, transactions, labels)
    offline = WIDE.matrix(transactions, labels)
    assert differences(WIDE, offline, online) == {}
    # Nothing of this is for want of values: every feature has at least two.
    assert all(len(np.unique(column[~np.isnan(column)])) > 1 for column in offline.T)


def test_states_that_went_through_the_database_give_the_same_and_so_does_one_at_a_time() -> None:
    transactions, labels = history(700, seed=13, entities=12, late=0.01)
    plain, states = scored(WIDE, transactions, labels)
    stored, stored_states = scored(WIDE, transactions, labels, batch=1, stored=True)
    assert plain.tobytes() == stored.tobytes()
    assert states == stored_states


def test_transactions_may_be_given_in_any_order() -> None:
    transactions, labels = history(3_000, seed=14, entities=80, late=0.01)
    # Equal arrivals keep the order they are given in, so they are told apart first.
    transactions["received_ms"] = np.argsort(np.argsort(transactions["received_ms"], kind="stable")) + START
    labels["labelled_ms"] = labels["labelled_ms"] - START
    turned = np.random.default_rng(1).permutation(3_000)
    mixed = {n: c.take(pa.array(turned)) if isinstance(c, pa.Array) else c[turned] for n, c in transactions.items()}
    assert differences(WIDE, WIDE.matrix(transactions, labels)[turned], WIDE.matrix(mixed, labels)) == {}


def test_a_future_verdict_never_changes_a_past_vector() -> None:
    transactions, labels = history(2_500, seed=15, entities=60)
    middle = START + 40 * DAY
    past = transactions["event_ms"] <= middle
    whole = WIDE.matrix(transactions, labels)
    part = WIDE.matrix(transactions, upto(labels, labels["labelled_ms"] <= middle))
    assert differences(WIDE, whole[past], part[past]) == {}
    assert differences(WIDE, whole[~past], part[~past])


def test_a_future_transaction_never_changes_a_past_vector() -> None:
    transactions, labels = history(2_500, seed=16, entities=60)
    past = transactions["event_ms"] <= START + 40 * DAY
    part = WIDE.matrix(upto(transactions, past), labels)
    assert differences(WIDE, WIDE.matrix(transactions, labels)[past], part) == {}


def test_a_verdict_on_a_transaction_is_not_in_its_own_vector() -> None:
    transactions, _ = history(2_000, seed=17, entities=40)
    known = {"row": np.arange(2_000), "label": np.ones(2_000, np.int8), "labelled_ms": transactions["event_ms"] + 1}
    but_last = {name: column[:-1] for name, column in known.items()}
    assert WIDE.matrix(transactions, known)[-1].tobytes() == WIDE.matrix(transactions, but_last)[-1].tobytes()


def test_rows_before_a_moment_are_history_only() -> None:
    transactions, labels = history(2_000, seed=18, entities=40, late=0.01)
    since = START + 50 * DAY
    whole, part = WIDE.matrix(transactions, labels), WIDE.matrix(transactions, labels, since_ms=since)
    assert differences(WIDE, whole[transactions["event_ms"] >= since], part) == {}


def test_no_transactions_and_no_labels_are_no_rows() -> None:
    transactions, labels = history(50, seed=19, entities=5)
    empty = upto(transactions, np.zeros(50, np.bool_))
    assert WIDE.matrix(empty, labels).shape == WIDE.matrix(empty).shape == (0, len(WIDE.names))
    assert WIDE.matrix(transactions).shape == (50, len(WIDE.names))


def test_a_plan_says_what_it_computes_and_another_one_has_another_version() -> None:
    assert len({WIDE.version, NARROW.version, DEMO.version}) == 3
    assert all(spec.name == name and spec.title and spec.description for spec, name in
               zip(WIDE.features, WIDE.names, strict=True))  # fmt: skip
    assert "beneficiary" in WIDE.features[WIDE.names.index("beneficiary_unexplained_run")].description


def test_replay_goes_on_from_states_and_skips_rows_before_a_moment() -> None:
    events = [at(n * 3_600_000, transaction_id=f"t{n}", customer_id=f"c{n % 7}") for n in range(200)]
    labels = [verdict(event, n * 3_600_000 + DAY) for n, event in enumerate(events[:150:3])]
    labels.sort(key=lambda label: label.labelled_ms)
    whole: dict[str, list[float]] = {}
    replay(DEMO, events, labels, on_row=lambda event, vector: whole.update({event.transaction_id: vector}))
    middle = events[100].at_ms
    states = replay(DEMO, events[:100], [x for x in labels if x.labelled_ms < middle])
    rows: dict[str, list[float]] = {}
    later = [x for x in labels if x.labelled_ms >= middle]
    replay(DEMO, events[100:], later, states=states, on_row=lambda e, v: rows.update({e.transaction_id: v}))
    assert list(rows) == [f"t{n}" for n in range(100, 200)]
    assert all(np.array(whole[key]).tobytes() == np.array(vector).tobytes() for key, vector in rows.items())
    since: list[str] = []
    replay(DEMO, events, labels, since_ms=middle, on_row=lambda event, vector: since.append(event.transaction_id))
    assert since == list(rows)


def test_replay_refuses_to_go_back_in_time() -> None:
    events = [at(0), at(-1)]
    with pytest.raises(ValueError, match="events are not in time order"):
        replay(DEMO, events, [])
    labels: list[LabelEvent] = [verdict(at(0), 5), verdict(at(0), 4)]
    with pytest.raises(ValueError, match="labels are not in the order"):
        replay(DEMO, [], labels)
