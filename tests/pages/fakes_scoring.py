"""Scoring runs and writing back over plain objects: the real services, with stores in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from services.audit import AuditEntry
from services.domain.states import Decision, RunState
from services.errors import Conflict, NotFound
from services.intake import IntakeResult
from services.scoring_runs_state import ScoringRun
from services.scoring_runs_write_back import Fate, FileScore, Written, fate, told


@dataclass
class MemoryObjects:
    """Objects of a bucket."""

    faults: Any = None
    items: dict[str, bytes] = field(default_factory=dict)

    def put(self, key: str, body: bytes) -> None:
        if self.faults:
            self.faults.check("S3")
        self.items[key] = body

    def get(self, key: str) -> tuple[bytes, str]:
        if key not in self.items:
            raise NotFound(f"{key} is not there.")
        return self.items[key], ""

    def list(self, prefix: str) -> Iterator[Any]:
        yield from [SimpleNamespace(key=key) for key in sorted(self.items) if key.startswith(prefix)]

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.items.pop(key, None)


@dataclass
class MemoryRuns:
    """`services.scoring_runs.RunStore` with the same rules as in MongoDB."""

    items: dict[str, ScoringRun] = field(default_factory=dict)

    def _alone(self, run: ScoringRun) -> None:
        others = (r for r in self.items.values() if r.run_id != run.run_id and r.subject == run.subject)
        if run.state is RunState.RUNNING and any(r.state is RunState.RUNNING for r in others):
            raise Conflict("You are scoring another file already.")

    def create(self, run: ScoringRun) -> None:
        self._alone(run)
        self.items[run.run_id] = run

    def get(self, run_id: str) -> ScoringRun | None:
        return self.items.get(run_id)

    def of(self, subject: str, limit: int) -> tuple[ScoringRun, ...]:
        mine = [r for r in self.items.values() if r.subject == subject]
        return tuple(sorted(mine, key=lambda r: r.started_at, reverse=True)[:limit])

    def take(self, run: ScoringRun, *, former: ScoringRun) -> None:
        self._alone(run)
        if self.items.get(run.run_id) != former:
            raise Conflict("Somebody took this run up at the same moment.")
        self.items[run.run_id] = run

    def commit(self, run: ScoringRun) -> bool:
        held = self.items.get(run.run_id)
        if held is None or held.owner != run.owner:
            raise Conflict("Another process has taken this run over.")
        self.items[run.run_id] = replace(run, cancel_requested=held.cancel_requested)
        return held.cancel_requested

    def request_cancel(self, run_id: str) -> None:
        self.items[run_id] = replace(self.items[run_id], cancel_requested=True)

    def delete(self, run_id: str) -> None:
        self.items.pop(run_id, None)


@dataclass
class MemoryAudit:
    entries: dict[str, AuditEntry] = field(default_factory=dict)

    def record(self, entry: AuditEntry) -> None:
        self.entries.setdefault(entry.entry_id, entry)


@dataclass
class MemoryFrontDoor:
    """Knows the ids that it has had."""

    known: set[str] = field(default_factory=set)

    def submit(self, records: Sequence[Any], *, received_at: datetime) -> IntakeResult:
        ids = [record["transaction_id"] for record in records]
        duplicates = sum(i in self.known for i in ids)
        self.known |= set(ids)
        return IntakeResult(len(ids) - duplicates, duplicates, 0, ())


@dataclass
class MemoryFileScores:
    """`services.scoring_runs_write_back.WrittenStore` over the transactions of a MemoryStore."""

    store: Any
    items: dict[str, Written] = field(default_factory=dict)

    def get(self, run_id: str) -> Written | None:
        return self.items.get(run_id)

    def take(self, written: Written, *, former: Written | None) -> None:
        if self.items.get(written.run_id) != former:
            raise Conflict("Somebody took this up at the same moment.")
        self.items[written.run_id] = written

    def commit(self, written: Written) -> None:
        if self.items[written.run_id].owner != written.owner:
            raise Conflict("This was taken over.")
        self.items[written.run_id] = written

    def write(self, written: Written, scores: Sequence[FileScore], *, at: datetime) -> Written:
        self.store.faults.check()
        fates = []
        for one in scores:
            t = self.store.items.get(one.transaction_id)
            fates.append(fate(one, t and _stored(t)))
            if fates[-1] is Fate.WRITTEN:
                new = {name: one.score[name] for name in ("value", "model_version", "scored_at")}
                score = replace(t.score, decision=Decision(one.score["decision"]), **new)
                self.store.items[one.transaction_id] = replace(t, score=score)
        after = told(written, iter(fates), alerts=0)
        self.commit(after)
        return after


def _stored(t: Any) -> dict[str, Any]:
    return {
        "amount_minor": t.amount_minor, "event_time": t.event_time, "customer_id": t.customer_id,
        "score": t.score and {"scored_at": t.score.scored_at}, "label": t.label,
        "alert": t.alert and {"status": str(t.alert.status)},
    }  # fmt: skip
