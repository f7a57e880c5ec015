"""The six ways fraud happens here: three of the Fraud Detection Handbook's simulator, three of its extension.

The handbook's act on honest purchases (an amount over 220 at a till; a terminal compromised for 28 days; a customer
compromised for 14 days with amounts multiplied by five). Card testing, account takeover, and rings add purchases of
their own. Each scenario has a budget, a share of all transactions; together they make 0.93 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedded.simulator.catalogue import FAR_COUNTRIES
from embedded.simulator.columns import DAY_MS, ECOM, KEYED, POS, STORED, Columns, Scenario
from embedded.simulator.population import World

BUDGET: dict[Scenario, float] = {
    Scenario.OVER_220: 0.0009,
    Scenario.COMPROMISED_TERMINAL: 0.0026,
    Scenario.COMPROMISED_CUSTOMER: 0.0020,
    Scenario.CARD_TESTING: 0.0018,
    Scenario.ACCOUNT_TAKEOVER: 0.0011,
    Scenario.RING: 0.0009,
}
ADDED = (Scenario.CARD_TESTING, Scenario.ACCOUNT_TAKEOVER, Scenario.RING)
TERMINAL_DAYS = 28
CUSTOMER_DAYS = 14


def compromise(rng: np.random.Generator, world: World, rows: Columns, *, start_ms: int, until_ms: int) -> None:
    """Turn honest rows into the handbook's three scenarios, in place, until each budget is used."""
    _over_220(rng, rows, int(BUDGET[Scenario.OVER_220] * len(rows)))
    _terminals(rng, world, rows, int(BUDGET[Scenario.COMPROMISED_TERMINAL] * len(rows)), start_ms, until_ms)
    _customers(rng, world, rows, int(BUDGET[Scenario.COMPROMISED_CUSTOMER] * len(rows)), start_ms, until_ms)


def _over_220(rng: np.random.Generator, rows: Columns, budget: int) -> None:
    picked = rng.choice(np.flatnonzero(rows.channel == POS), budget, replace=False)
    rows.amount[picked] = (22_001 + rng.exponential(14_000, budget)).astype(np.int64)
    rows.scenario[picked] = Scenario.OVER_220


