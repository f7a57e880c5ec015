"""A little payment history of our own, with frauds that can be found and some that cannot. Seeded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from services.backtest_data import DAY_MS, Portfolio, portfolio
from services.domain.mapping import Mapping, read_mapping

FIRST = date(2024, 1, 1)
_START_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)

MAPPING = """
name = "Small"
id = "id"
[time]
column = "at"
[amount]
column = "amount"
currency = "EUR"
[entities]
customer = "who"
terminal = "where"
[label]
column = "fraud"
[features.kind]
column = "kind"
kind = "category"
title = "Kind of shop"
"""


def mapping(more: str = "") -> Mapping:
    return read_mapping(MAPPING + more)


def columns(*, days: int = 56, a_day: int = 120, seed: int = 1) -> dict[str, list[Any]]:
    """The columns of MAPPING, in time order. Customers pay about their own amount; a terminal is taken over now and
    then for ten days, when most of what happens there is fraud; single cards are used for seven times the amount."""
    r = np.random.default_rng(seed)
    usual = r.uniform(5, 60, 150)
    taken = {int(t): int(r.integers(0, max(days - 5, 1))) for t in r.choice(40, 16, replace=False)}
    out: dict[str, list[Any]] = {name: [] for name in ("id", "at", "amount", "who", "where", "fraud", "kind")}
    for day in range(days):
        for second in sorted(r.integers(0, 86_400, a_day)):
            who, where = int(r.integers(150)), int(r.integers(40))
            amount = usual[who] * r.uniform(0.5, 1.5)
            bad = taken.get(where, days) <= day < taken.get(where, days) + 10 and r.random() < 0.8
            if not bad and r.random() < 0.008:
                bad, amount = True, amount * 7
            moment = _START_MS + day * DAY_MS + int(second) * 1000
            out["id"].append(f"t{len(out['id']):06}")
            out["at"].append(datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            out["amount"].append(f"{amount:.2f}")
            out["who"].append(f"c{who}")
            out["where"].append(f"w{where}")
            out["fraud"].append(int(bad))
            out["kind"].append(("food", "fuel", "toys")[where % 3])
    return out


def table(made: dict[str, list[Any]]) -> pa.Table:
    """Canonical columns."""
    at = [int(datetime.fromisoformat(moment).timestamp() * 1000) for moment in made["at"]]
    return pa.table(
        {
            "transaction_id": made["id"],
            "event_ms": pa.array(at, pa.int64()),
            "amount_minor": pa.array([round(float(a) * 100) for a in made["amount"]], pa.int64()),
            "currency": ["EUR"] * len(at),
            "entity.customer": made["who"],
            "entity.terminal": made["where"],
            "feature.kind": made["kind"],
            "label": pa.array(made["fraud"], pa.int8()),
            "labelled_ms": pa.array([None] * len(at), pa.int64()),
        }
    )


def small(more: str = "", **given: Any) -> Portfolio:
    return portfolio(table(columns(**given)), mapping(more))
