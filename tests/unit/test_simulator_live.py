"""Live traffic: arrivals at the rate, customers in turn, fraud in bursts, nothing carried over an outage."""

from __future__ import annotations

import numpy as np
import pytest

from embedded.simulator.columns import Scenario
from embedded.simulator.live import EPISODE_LASTS_MS, Live
from embedded.simulator.population import World, build

START = 1_790_000_000_000


@pytest.fixture(scope="module")
def world() -> World:
    return build(transactions=10_000, seed=2)


def run(live: Live, seconds: int, *, start: int = START) -> list:
    live.due(start)
    return [live.due(start + second * 1000) for second in range(1, seconds + 1)]


def test_arrivals_come_at_the_rate_and_never_from_the_future(world: World) -> None:
    live = Live(world, np.random.default_rng(1), rate=5.0)
    assert len(live.due(START)) == 0
    total = 0
    for second in range(1, 601):
        rows = live.due(START + second * 1000)
        assert (rows.time_ms <= START + second * 1000).all()
        assert (rows.time_ms > START + (second - 1) * 1000).all()
        assert (np.diff(rows.time_ms) >= 0).all()
        total += int((rows.scenario == Scenario.GENUINE).sum())
    assert 2_700 < total < 3_300


def test_customers_take_turns(world: World) -> None:
    live = Live(world, np.random.default_rng(1), rate=2.0)
    honest = np.concatenate([r.customer[r.scenario == 0] for r in run(live, 200)])
    assert len(np.unique(honest)) >= len(honest) - 2


def test_fraud_comes_in_bursts_at_about_one_in_a_hundred(world: World) -> None:
    live = Live(world, np.random.default_rng(4), rate=4.0)
    rows = run(live, 3_600)
    total, fraud = sum(len(r) for r in rows), sum(int((r.scenario > 0).sum()) for r in rows)
    assert 0.003 < fraud / total < 0.025
    for _ in range(60):
        episode = live.episode(START)
        assert len(episode)
        assert (episode.scenario > 0).all()
        assert (episode.time_ms - START).max() <= EPISODE_LASTS_MS


def test_arrivals_during_an_outage_are_not_queued_up(world: World) -> None:
    live = Live(world, np.random.default_rng(1), rate=3.0)
    run(live, 10)
    live.skip_to(START + 3_600_000)
    rows = live.due(START + 3_601_000)
    assert len(rows) < 60
    assert (rows.time_ms >= START + 3_600_000).all()


def test_a_rate_of_zero_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Live(world, np.random.default_rng(1), rate=0)