def _terminals(
    rng: np.random.Generator, world: World, rows: Columns, budget: int, start_ms: int, until_ms: int
) -> None:
    """Terminals in random order, each skimmed for 28 days from a random time: four in five purchases are fraud."""
    by_terminal = _groups(rows.terminal, world.terminals)
    for terminal in rng.permutation(world.terminals):
        if budget <= 0:
            return
        begin = rng.integers(start_ms - TERMINAL_DAYS * DAY_MS, until_ms)
        at = by_terminal[terminal]
        hit = (rows.time_ms[at] >= begin) & (rows.time_ms[at] < begin + TERMINAL_DAYS * DAY_MS)
        hit &= (rows.scenario[at] == Scenario.GENUINE) & (rng.random(len(at)) < 0.8)
        # One busy terminal must not use up the budget that many quiet ones share.
        picked = at[hit][: max(40, budget // 8)]
        rows.scenario[picked] = Scenario.COMPROMISED_TERMINAL
        budget -= len(picked)


def _customers(
    rng: np.random.Generator, world: World, rows: Columns, budget: int, start_ms: int, until_ms: int
) -> None:
    """Customers in random order, each with leaked credentials for 14 days: a third of the purchases, at least one, are
    the thief's, five times the amount, card not present; half of them from a device of the thief's."""
    by_customer = _groups(rows.customer, world.customers)
    for customer in rng.permutation(world.customers):
        if budget <= 0:
            return
        begin = rng.integers(start_ms - CUSTOMER_DAYS * DAY_MS, until_ms)
        at = by_customer[customer]
        hit = (rows.time_ms[at] >= begin) & (rows.time_ms[at] < begin + CUSTOMER_DAYS * DAY_MS)
        window = at[hit & (rows.scenario[at] == Scenario.GENUINE)]
        if not len(window):
            continue
        picked = rng.choice(window, max(1, len(window) // 3), replace=False)
        thief = fraud_device(rng, world)
        stolen = rng.random() < 0.5
        rows.amount[picked] *= 5
        rows.terminal[picked] = rng.choice(world.online_terminals, len(picked))
        rows.channel[picked] = ECOM
        rows.entry[picked] = KEYED
        rows.device[picked] = thief if stolen else world.device[customer]
        rows.address[picked] = thief if stolen else int(world.device[customer])
        rows.scenario[picked] = Scenario.COMPROMISED_CUSTOMER
        budget -= len(picked)


def added(rng: np.random.Generator, world: World, *, count: int, start_ms: int, until_ms: int) -> Columns:
    """Exactly `count` purchases of card testing, account takeover, and rings in [start_ms, until_ms)."""
    total = sum(BUDGET[s] for s in ADDED)
    parts: list[Columns] = []
    left = count
    for scenario in ADDED:
        want = left if scenario is ADDED[-1] else round(count * BUDGET[scenario] / total)
        left -= want
        while want > 0:
            episode = EPISODES[scenario](rng, world, int(rng.integers(start_ms, until_ms)))
            episode = episode.take(episode.time_ms < until_ms)
            episode = episode.take(np.arange(min(want, len(episode))))
            parts.append(episode)
            want -= len(episode)
    return Columns.concat(parts)


def card_testing(rng: np.random.Generator, world: World, start_ms: int, customer: int | None = None) -> Columns:
    """5-14 tiny purchases within minutes at one or two shops of digital goods, then, mostly, one or two large ones."""
    tiny, large = int(rng.integers(5, 15)), int(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2]))
    shops = rng.choice(world.online_in("digital"), 2)
    terminal = np.concatenate([rng.choice(shops, tiny), rng.choice(world.online_in("electronics", "travel"), large)])
    amount = np.concatenate([rng.integers(50, 300, tiny), rng.integers(18_000, 90_000, large)])
    gaps = np.concatenate([rng.integers(4_000, 60_000, tiny), rng.integers(600_000, 3_600_000, large)])
    who = customer_or_any(rng, world, customer)
    return _remote(rng, world, Scenario.CARD_TESTING, who, start_ms + np.cumsum(gaps), terminal, amount, KEYED)


def account_takeover(rng: np.random.Generator, world: World, start_ms: int, customer: int | None = None) -> Columns:
    """2-5 large web purchases within two hours with the stored card, from a new device, mostly at shops far away."""
    count = int(rng.integers(2, 6))
    shops = world.online_in("electronics", "travel", "fashion")
    far = shops[[world.merchants.country[world.terminal_merchant[t]] in FAR_COUNTRIES for t in shops]]
    terminal = rng.choice(far if len(far) and rng.random() < 0.7 else shops, count)
    amount = (rng.lognormal(np.log(45_000), 0.5, count)).astype(np.int64)
    times = start_ms + np.sort(rng.integers(0, 7_200_000, count))
    who = customer_or_any(rng, world, customer)
    return _remote(rng, world, Scenario.ACCOUNT_TAKEOVER, who, times, terminal, amount, STORED)


def ring(rng: np.random.Generator, world: World, start_ms: int, customer: int | None = None) -> Columns:
    """4-8 accounts run from one device: each buys two to four resaleable things over three days."""
    people = rng.choice(world.customers, int(rng.integers(4, 9)), replace=False).astype(np.int32)
    if customer is not None:
        people[0] = customer
    who = np.repeat(people, rng.integers(2, 5, len(people)))
    times = start_ms + np.sort(rng.integers(0, 3 * DAY_MS, len(who)))
    terminal = rng.choice(world.online_in("electronics", "fashion", "digital"), len(who))
    amount = rng.integers(7_000, 42_000, len(who))
    return _remote(rng, world, Scenario.RING, rng.permutation(who), times, terminal, amount, KEYED)


EPISODES = {
    Scenario.CARD_TESTING: card_testing,
    Scenario.ACCOUNT_TAKEOVER: account_takeover,
    Scenario.RING: ring,
}


def customer_or_any(rng: np.random.Generator, world: World, customer: int | None) -> int:
    return int(rng.integers(0, world.customers)) if customer is None else customer


def fraud_device(rng: np.random.Generator, world: World) -> int:
    """One of the fraudsters' devices. They are few, so that over months the same one turns up at several victims."""
    return int(rng.integers(world.first_fraud_device, world.devices))


def _remote(
    rng: np.random.Generator,
    world: World,
    scenario: Scenario,
    customer: int | NDArray[np.int32],
    time_ms: NDArray[np.int64],
    terminal: NDArray[np.int32],
    amount: NDArray[np.int64],
    entry: int,
) -> Columns:
    """Web purchases of one episode, all from one of the fraudsters' devices at one address."""
    count = len(time_ms)
    device = fraud_device(rng, world)
    return Columns(
        time_ms=time_ms.astype(np.int64),
        customer=np.broadcast_to(np.asarray(customer, dtype=np.int32), (count,)).copy(),
        terminal=terminal.astype(np.int32),
        channel=np.full(count, ECOM, dtype=np.int8),
        entry=np.full(count, entry, dtype=np.int8),
        amount=amount.astype(np.int64),
        device=np.full(count, device, dtype=np.int32),
        address=np.full(count, device, dtype=np.int64),
        scenario=np.full(count, scenario, dtype=np.int8),
    )


def _groups(values: NDArray[np.int32], size: int) -> list[NDArray[np.intp]]:
    """Row positions of each value 0..size-1, in row order."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.searchsorted(values[order], np.arange(1, size)))
