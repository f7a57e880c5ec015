"""Columns to documents of the `transactions` collection, exactly in the shape of docs/contracts.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from embedded.simulator.catalogue import CARD_TYPES, CATEGORIES, CITIES, EMAIL_DOMAINS, NETWORKS, SEGMENTS, USER_AGENTS
from embedded.simulator.columns import CHANNELS, ECOM, ENTRY_MODES, STORED, Columns
from embedded.simulator.population import World

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_V4 = ("192.0.2", "198.51.100", "203.0.113")


def moment(unix_ms: int) -> datetime:
    """Unix milliseconds as aware UTC; exact, unlike `fromtimestamp` of a float."""
    return EPOCH + timedelta(milliseconds=unix_ms)


def unix_ms(at: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def address(number: int) -> str:
    """The network address with that number, from the documentation ranges: one in four IPv4, the rest IPv6."""
    if number % 4 == 0:
        mixed = number * 2_654_435_761 % 2**32
        return f"{_V4[mixed % 3]}.{mixed // 3 % 254 + 1}"
    mixed = number * 0x9E3779B97F4A7C15 % 2**64
    return f"2001:db8:{mixed >> 48:x}:{mixed >> 32 & 0xFFFF:x}::{mixed >> 20 & 0xFFF:x}"


class Writer:
    """Builds documents of one world. Parts that never change are prepared once and copied into each document."""

    def __init__(self, world: World) -> None:
        self._customers = [f"cus-{index:06d}" for index in range(world.customers)]
        self._profiles = [
            {
                "home_country": CITIES[city].country,
                "home": {"lon": lon, "lat": lat},
                "segment": SEGMENTS[segment][0],
            }
            for city, lon, lat, segment in zip(
                world.home_city.tolist(),
                world.home_lon.tolist(),
                world.home_lat.tolist(),
                world.segment.tolist(),
                strict=True,
            )
        ]
        self._cards = [
            {
                "token": world.card_token[index],
                "bin": world.bin[index],
                "last4": world.last4[index],
                "network": NETWORKS[network][0],
                "type": CARD_TYPES[card_type][0],
                "issuer_country": self._profiles[index]["home_country"],
            }
            for index, (network, card_type) in enumerate(
                zip(world.network.tolist(), world.card_type.tolist(), strict=True)
            )
        ]
        shops = world.merchants
        merchants = [
            {
                "id": f"mer-{index:04d}",
                "name": shops.name[index],
                "mcc": CATEGORIES[category].mcc,
                "category": CATEGORIES[category].key,
                "country": shops.country[index],
                "location": {"lon": float(shops.lon[index]), "lat": float(shops.lat[index])},
            }
            for index, category in enumerate(shops.category.tolist())
        ]
        self._merchants = [merchants[merchant] for merchant in world.terminal_merchant.tolist()]
        self._terminals = [f"ter-{index:05d}" for index in range(world.terminals)]
        self._devices = [
            {"id": name, "email_domain": EMAIL_DOMAINS[email][0], "user_agent_family": USER_AGENTS[agent][0]}
            for name, email, agent in zip(
                world.device_id, world.device_email.tolist(), world.device_agent.tolist(), strict=True
            )
        ]

    def documents(self, rows: Columns, ids: Sequence[str]) -> list[dict[str, Any]]:
        """One document a row, in row order, `version` 1 and without score or label. `received_at` follows `event_time`
        by 120-919 ms."""
        built: list[dict[str, Any]] = []
        for name, time, customer, terminal, channel, entry, amount, device, number in zip(
            ids,
            rows.time_ms.tolist(),
            rows.customer.tolist(),
            rows.terminal.tolist(),
            rows.channel.tolist(),
            rows.entry.tolist(),
            rows.amount.tolist(),
            rows.device.tolist(),
            rows.address.tolist(),
            strict=True,
        ):
            at = EPOCH + timedelta(milliseconds=time)
            document: dict[str, Any] = {
                "_id": name,
                "event_time": at,
                "received_at": at + timedelta(milliseconds=120 + (time * 7 + amount) % 800),
                "amount_minor": amount,
                "currency": "EUR",
                "exponent": 2,
                "customer_id": self._customers[customer],
                "customer": {**self._profiles[customer]},
                "card": {**self._cards[customer]},
                "merchant": {**self._merchants[terminal]},
                "terminal_id": self._terminals[terminal],
                "channel": CHANNELS[channel],
                "entry_mode": ENTRY_MODES[entry],
            }
            if channel == ECOM:
                document["device"] = {**self._devices[device], "ip": address(number)}
                document["attributes"] = {
                    "three_d_secure": "frictionless" if entry == STORED or amount < 3_000 else "challenged",
                    "recurring": entry == STORED and amount % 100 == 99,
                }
            else:
                document["attributes"] = {}
            document["version"] = 1
            built.append(document)
        return built
