"""The demo history: determinism, rates, shape of a day, over-dispersion, and how late the truth arrives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from embedded.simulator.columns import DAY_MS, POS, Scenario
from embedded.simulator.history import History, generate

UNTIL = datetime(2026, 11, 5, 9, 30, 15, 250_000, tzinfo=UTC)
COUNT = 40_000


@pytest.fixture(scope="module")
def history() -> History:
    return generate(transactions=COUNT, seed=11, until=UNTIL)


def test_same_seed_and_until_give_the_same_bytes() -> None:
    first, second = (generate(transactions=3_000, seed=5, until=UNTIL) for _ in range(2))
    assert first.documents(0, 3_000) == second.documents(0, 3_000)
    assert first.label_events(known_by=UNTIL) == second.label_events(known_by=UNTIL)
    other = generate(transactions=3_000, seed=6, until=UNTIL)
    assert other.documents(0, 1)[0]["amount_minor"] != first.documents(0, 1)[0]["amount_minor"] or (
        other.documents(0, 50) != first.documents(0, 50)
    )


def test_history_has_exactly_the_asked_count_in_order_within_150_days(history: History) -> None:
    assert len(history) == COUNT
    times = history.rows.time_ms
    assert (np.diff(times) >= 0).all()
    assert history.documents(0, 1)[0]["event_time"] >= UNTIL - timedelta(days=150)
    assert history.documents(COUNT - 1, COUNT)[0]["event_time"] < UNTIL
    # Every one of the 150 days has its share, the last included.
    per_day = np.bincount((times - times[0]) // DAY_MS, minlength=150)
    assert per_day[:149].min() > 0.4 * COUNT / 150


def test_one_transaction_in_a_hundred_is_fraud_and_every_scenario_occurs(history: History) -> None:
    assert 0.005 <= history.is_fraud().mean() <= 0.015
    assert set(np.unique(history.rows.scenario)) == {int(s) for s in Scenario}
    till = history.rows.channel == POS
    over = history.rows.amount > 22_000
    honest = ~history.is_fraud()
    assert not (till & over & honest).any()


def test_days_are_busier_than_nights_but_nights_are_not_empty(history: History) -> None:
    by_hour = np.bincount(history.rows.time_ms // 3_600_000 % 24, minlength=24)
    assert by_hour[15:19].mean() > 3 * by_hour[1:4].mean()
    assert by_hour.min() > 0.1 * by_hour.mean()


def test_honest_customers_have_heavy_days_and_quiet_weeks(history: History) -> None:
    rows = history.rows.take(~history.is_fraud())
    key = rows.customer.astype(np.int64) * 100_000 + rows.time_ms // DAY_MS
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    same_day = counts[inverse]
    # Live, every customer makes some 14 purchases a day: history must know such days as honest, not as the exception.
    assert (same_day >= 9).mean() > 0.10
    assert counts.max() <= 20
    week = rows.customer.astype(np.int64) * 1_000 + (rows.time_ms - rows.time_ms[0]) // (7 * DAY_MS)
    busy_weeks = len(np.unique(week))
    assert busy_weeks < 0.5 * history.world.customers * 21
    per_week = np.unique(week, return_counts=True)[1]
    mean = len(rows) / (history.world.customers * 21)
    variance = (per_week**2).sum() / (history.world.customers * 21) - mean**2
    assert variance > 4 * mean


def test_reports_arrive_late_and_not_always(history: History) -> None:
    known, fraud = history.reports, history.is_fraud()
    assert len(np.unique(known.row)) == len(known)
    assert (np.diff(known.at_ms) >= 0).all()
    days = (known.at_ms - history.rows.time_ms[known.row]) / DAY_MS
    by_customer = known.source == 0
    assert days[by_customer].min() >= 1
    assert days[by_customer].max() <= 10
    assert days[~by_customer].min() >= 20
    assert days[~by_customer].max() <= 90
    reported = np.isin(np.flatnonzero(fraud), known.row).mean()
    assert 0.80 <= reported <= 0.95
    friendly = (~fraud[known.row]).sum()
    assert 0 < friendly < 0.15 * len(known)


def test_only_reports_that_have_arrived_are_known(history: History) -> None:
    moment = UNTIL - timedelta(days=60)
    events = history.label_events(known_by=moment)
    assert events
    assert len(events) < len(history.label_events(known_by=UNTIL)) < len(history.reports)
    assert all(event["labelled_at"] <= moment for _, event in events)
    row, event = events[0]
    assert event["transaction_id"] == history.transaction_id(row)
    assert event["_id"] == f"{event['transaction_id']}:{event['source']}"
    assert event["event_time"] < event["labelled_at"]


def test_row_at_finds_the_first_row_not_before(history: History) -> None:
    row = history.row_at(UNTIL - timedelta(days=60))
    before, after = history.documents(row - 1, row + 1)
    assert before["event_time"] < UNTIL - timedelta(days=60) <= after["event_time"]
    assert history.row_at(UNTIL) == COUNT
