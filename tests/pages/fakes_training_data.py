"""Training data over a lake in memory: the real services on generated rows, with the stores as plain dictionaries."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from services.audit import AuditEntry
from services.errors import Conflict, NotFound
from services.flow_engine import FittedFlow
from services.flows import FitOrigin, Flows, FlowVersion
from services.frozen_sets import FrozenSet
from services.lake import Lake, TableState
from services.lake_schema import LABELS, TRANSACTIONS
from services.training_data import Snapshot, TrainingData
from services.training_data_jobs import CUT_OFF_AFTER, JobNote
from tests.pages.fakes import Faults

CATEGORIES = ("grocery", "travel", "fuel", "electronics", "jewellery")


def lake_rows(now: datetime, *, days: int = 40, a_day: int = 30, seed: int = 3) -> tuple[pa.Table, pa.Table]:
    """Transactions and labels: about one in twenty a fraud, dear and mostly jewellery, known two days later."""
    rng, transactions, labels = random.Random(seed), [], []
    for number in range(days * a_day):
        at = now - timedelta(days=days) + timedelta(days=number / a_day)
        fraud = rng.random() < 0.05
        category = "jewellery" if fraud and rng.random() < 0.7 else rng.choice(CATEGORIES)
        amount = int(rng.lognormvariate(9.5 if fraud else 8, 0.7))
        row = {
            "transaction_id": f"t{number:05}", "event_time": at, "received_at": at, "amount_minor": amount,
            "currency": "EUR", "customer_id": f"c{rng.randrange(60)}", "merchant_id": f"m{rng.randrange(30)}",
            "category": category, "merchant_country": rng.choice(("DE", "FR")), "issuer_country": "DE",
            "channel": rng.choice(("pos", "ecom")), "entry_mode": "chip", "cluster_time": at, "raw_offset": number,
            "attributes": json.dumps({"loyalty": rng.randrange(5), "shop": f"s{rng.randrange(3)}"}),
        }  # fmt: skip
        transactions.append(row)
        if fraud:
            known = at + timedelta(days=2)
            labels.append(
                {k: row[k] for k in ("transaction_id", "customer_id", "merchant_id", "event_time", "amount_minor")}
                | {"label_id": f"l{number}", "value": "fraud", "source": "analyst", "labelled_at": known}
                | {"cluster_time": known, "raw_offset": number}
            )
    return pa.Table.from_pylist(transactions, TRANSACTIONS), pa.Table.from_pylist(labels, LABELS)


@dataclass
class MemoryTables:
    """One snapshot of each table; what is pinned is remembered."""

    faults: Faults
    now: datetime
    tables: dict[str, pa.Table]
    pins: list[tuple[str, int, str]] = field(default_factory=list)

    def state(self, name: str) -> TableState | None:
        self.faults.check("S3")
        return TableState(1, self.now, self.tables[name].num_rows, {})

    def read(
        self, name: str, *, snapshot_id: Any = None, start: Any = None, end: Any = None, columns: Any = None
    ) -> pa.Table:
        self.faults.check("S3")
        table = self.tables[name]
        column = "event_time" if name == "transactions" else "labelled_at"
        times = table[column].to_pylist()
        kept = [(start is None or at >= start) and (end is None or at < end) for at in times]
        return table.filter(pa.array(kept, pa.bool_())).select(list(columns or table.column_names))

    def tag(self, name: str, snapshot_id: int, tag: str) -> None:
        self.pins.append((name, snapshot_id, tag))

    def snapshot_at(self, name: str, moment: datetime) -> int:
        if moment < self.now:
            raise NotFound(f"The lake keeps no {name} as old as {moment:%Y-%m-%d %H:%M:%S} UTC.")
        return 1

    def list(self, name: str, limit: int) -> tuple[Snapshot, ...]:
        self.faults.check("S3")
        return (Snapshot(1, self.now, self.tables[name].num_rows, ()),) if self.tables[name].num_rows else ()


@dataclass
class MemoryFlows:
    """FlowStore over a dictionary."""

    faults: Faults
    items: dict[tuple[str, int], FlowVersion] = field(default_factory=dict)
    fits: dict[str, FittedFlow] = field(default_factory=dict)

    def add(self, made: FlowVersion, *, audit: AuditEntry) -> None:
        self.faults.check()
        held = self.items.get((made.flow_id, made.version))
        if held is not None:
            raise Conflict(f"{held.saved_by} saved version {held.version} first; nothing of yours was saved.")
        self.items[made.flow_id, made.version] = made

    def get(self, flow_id: str, version: int | None = None) -> FlowVersion:
        found = [f for f in self.versions(flow_id) if version in (None, f.version)]
        if not found:
            raise NotFound(f"There is no flow {flow_id}.")
        return found[0]

    def newest(self, limit: int) -> tuple[FlowVersion, ...]:
        self.faults.check()
        return tuple(self.versions(flow_id)[0] for flow_id in {key[0] for key in self.items})[:limit]

    def versions(self, flow_id: str) -> tuple[FlowVersion, ...]:
        held = [f for f in self.items.values() if f.flow_id == flow_id]
        return tuple(sorted(held, key=lambda f: -f.version))

    def keep_fit(self, origin: FitOrigin, fitted: FittedFlow) -> None:
        self.fits[origin.experiment_id] = fitted


@dataclass
class MemoryFrozenSets:
    faults: Faults
    items: dict[str, FrozenSet] = field(default_factory=dict)

    def add(self, made: FrozenSet, *, audit: AuditEntry) -> None:
        self.items[made.frozen_id] = made

    def get(self, frozen_id: str) -> FrozenSet:
        return self.items[frozen_id]

    def recent(self, limit: int) -> tuple[FrozenSet, ...]:
        self.faults.check()
        return tuple(self.items.values())[::-1][:limit]


class MemoryNotes:
    """Satisfies `services.training_data_jobs.JobNotes`."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.items: dict[str, JobNote] = {}

    def put(self, note: JobNote) -> None:
        self.items = {key: held for key, held in self.items.items() if held.beat_at >= note.beat_at - CUT_OFF_AFTER}
        self.items[note.job_id] = note

    def remove(self, job_id: str) -> None:
        self.items.pop(job_id, None)

    def newest(self) -> JobNote | None:
        self.faults.check()
        return max(self.items.values(), key=lambda note: note.started_at, default=None)


def training_desk(faults: Faults, *, empty: bool = False) -> dict[str, Any]:
    """training_data, flows and their stores for `fakes_admin.admin_desk`."""
    now = datetime.now(UTC).replace(microsecond=0)
    transactions, labels = lake_rows(now)
    if empty:
        transactions, labels = transactions.slice(0, 0), labels.slice(0, 0)
    tables = MemoryTables(faults, now, {"transactions": transactions, "labels": labels})
    objects: dict[str, bytes] = {}
    flows, frozen = MemoryFlows(faults), MemoryFrozenSets(faults)
    notes = MemoryNotes(faults)
    data = TrainingData(
        Lake(tables), tables, frozen, objects.__setitem__, objects.__getitem__, notes=notes,  # type: ignore[arg-type]
    )  # fmt: skip
    return {
        "training_data": data,
        "flows": Flows(flows),
        "training_stores": {"flows": flows, "frozen": frozen, "objects": objects, "tables": tables, "notes": notes},
    }
