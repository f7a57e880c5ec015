"""What honest customers do: when they buy, where, for how much, and with what.

Activity is over-dispersed on purpose: a customer has quiet weeks and heavy days of up to MAX_A_DAY purchases. Live
traffic goes round the same customers far more densely than history does; a model that had never seen an honest heavy
day would take every live customer for a thief.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedded.simulator.catalogue import CATEGORIES, CATEGORY_INDEX, HOUR_SHAPE, WEEKDAY_SHAPE
from embedded.simulator.columns import (
    ATM,
    CHIP,
    CONTACTLESS,
    DAY_MS,
    ECOM,
    HOUR_MS,
    KEYED,
    MOTO,
    POS,
    STORED,
    SWIPE,
    Columns,
)
from embedded.simulator.population import FAVOURITES, NEARBY, TRAVEL_DAYS, World

MAX_A_DAY = 18
# The handbook's rule: at a till, more than 220 is fraud. Honest till amounts stay below it.
TILL_LIMIT_MINOR = 22_000
_FACTOR = np.array([c.amount_factor for c in CATEGORIES])
_CASH = CATEGORY_INDEX["cash"]
_REMOTE_ORDERS = np.array([c.key in ("travel", "home") for c in CATEGORIES])
# A customer keeps to the first few of the places they know.
_NEARBY_P = np.array([1 / (slot + 1.5) for slot in range(NEARBY)])
_NEARBY_P /= _NEARBY_P.sum()
_FAVOURITE_P = np.array([1 / (slot + 1.2) for slot in range(FAVOURITES)])
_FAVOURITE_P /= _FAVOURITE_P.sum()


def occasions(
    rng: np.random.Generator, world: World, *, count: int, start_ms: int, until_ms: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(customer, time) of exactly `count` purchases in [start_ms, until_ms), in no order.

    Intensity = customer's activity x a gamma factor of the week (shape 0.35) x one of the day (shape 0.22) x weekday;
    counts are Poisson and capped at MAX_A_DAY.
    """
    first_day, last_day = start_ms // DAY_MS, (until_ms - 1) // DAY_MS
    days = int(last_day - first_day + 1)
    week = rng.gamma(0.35, 1 / 0.35, (world.customers, days // 7 + 1))
    intensity = rng.gamma(0.22, 1 / 0.22, (world.customers, days))
    intensity *= np.repeat(week, 7, axis=1)[:, :days]
    weekday = (np.arange(first_day, last_day + 1) + 3) % 7
    intensity *= world.activity[:, None] * np.array(WEEKDAY_SHAPE)[weekday][None, :]
    # Edge days are partial and heavy days are cut: aim high, then keep a random `count`.
    customers: list[NDArray[np.int32]] = []
    times: list[NDArray[np.int64]] = []
    found = 0
    hour_p = np.array(HOUR_SHAPE) / sum(HOUR_SHAPE)
    while found < count:
        per_day = np.minimum(rng.poisson(intensity * (1.35 * (count - found) / intensity.sum())), MAX_A_DAY)
        who, day = np.nonzero(per_day)
        repeat = per_day[who, day]
        who, day = np.repeat(who, repeat), np.repeat(day, repeat)
        hour = rng.choice(24, len(who), p=hour_p)
        time = (first_day + day) * DAY_MS + hour * HOUR_MS + rng.integers(0, HOUR_MS, len(who))
        inside = (time >= start_ms) & (time < until_ms)
        customers.append(who[inside].astype(np.int32))
        times.append(time[inside])
        found += int(inside.sum())
    customer, at = np.concatenate(customers), np.concatenate(times)
    keep = rng.permutation(len(customer))[:count]
    return customer[keep], at[keep]


def purchases(
    rng: np.random.Generator, world: World, customer: NDArray[np.int32], time_ms: NDArray[np.int64]
) -> Columns:
    """An honest purchase for each (customer, time): place, amount, entry mode, device, all by the customer's habits."""
    count = len(customer)
    online = rng.random(count) < world.online_share[customer]
    terminal = world.nearby[customer, rng.choice(NEARBY, count, p=_NEARBY_P)]
    away = world.travel[customer, (time_ms // DAY_MS) % TRAVEL_DAYS]
    for city in np.unique(away[away >= 0]):
        rows = np.flatnonzero((away == city) & ~online)
        terminal[rows] = rng.choice(world.by_city[int(city)], len(rows))
    known = rng.random(count) < 0.8
    favourite = world.favourites[customer, rng.choice(FAVOURITES, count, p=_FAVOURITE_P)]
    popular = world.terminal_popularity[world.online_terminals]
    anywhere = rng.choice(world.online_terminals, count, p=popular / popular.sum())
    terminal = np.where(online, np.where(known, favourite, anywhere), terminal).astype(np.int32)
    terminal = _crowds(rng, world, customer, time_ms, online, away, terminal)

    category = world.terminal_category()[terminal]
    by_phone = online & _REMOTE_ORDERS[category] & (rng.random(count) < 0.12)
    channel = np.where(online, np.where(by_phone, MOTO, ECOM), np.where(category == _CASH, ATM, POS)).astype(np.int8)
    return _completed(rng, world, customer, time_ms, terminal, channel, known)


def at_terminal(
    rng: np.random.Generator, world: World, customer: NDArray[np.int32], time_ms: NDArray[np.int64], terminal: int
) -> Columns:
    """An ordinary purchase for each (customer, time) at one given terminal in a city."""
    where = np.full(len(customer), terminal, dtype=np.int32)
    channel = np.where(world.terminal_category()[where] == _CASH, ATM, POS).astype(np.int8)
    return _completed(rng, world, customer, time_ms, where, channel, np.ones(len(customer), dtype=bool))


def _completed(
    rng: np.random.Generator,
    world: World,
    customer: NDArray[np.int32],
    time_ms: NDArray[np.int64],
    terminal: NDArray[np.int32],
    channel: NDArray[np.int8],
    known: NDArray[np.bool_],
) -> Columns:
    """Rows with amount, entry mode, and device by habit; `known` says where the customer is a regular."""
    amount = amounts(rng, world, customer, world.terminal_category()[terminal], channel)
    device, address = _devices(rng, world, customer, channel)
    return Columns(
        time_ms=time_ms,
        customer=customer,
        terminal=terminal,
        channel=channel,
        entry=_entry_modes(rng, channel, amount, known),
        amount=amount,
        device=device,
        address=address,
        scenario=np.zeros(len(customer), dtype=np.int8),
    )


def _crowds(
    rng: np.random.Generator,
    world: World,
    customer: NDArray[np.int32],
    time_ms: NDArray[np.int64],
    online: NDArray[np.bool_],
    away: NDArray[np.int16],
    terminal: NDArray[np.int32],
) -> NDArray[np.int32]:
    """A quarter of a city's purchases, and an eighth of the web's, go where the big day is: shops have rushes that are
    not fraud. Cash machines have none."""
    place = np.where(online, len(world.draws) - 1, np.where(away >= 0, away, world.home_city[customer]))
    crowd = world.draws[place, (time_ms // DAY_MS) % TRAVEL_DAYS]
    joins = (crowd >= 0) & (rng.random(len(crowd)) < np.where(online, 0.125, 0.25))
    category = world.terminal_category()
    joins &= (category[crowd] != _CASH) & (category[terminal] != _CASH)
    return np.where(joins, crowd, terminal).astype(np.int32)


def amounts(
    rng: np.random.Generator,
    world: World,
    customer: NDArray[np.int32],
    category: NDArray[np.int32],
    channel: NDArray[np.int8],
) -> NDArray[np.int64]:
    """Minor units: normal(mean, mean / 2) of the customer times the category's factor; a negative draw becomes uniform
    in [0, 2 mean] (the handbook's rule). Cash comes in tens; honest till amounts stay within TILL_LIMIT_MINOR."""
    mean = world.mean_amount[customer]
    value = rng.normal(mean, mean / 2)
    value = np.where(value < 0, rng.uniform(0, 2 * mean), value) * _FACTOR[category]
    minor = np.maximum(np.round(value * 100), 50).astype(np.int64)
    rounded = rng.random(len(minor)) < 0.3
    minor = np.where(rounded & (channel != ATM), np.maximum(minor // 100 * 100 - 1, 99), minor)
    minor = np.where(channel == ATM, np.clip(minor // 1000 * 1000, 1000, 20_000), minor)
    over = (channel == POS) & (minor > TILL_LIMIT_MINOR)
    return np.where(over, rng.integers(8_000, TILL_LIMIT_MINOR, len(minor)), minor).astype(np.int64)


def _entry_modes(
    rng: np.random.Generator, channel: NDArray[np.int8], amount: NDArray[np.int64], known: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Small till amounts are tapped, large ones need the chip; a known shop has the card stored."""
    u = rng.random(len(channel))
    till = np.where(u < 0.02, SWIPE, np.where(u < np.where(amount < 5_000, 0.82, 0.25), CONTACTLESS, CHIP))
    remote = np.where(u < np.where(known, 0.6, 0.12), STORED, KEYED)
    modes = np.select([channel == POS, channel == ATM, channel == MOTO], [till, CHIP, KEYED], remote)
    return modes.astype(np.int8)


def _devices(
    rng: np.random.Generator, world: World, customer: NDArray[np.int32], channel: NDArray[np.int8]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The customer's own device at home (address = device), sometimes on the move (another address of theirs), and in
    one web purchase of twenty-five somebody else's: a friend's phone, a library."""
    count = len(customer)
    own = world.device[customer]
    borrowed = rng.random(count) < 0.04
    device = np.where(borrowed, rng.integers(0, world.first_fraud_device, count), own)
    home = rng.random(count) < 0.75
    address = np.where(home, device, world.devices + device * 8 + rng.integers(0, 8, count)).astype(np.int64)
    web = channel == ECOM
    return np.where(web, device, -1).astype(np.int32), np.where(web, address, -1)
