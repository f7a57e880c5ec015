"""A lake held in memory under the real fraud rates: the real service, queries and rollup, only the storage is replaced.

So what a page test sees is computed by the code that runs in the product.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from services.lake import Lake, TableState
from services.lake_engine import DuckDbEngine
from services.lake_schema import RATES_TABLE, TRANSACTIONS, TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC
from services.rates import DrillDown, Rates, RatesQuery, RatesResult
from tests.pages.fakes import Faults
from workers.curator_rates import hourly_rates

VALUES: dict[str, tuple[str, ...]] = {
    "category": ("grocery", "fuel", "electronics", "travel", "cash", "digital_goods", "marketplace", "jewellery"),
    "channel": ("pos", "ecom", "atm", "moto"),
    "merchant_country": ("DE", "FR", "NL", "US", "BR", "IE", "CH"),
    "entry_mode": ("chip", "contactless", "swipe", "keyed", "stored"),
    "segment": ("mass", "premium", "student"),
}
MERCHANTS = ("Lidl 4021", "Ryanair", "=HYPERLINK(1)", "Shell 0917", "<b>Shop</b>")
DAYS, A_DAY, MATURITY_DAYS = 305, 180, 90


def payment(rng: random.Random, at: datetime, now: datetime) -> dict[str, Any]:
    """More fraud online and in one country, in waves; labels thin out towards `now`."""
    row: dict[str, Any] = {
        name: rng.choices(values, [1 / (1 + i) for i in range(len(values))])[0] for name, values in VALUES.items()
    }
    age = (now - at) / timedelta(days=1)
    where = (3 if row["channel"] == "ecom" else 1) * (2 if row["merchant_country"] == "BR" else 1)
    fraud = rng.random() < 0.03 * (1 + math.sin(age / 9)) * where
    known = rng.random() < min(1.0, 0.12 + age / MATURITY_DAYS)
    label = None if not known else "fraud" if fraud else "genuine" if rng.random() < 0.02 else None
    score = round(min(0.999, rng.betavariate(6, 2) if fraud else rng.betavariate(1, 9)), 4)
    status = ("closed" if label else "open") if score >= 0.62 else None
    return row | {
        "transaction_id": f"txn_{rng.getrandbits(64):016x}", "event_time": at, "cluster_time": at, "raw_offset": 0,
        "amount_minor": max(1, int(rng.lognormvariate(8.0, 1.3))), "currency": "EUR",
        "customer_id": f"cus_{rng.randrange(400):05d}", "merchant_name": rng.choice(MERCHANTS), "score": score,
        "decision": "review" if status else "approve", "alert_status": status, "label": label,
        "label_source": "analyst" if label else None,
    }  # fmt: skip


@cache
def history(now: datetime, days: int = DAYS, a_day: int = A_DAY) -> pa.Table:
    """Seeded payments of the days before `now`."""
    rng = random.Random(11)
    rows = [payment(rng, now - timedelta(days=days) * rng.random(), now) for _ in range(days * a_day)]
    return pa.Table.from_pylist(rows, TRANSACTIONS)


@cache
def _rollup(now: datetime) -> pa.Table:
    return hourly_rates(history(now), now)


@dataclass(frozen=True, slots=True)
class Day:
    start: date
    rows: int
    table: pa.Table

    @property
    def paths(self) -> frozenset[str]:
        return frozenset((f"memory:{self.start}",))


def _days(table: pa.Table, column: str) -> dict[date, Day]:
    dates = table[column].cast(pa.timestamp("us")).cast(pa.date32())
    found = {}
    for day in dates.unique().to_pylist():
        rows = table.filter(pc.equal(dates, day))
        found[day] = Day(day, rows.num_rows, rows)
    return found


@cache
def _tables(now: datetime, *, empty: bool) -> Mapping[str, Mapping[date, Day]]:
    transactions, rollup = history(now), _rollup(now)
    if empty:
        transactions, rollup = transactions.slice(0, 0), rollup.slice(0, 0)
    return {TRANSACTIONS_TABLE.name: _days(transactions, "event_time"), RATES_TABLE.name: _days(rollup, "hour")}


class MemoryLake:
    """`services.lake.LakeReader` and `services.lake_engine.Scan` over two tables, one snapshot of each."""

    SNAPSHOT = 7_313_984_112_604_771_840

    def __init__(self, faults: Faults, tables: Mapping[str, Mapping[date, Day]], *, current_to: datetime) -> None:
        self._faults, self._current_to, self._tables = faults, current_to, tables

    def state(self, name: str) -> TableState | None:
        self._faults.check("S3")
        days = self._tables[name]
        moment = self._current_to.isoformat()
        place = {TRANSACTIONS_TOPIC: {"cluster_time": moment}, "current_to": moment}
        rows = sum(day.rows for day in days.values())
        return TableState(self.SNAPSHOT, self._current_to, rows, place) if days else None

    def partitions(
        self, name: str, *, snapshot_id: int | None = None, starts: Sequence[date] | None = None
    ) -> Mapping[date, Day]:
        self._faults.check("S3")
        days = self._tables[name]
        return days if starts is None else {start: days[start] for start in starts if start in days}

    def __call__(
        self,
        table: str,
        partitions: Sequence[Day],
        columns: Sequence[str],
        only: Callable[[date], pc.Expression | None],
    ) -> pa.Table:
        self._faults.check("S3")
        return pa.concat_tables([day.table.select(list(columns)) for day in partitions])


class _Engine(DuckDbEngine):
    recheck_seconds = 0.0


class AskedRates(Rates):
    """The real service, which also notes what it was asked: `asked` charts and `drilled` transactions, in order."""

    def __init__(self, faults: Faults, *, empty: bool = False) -> None:
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        lake = MemoryLake(faults, _tables(now, empty=empty), current_to=now)
        super().__init__(Lake(lake), _Engine(lake))  # type: ignore[arg-type]
        self.asked: list[RatesQuery] = []
        self.drilled: list[tuple[RatesQuery, bool]] = []

    def table(self, query: RatesQuery) -> RatesResult:
        self.asked.append(query)
        return super().table(query)

    def transactions(
        self, query: RatesQuery, *, only_fraud: bool = False, limit: int = 200, cursor: str | None = None
    ) -> DrillDown:
        self.drilled.append((query, only_fraud))
        return super().transactions(query, only_fraud=only_fraud, limit=limit, cursor=cursor)
