"""Random transactions and verdicts in columns, and the scorer's way through them, for tests of the two drivers."""

from __future__ import annotations

from typing import Any

import bson
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.features import Event, Plan, State
from services.features.columns import read_labels, read_transactions
from services.features.plan import Kind, Number
from services.features.roles import Role

DAY = 86_400_000
START = 1_780_000_000_000
WIDE = Plan(
    (
        Kind("customer", Role.PAYER, "entity.customer", "customer"),
        Kind("card", Role.PAYER, "entity.card", "card"),
        Kind("merchant", Role.COUNTERPARTY, "entity.merchant", "merchant", "at"),
        Kind("beneficiary", Role.COUNTERPARTY, "entity.beneficiary", "beneficiary"),
        Kind("channel", Role.CATEGORY, "feature.channel", "channel", "in"),
        Kind("country", Role.KNOWN, "feature.country", "country", "in"),
    ),
    (Number("risk", "feature.risk", "Risk", ""),),
    places=True,
    homes=True,
)
NARROW = Plan(WIDE.kinds[:1] + WIDE.kinds[2:3])


def history(count: int, seed: int, *, entities: int, late: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Transactions in time order over 70 days, several at one moment, and verdicts: late, repeated and reversed ones.

    A share `late` arrives up to 20 days after it happened.
    """
    r = np.random.default_rng(seed)
    at = START + r.integers(0, 70 * DAY, count)
    at[::7] -= at[::7] % 3_600_000
    at.sort()
    arrival = at + np.where(r.random(count) < late, r.integers(1, 20 * DAY, count), 0)

    def names(kind: str, many: int, absent: float = 0.0) -> pa.Array:
        # A few are met very often, most hardly ever.
        number = (r.pareto(1.1, count) * many / 20).astype(np.int64) % many
        return pa.array([f"{kind}{n}" for n in number.tolist()], mask=r.random(count) < absent)

    placed = r.random(count) < 0.7
    amount = np.where(r.random(count) < 0.02, 0, r.lognormal(8, 1, count)).astype(np.int64)
    amount[r.random(count) < 0.001] *= 10**9
    ids = pa.array([f"t{n}" for n in range(count)])
    transactions = {
        "transaction_id": ids,
        "event_ms": at,
        "received_ms": arrival,
        "amount_minor": amount,
        "entity.customer": names("c", entities),
        "entity.card": names("k", entities * 2),
        "entity.merchant": names("m", entities // 2),
        "entity.beneficiary": names("b", entities, 0.5),
        "feature.channel": names("h", 5, 0.1),
        "feature.country": names("y", 90, 0.1),
        "feature.risk": np.where(r.random(count) < 0.1, np.nan, r.random(count)),
        "place.merchant_lon": np.where(placed, r.uniform(-20, 20, count), np.nan),
        "place.merchant_lat": np.where(placed, r.uniform(30, 60, count), np.nan),
        "place.home_lon": r.uniform(-20, 20, count),
        "place.home_lat": r.uniform(30, 60, count),
    }
    told = r.integers(0, count, count // 12)
    delay = r.choice([0, 1, DAY, 7 * DAY], len(told)) * r.integers(1, 4, len(told))
    labels = {
        "transaction_id": ids.take(pa.array(told)),
        "value": pa.array(r.choice(["fraud", "fraud", "genuine", "inconclusive"], len(told))),
        "labelled_ms": arrival[told] + delay,
    }
    return transactions, labels


def scored(
    plan: Plan, transactions: dict[str, Any], labels: dict[str, Any], *, batch: int = 500, stored: bool = False
) -> tuple[NDArray[np.float64], dict[str, State]]:
    """Vectors as the scorer makes them, in the order given, and the states at the end; `stored`: states go through
    BSON between any two transactions."""
    rows = read_transactions(plan, transactions)
    known = read_labels(labels, rows, transactions["transaction_id"])
    states: dict[str, State] = {}
    out = np.empty((len(rows), len(plan.names)))
    readings: list[Any] = []
    waiting = done = 0
    words = [[*found.words.to_pylist(), None] for found in rows.names]
    names = list(
        zip(*([w[c] for c in found.code.tolist()] for w, found in zip(words, rows.names, strict=True)), strict=True)
    )
    points = [_points(columns, len(rows)) for columns in (rows.place, rows.home)]
    numbers = list(zip(*(column.tolist() for column in rows.numbers), strict=True)) or [()] * len(rows)
    moments = zip(rows.arrival.tolist(), rows.at.tolist(), rows.amount.tolist(), strict=True)
    for row, (arrival, at, amount) in enumerate(moments):
        while waiting < len(known) and known.known[waiting] <= arrival:
            plan.observe_label(known.event(waiting, rows), states)
            waiting += 1
        event = Event(str(row), at, amount, names[row], numbers[row], points[0][row], points[1][row])
        readings.append(plan.read(event, states))
        plan.observe(event, states)
        if stored:
            for key in plan.entity_keys(event):
                states[key] = bson.decode(bson.encode(states[key]))
        if len(readings) == batch or row + 1 == len(rows):
            out[rows.given[done : row + 1]] = plan.vectors(readings)
            readings, done = [], row + 1
    return out, states


def _points(columns: Any, count: int) -> list[tuple[float, float] | None]:
    if columns is None:
        return [None] * count
    return [None if lon != lon or lat != lat else (lon, lat) for lon, lat in zip(*columns, strict=True)]


def differences(plan: Plan, one: NDArray[Any], other: NDArray[Any]) -> dict[str, int]:
    """How many values differ in their bits, by feature; nan equals nan."""
    a, b = np.ascontiguousarray(one, np.float32), np.ascontiguousarray(other, np.float32)
    differ = (a.view(np.uint32) != b.view(np.uint32)) & ~(np.isnan(a) & np.isnan(b))
    return {plan.names[place]: int(differ[:, place].sum()) for place in np.flatnonzero(differ.any(axis=0))}
