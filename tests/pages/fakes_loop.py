"""Connectors, quarantine and reconciliation of a page test: the real services over memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from services.audit import AuditEntry
from services.connectors import Connector, Connectors, ConnectorState, Pause, Tasks
from services.lake import Quarantined
from services.reconciliation import Reconciliation
from services.reconciliation_compare import LAKE_SCHEMA, MONGO_SCHEMA
from services.reconciliation_run import Rows, StreamPlace

NAME = "fraud-desk-stream"


@dataclass
class MemoryConnect:
    """One connector that does at once what it is told."""

    faults: Any
    connector: Connector = field(
        default_factory=lambda: Connector(NAME, "arn:stream", ConnectorState.RUNNING, "Raw zone of S3", tasks=Tasks(1))
    )

    def connectors(self) -> tuple[Connector, ...]:
        self.faults.check("connectors")
        return (self.connector,)

    def pause(self, ref: str) -> None:
        self.faults.check("connectors")
        self.connector = replace(self.connector, state=ConnectorState.PAUSED, tasks=Tasks(0, paused=1))

    def resume(self, ref: str) -> None:
        self.faults.check("connectors")
        self.connector = replace(self.connector, state=ConnectorState.RUNNING, tasks=Tasks(1))


@dataclass
class MemoryControls:
    held: dict[str, Pause] = field(default_factory=dict)
    audited: list[AuditEntry] = field(default_factory=list)

    def pauses(self) -> Mapping[str, Pause]:
        return self.held

    def intend(self, name: str, pause: Pause | None, audit: AuditEntry) -> None:
        self.audited.append(audit)
        self.held.pop(name, None)
        if pause is not None:
            self.held[name] = pause

    conclude = intend


@dataclass
class FakeLake:
    """What is in quarantine."""

    faults: Any
    reasons: dict[str, int] = field(default_factory=dict)
    refused: tuple[Quarantined, ...] = ()

    def quarantine_reasons(self) -> dict[str, int]:
        self.faults.check("S3")
        return self.reasons

    def quarantine(self, limit: int = 100) -> tuple[Quarantined, ...]:
        self.faults.check("S3")
        return self.refused[:limit]


class MemoryStore:
    """MongoDB and the lake for a reconciliation: 40 rows a day, of which `altered` differ in the lake."""

    def __init__(self, altered: int = 0) -> None:
        self.altered = altered

    def count(self, start: datetime, end: datetime) -> int:
        return 40

    def read(self, *where: Any, **options: Any) -> Any:
        start = options["start"] if options.get("columns") else where[0]
        return self._rows(start.date(), LAKE_SCHEMA) if options.get("columns") else Rows(self._rows(start.date()), ())

    def _rows(self, day: date, schema: pa.Schema = MONGO_SCHEMA) -> pa.Table:
        # Long before the lake's moment at any time of the day: what changed after it would count as under way.
        at = datetime(day.year, day.month, day.day, tzinfo=UTC)
        arrived = at - timedelta(hours=1)
        rows = []
        for n in range(40):
            wrong = 1 if schema is LAKE_SCHEMA and n < self.altered else 0
            row = dict.fromkeys(schema.names) | {"transaction_id": f"{day}-{n:03d}", "event_time": at, "version": 1}
            row |= {"amount_minor": 100 * n + wrong, "received_at": arrived, "cluster_time": arrived}
            rows.append({name: row[name] for name in schema.names})
        return pa.Table.from_pylist(rows, schema=schema)

    def latest(self, ids: Any) -> pa.Table:
        return MONGO_SCHEMA.empty_table()

    def stream_place(self) -> StreamPlace | None:
        return None

    def state(self, name: str) -> Any:
        place = {"cluster_time": (datetime.now(UTC) - timedelta(seconds=14)).isoformat()}
        return SimpleNamespace(snapshot_id=7_313_984, position={"fraud.transactions": place})


def refusals(now: datetime, count: int = 3) -> tuple[Quarantined, ...]:
    folder = "raw/topics/fraud.transactions/year=2026/month=11/day=22/hour=14"
    return tuple(
        Quarantined(
            f"{folder}/fraud.transactions+0+0000004{n:03d}.json.gz", n, 4000 + n, "amount_minor is text, not a number",
            "fraud.transactions", now - timedelta(minutes=n),
        )
        for n in range(count)
    )  # fmt: skip


def loop_desk(faults: Any, now: datetime, *, empty: bool = False) -> dict[str, Any]:
    """The services `connectors`, `lake` and `reconciliation`, and their stores under `loop`."""
    api, controls, rows = MemoryConnect(faults), MemoryControls(), MemoryStore()
    lake = FakeLake(faults) if empty else FakeLake(faults, {"amount_minor is text, not a number": 3}, refusals(now))
    return {
        "connectors": Connectors(None if empty else api, controls),
        "lake": lake,
        "reconciliation": Reconciliation(rows, rows),
        "loop": SimpleNamespace(api=api, controls=controls, rows=rows),
    }
