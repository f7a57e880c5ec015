"""The demo history: everything that happened in the DAYS before a moment, and what became known of it, when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedded.simulator import behaviour, fraud, labels
from embedded.simulator.columns import DAY_MS, Columns, Scenario
from embedded.simulator.documents import Writer, moment, unix_ms
from embedded.simulator.population import World, build

DAYS = 150


@dataclass(frozen=True)
class History:
    """`rows` in order of time; row i has the id `transaction_id(i)`. `reports` includes those not due yet."""

    seed: int
    world: World
    start: datetime
    until: datetime
    rows: Columns
    reports: labels.Reports

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def writer(self) -> Writer:
        return Writer(self.world)

    def transaction_id(self, row: int) -> str:
        return f"tx-h{self.seed}-{row:07d}"

    def documents(self, first: int, last: int) -> list[dict[str, Any]]:
        """Documents of rows [first, last), in order of event_time, without label (see `label_events`)."""
        part = self.rows.take(np.arange(first, min(last, len(self.rows))))
        return self.writer.documents(part, [self.transaction_id(row) for row in range(first, first + len(part))])

    def batches(self, size: int = 5_000) -> Iterator[list[dict[str, Any]]]:
        for first in range(0, len(self.rows), size):
            yield self.documents(first, first + size)

    def row_at(self, at: datetime) -> int:
        """The first row at or after `at`; the number of rows when there is none."""
        return int(np.searchsorted(self.rows.time_ms, unix_ms(at), side="left"))

    def is_fraud(self) -> NDArray[np.bool_]:
        """Ground truth by row. Never for the services: they learn it from labels."""
        return self.rows.scenario != Scenario.GENUINE

    def label_events(self, *, known_by: datetime) -> list[tuple[int, dict[str, Any]]]:
        """(row, document of `labels`) of every report that arrived by then, in order of arrival."""
        due = int(np.searchsorted(self.reports.at_ms, unix_ms(known_by), side="right"))
        found = []
        for row, at, source in zip(
            self.reports.row[:due].tolist(),
            self.reports.at_ms[:due].tolist(),
            self.reports.source[:due].tolist(),
            strict=True,
        ):
            document = self.documents(row, row + 1)[0]
            found.append((row, label_event(document, source=labels.SOURCES[source], at=moment(at))))
        return found


def label_event(document: dict[str, Any], *, source: str, at: datetime) -> dict[str, Any]:
    """The document of `labels` for a report of fraud about a transaction. Source is `customer` or `chargeback`."""
    return {
        "_id": f"{document['_id']}:{source}",
        "transaction_id": document["_id"],
        "customer_id": document["customer_id"],
        "merchant_id": document["merchant"]["id"],
        "terminal_id": document["terminal_id"],
        "device_id": document.get("device", {}).get("id"),
        "event_time": document["event_time"],
        "amount_minor": document["amount_minor"],
        "value": "fraud",
        "source": source,
        "labelled_at": at,
        "labelled_by": source,
        "note": "",
    }


def generate(*, transactions: int, seed: int, until: datetime, days: int = DAYS) -> History:
    """Exactly `transactions` of them in the `days` before `until` (aware; cut to the millisecond). Pure: the same
    arguments give the same history, byte for byte."""
    until_ms = unix_ms(until)
    start_ms = until_ms - days * DAY_MS
    world = build(transactions=transactions, seed=seed)
    rng = np.random.default_rng([seed, 202])
    extra = round(transactions * sum(fraud.BUDGET[s] for s in fraud.ADDED))
    customer, at = behaviour.occasions(rng, world, count=transactions - extra, start_ms=start_ms, until_ms=until_ms)
    honest = behaviour.purchases(rng, world, customer, at)
    honest = honest.take(np.argsort(honest.time_ms, kind="stable"))
    fraud.compromise(rng, world, honest, start_ms=start_ms, until_ms=until_ms)
    rows = Columns.concat([honest, fraud.added(rng, world, count=extra, start_ms=start_ms, until_ms=until_ms)])
    rows = rows.take(np.argsort(rows.time_ms, kind="stable"))
    known = labels.reports(np.random.default_rng([seed, 303]), rows)
    return History(seed=seed, world=world, start=moment(start_ms), until=moment(until_ms), rows=rows, reports=known)
