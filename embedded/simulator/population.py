"""The people, shops, terminals, and devices of the simulated world.

Follows the published specification of the Fraud Detection Handbook's simulator (Le Borgne et al., ULB): a customer has
a place, a mean amount uniform in [5, 100] with a standard deviation of half of it, and the terminals within a radius;
extended with merchants and categories, web shops, devices, segments, and travel. Everything follows from (scale, seed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedded.simulator.catalogue import (
    CARD_TYPES,
    CATEGORIES,
    CATEGORY_INDEX,
    CITIES,
    EMAIL_DOMAINS,
    NETWORKS,
    ONLINE_COUNTRIES,
    SEGMENTS,
    THROWAWAY_DOMAIN,
    USER_AGENTS,
)

NEARBY = 12
FAVOURITES = 6
# Travel is planned for a cycle of this many days; live traffic goes round it.
TRAVEL_DAYS = 180
RADIUS_KM = 9.0
FRAUD_DEVICES_SHARE = 0.10

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Merchants:
    """Columns, one row a merchant. `city` is -1 for a web shop."""

    name: list[str]
    category: Ints
    city: Ints
    country: list[str]
    lon: Floats
    lat: Floats


@dataclass(frozen=True, slots=True)
class World:
    """All that stays the same while transactions happen. Rows are referred to by position.

    `nearby[c]` are NEARBY terminals a customer shops at, likeliest first; `favourites[c]` the FAVOURITES terminals of
    web shops; `by_city[k]` a city's terminals; `travel[c, d]` the city visited on day d of the cycle, else -1;
    `draws[k, d]` the terminal of city k that draws a crowd that day (a market, a sale), else -1, the web as last row.
    Devices 0..customers-1 are the customers' own (a household may share its first one's); those from
    `first_fraud_device` on belong to fraudsters.
    """

    seed: int
    customers: int
    merchants: Merchants
    terminal_merchant: Ints
    terminal_popularity: Floats
    online_terminals: Ints
    by_city: list[Ints]
    home_city: Ints
    home_lon: Floats
    home_lat: Floats
    segment: Ints
    mean_amount: Floats
    activity: Floats
    online_share: Floats
    nearby: Ints
    favourites: Ints
    travel: NDArray[np.int16]
    draws: Ints
    network: Ints
    bin: list[str]
    last4: list[str]
    card_type: Ints
    card_token: list[str]
    device: Ints
    devices: int
    first_fraud_device: int
    device_id: list[str]
    device_email: Ints
    device_agent: Ints

    @property
    def terminals(self) -> int:
        return len(self.terminal_merchant)

    def terminal_category(self) -> Ints:
        return self.merchants.category[self.terminal_merchant]

    def online_in(self, *keys: str) -> Ints:
        """Terminals of web shops in the categories named."""
        wanted = [CATEGORY_INDEX[key] for key in keys]
        return self.online_terminals[np.isin(self.terminal_category()[self.online_terminals], wanted)]


def customers_for(transactions: int) -> int:
    """How many customers a history of that size has: one for 20 transactions, at least 500."""
    return max(500, transactions // 20)


def build(*, transactions: int, seed: int) -> World:
    """The world for a history of `transactions`; the same arguments give the same world."""
    rng = np.random.default_rng([seed, 101])
    customers = customers_for(transactions)
    terminals = max(240, customers // 5)
    merchants = _merchants(rng, count=max(120, terminals // 3))
    terminal_merchant = _terminals(rng, merchants=len(merchants.name), terminals=terminals)
    popularity = rng.pareto(1.05, terminals) + 0.3
    terminal_city = merchants.city[terminal_merchant]
    online = np.flatnonzero(terminal_city < 0).astype(np.int32)
    by_city = [np.flatnonzero(terminal_city == k).astype(np.int32) for k in range(len(CITIES))]

    city_weight = np.array([city.weight for city in CITIES])
    home_city = rng.choice(len(CITIES), customers, p=city_weight / city_weight.sum()).astype(np.int32)
    home_lon = np.array([c.lon for c in CITIES])[home_city] + rng.normal(0, 0.07, customers)
    home_lat = np.array([c.lat for c in CITIES])[home_city] + rng.normal(0, 0.045, customers)
    segment = rng.choice(len(SEGMENTS), customers, p=[s[1] for s in SEGMENTS]).astype(np.int32)
    weight = popularity * np.array([c.share for c in CATEGORIES])[merchants.category[terminal_merchant]]
    network = rng.choice(len(NETWORKS), customers, p=[n[1] for n in NETWORKS]).astype(np.int32)
    fraud_devices = max(60, int(customers * FRAUD_DEVICES_SHARE))
    devices = customers + fraud_devices
    # One home in twelve shares a device, so that a shared device alone proves nothing.
    own = np.arange(customers, dtype=np.int32)
    shares = np.flatnonzero(rng.random(customers - 1) < 1 / 12) + 1
    own[shares] = own[shares - 1]
    email = rng.choice(len(EMAIL_DOMAINS), devices, p=[d[1] for d in EMAIL_DOMAINS]).astype(np.int32)
    throwaway = customers + np.flatnonzero(rng.random(fraud_devices) < 0.35)
    email[throwaway] = THROWAWAY_DOMAIN
    return World(
        seed=seed,
        customers=customers,
        merchants=merchants,
        terminal_merchant=terminal_merchant,
        terminal_popularity=popularity,
        online_terminals=online,
        by_city=by_city,
        home_city=home_city,
        home_lon=np.round(home_lon, 4),
        home_lat=np.round(home_lat, 4),
        segment=segment,
        mean_amount=rng.uniform(5, 100, customers) * np.array([s[2] for s in SEGMENTS])[segment],
        activity=rng.gamma(1.5, 1 / 1.5, customers) * np.array([s[3] for s in SEGMENTS])[segment],
        online_share=np.clip(np.array([s[4] for s in SEGMENTS])[segment] * rng.gamma(4, 0.25, customers), 0.02, 0.9),
        nearby=_nearby(rng, merchants, terminal_merchant, by_city, weight, home_city, home_lon, home_lat),
        favourites=_top(rng, np.log(weight[online]), rows=customers, keep=FAVOURITES, choices=online),
        travel=_travel(rng, home_city),
        draws=_draws(rng, [*by_city, online]),
        network=network,
        bin=[
            NETWORKS[n][2][k % len(NETWORKS[n][2])]
            for n, k in zip(network, rng.integers(0, 60, customers), strict=True)
        ],
        last4=[f"{n:04d}" for n in rng.integers(0, 10_000, customers)],
        card_type=rng.choice(len(CARD_TYPES), customers, p=[t[1] for t in CARD_TYPES]).astype(np.int32),
        card_token=_words(rng, customers, prefix="tok_", letters=14),
        device=own,
        devices=devices,
        first_fraud_device=customers,
        device_id=_words(rng, devices, prefix="dev_", letters=10),
        device_email=email,
        device_agent=rng.choice(len(USER_AGENTS), devices, p=[a[1] for a in USER_AGENTS]).astype(np.int32),
    )


def _merchants(rng: np.random.Generator, *, count: int) -> Merchants:
    """Every city first gets a grocer, a restaurant, and a cash machine; the rest is drawn by share and city weight."""
    share = np.array([c.share for c in CATEGORIES])
    must = [(CATEGORY_INDEX[key], city) for city in range(len(CITIES)) for key in ("groceries", "restaurants", "cash")]
    must += [
        (CATEGORY_INDEX[key], -1) for key in ("digital", "electronics", "fashion", "travel", "home") for _ in range(3)
    ]
    rest = max(0, count - len(must))
    category = rng.choice(len(CATEGORIES), rest, p=share / share.sum())
    city_weight = np.array([city.weight for city in CITIES])
    city = rng.choice(len(CITIES), rest, p=city_weight / city_weight.sum())
    city[rng.random(rest) < np.array([c.online for c in CATEGORIES])[category]] = -1
    categories = np.array([m[0] for m in must] + category.tolist(), dtype=np.int32)
    cities = np.array([m[1] for m in must] + city.tolist(), dtype=np.int32)
    registered = rng.choice(len(ONLINE_COUNTRIES), len(categories), p=[o[3] for o in ONLINE_COUNTRIES])
    names, countries, lon, lat = [], [], [], []
    used: dict[str, int] = {}
    for index, (kind, where) in enumerate(zip(categories.tolist(), cities.tolist(), strict=True)):
        brand = CATEGORIES[kind].names[int(rng.integers(0, len(CATEGORIES[kind].names)))]
        if where < 0:
            country, x, y, _ = ONLINE_COUNTRIES[int(registered[index])]
            label = f"{brand} Online"
        else:
            place = CITIES[where]
            country = place.country
            x, y = place.lon + rng.normal(0, 0.05), place.lat + rng.normal(0, 0.03)
            label = f"{brand} {place.name}"
        used[label] = used.get(label, 0) + 1
        names.append(label if used[label] == 1 else f"{label} {used[label]}")
        countries.append(country)
        lon.append(round(float(x), 4))
        lat.append(round(float(y), 4))
    return Merchants(names, categories, cities, countries, np.array(lon), np.array(lat))


def _terminals(rng: np.random.Generator, *, merchants: int, terminals: int) -> Ints:
    """The merchant of each terminal: one each, the rest to the merchants that happen to grow."""
    spare = max(0, terminals - merchants)
    size = rng.pareto(2.0, merchants) + 0.5
    more = rng.choice(merchants, spare, p=size / size.sum())
    return np.concatenate([np.arange(merchants), more]).astype(np.int32)


def _nearby(
    rng: np.random.Generator,
    merchants: Merchants,
    terminal_merchant: Ints,
    by_city: list[Ints],
    weight: Floats,
    home_city: Ints,
    home_lon: Floats,
    home_lat: Floats,
) -> Ints:
    """NEARBY terminals for each customer, those within RADIUS_KM of home twenty times as likely as others."""
    nearby = np.zeros((len(home_city), NEARBY), dtype=np.int32)
    for city, terminals in enumerate(by_city):
        who = np.flatnonzero(home_city == city)
        if not len(who):
            continue
        owner = terminal_merchant[terminals]
        east = (merchants.lon[owner][None, :] - home_lon[who][:, None]) * 111.3 * np.cos(np.radians(CITIES[city].lat))
        north = (merchants.lat[owner][None, :] - home_lat[who][:, None]) * 111.3
        pull = np.log(weight[terminals])[None, :] + np.where(np.hypot(east, north) < RADIUS_KM, 0.0, -3.0)
        nearby[who] = _top(rng, pull, rows=len(who), keep=NEARBY, choices=terminals)
    return nearby


def _top(rng: np.random.Generator, log_weight: Floats, *, rows: int, keep: int, choices: Ints) -> Ints:
    """`keep` choices for each row without replacement, likeliest first (the Gumbel trick); fewer choices repeat."""
    noisy = log_weight + rng.gumbel(size=(rows, len(choices)))
    order = np.argsort(-noisy, axis=1, kind="stable")[:, :keep]
    picked = choices[order]
    return picked if picked.shape[1] == keep else np.resize(picked.T, (keep, rows)).T


def _travel(rng: np.random.Generator, home_city: Ints) -> NDArray[np.int16]:
    """Two chances of a trip of 3-12 days in the cycle, each taken by one customer in three, always to another city."""
    customers = len(home_city)
    travel = np.full((customers, TRAVEL_DAYS), -1, dtype=np.int16)
    days = np.arange(TRAVEL_DAYS)
    for _ in range(2):
        goes = rng.random(customers) < 1 / 3
        start = rng.integers(0, TRAVEL_DAYS, customers)
        length = rng.integers(3, 13, customers)
        there = (home_city + rng.integers(1, len(CITIES), customers)) % len(CITIES)
        away = goes[:, None] & (days >= start[:, None]) & (days < (start + length)[:, None])
        travel = np.where(away, there[:, None], travel).astype(np.int16)
    return travel


def _draws(rng: np.random.Generator, places: list[Ints]) -> Ints:
    """In each place on two days of three, one terminal at random has its big day."""
    draws = np.full((len(places), TRAVEL_DAYS), -1, dtype=np.int32)
    for place, terminals in enumerate(places):
        busy = rng.random(TRAVEL_DAYS) < 2 / 3
        draws[place] = np.where(busy, rng.choice(terminals, TRAVEL_DAYS), -1)
    return draws


def _words(rng: np.random.Generator, count: int, *, prefix: str, letters: int) -> list[str]:
    """Distinct identifiers of lower-case letters: no run of digits that could be taken for a card number."""
    raw = (rng.integers(0, 26, (count, letters), dtype=np.uint8) + ord("a")).tobytes().decode("ascii")
    return [prefix + raw[i * letters : (i + 1) * letters] for i in range(count)]
