"""The front door: transactions and fraud reports come in here, checked and stored, or refused with every reason.

A batch is not all-or-nothing: good records are kept, each as one whole document, and each bad one is listed.
Sending a batch again (after a lost reply, say) changes nothing: known ids count as duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from services.domain.states import LabelSource
from services.domain.transaction_rules import (
    CLOCK_SKEW,
    DEMO_RULES,
    ID_PATTERN,
    OLDEST,
    Rules,
    check_transaction,
    plain,
    shown,
)
from services.errors import InvalidData, Problem

MAX_BATCH = 1000


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """accepted + duplicates + refused = records sent. `problems` also names the duplicates (nothing was changed)."""

    accepted: int
    duplicates: int
    refused: int
    problems: tuple[Problem, ...]
    # Of rows in the source's columns: the transaction's id each was read as, None where it could not be read.
    ids: tuple[str | None, ...] = ()

    @property
    def sentence(self) -> str | None:
        """One sentence for a person, or None when everything was accepted."""
        if not self.problems:
            return None
        parts = []
        if self.refused:
            parts.append(f"{self.refused} of {self.accepted + self.duplicates + self.refused} refused")
        if self.duplicates:
            parts.append(f"{self.duplicates} already known (nothing changed)")
        parts.append(f"{self.accepted} kept")
        details = "; ".join(f"row {p.row}{f' {p.field}' if p.field else ''}: {p.message}" for p in self.problems[:20])
        more = f"; and {len(self.problems) - 20} more problems" if len(self.problems) > 20 else ""
        return f"{', '.join(parts)}. {details}{more}."


@dataclass(frozen=True, slots=True)
class FraudReport:
    """Somebody outside the desk says a transaction was fraud: the bank (chargeback) or the customer."""

    transaction_id: str
    source: LabelSource
    reported_at: datetime


class IntakeStore(Protocol):
    def insert(self, documents: Sequence[dict[str, Any]]) -> set[str]:
        """Store each document that is new, whole; return the ids that were already there."""
        ...

    def same(self, documents: Sequence[dict[str, Any]]) -> set[str]:
        """The ids of those documents whose stored amount, time and customer equal the given ones."""
        ...

    def record_report(self, report: FraudReport) -> str:
        """Label the transaction as fraud in one database transaction. "recorded", "known" or "unknown"."""
        ...


class ReadRows(Protocol):
    """Rows of the source made records: record i is of row `rows[i]`; `problems` are of the others."""

    @property
    def records(self) -> Sequence[dict[str, Any]]: ...
    @property
    def rows(self) -> Sequence[int]: ...
    @property
    def problems(self) -> Sequence[Problem]: ...


class SourceReader(Protocol):
    """`services.mapped_rows.SourceRows`; named here only by what is used, so that a front door of the demo's data
    starts without what reads files."""

    def read(self, rows: Sequence[Any]) -> ReadRows: ...

    def located(self, problem: Problem, read: Any) -> Problem: ...


class Intake:
    def __init__(self, store: IntakeStore, rules: Rules = DEMO_RULES, source: SourceReader | None = None) -> None:
        """`source` reads rows in the columns of the desk's own mapping; None where it has none."""
        self._store, self._rules, self._source = store, rules, source

    def submit_source(self, rows: Sequence[Any], *, received_at: datetime) -> IntakeResult:
        """As `submit`, for rows in the source's own columns: problems name those. All are refused where card numbers
        come in that no key replaces."""
        if self._source is None:
            text = "this desk has no mapping of data (FRAUD_DESK_MAPPING): send its own records as transactions"
            return IntakeResult(0, 0, len(rows), (Problem(0, "", text),))
        if len(rows) > MAX_BATCH:
            return self.submit(rows, received_at=received_at)
        source = self._source
        try:
            read = source.read(rows)
        except InvalidData as error:
            return IntakeResult(0, 0, len(rows), (Problem(0, "", error.message.rstrip(".")),))
        kept = self.submit(read.records, received_at=received_at)
        problems = [*read.problems, *(source.located(problem, read) for problem in kept.problems)]
        ordered = tuple(sorted(problems, key=lambda p: p.row))
        ids: list[str | None] = [None] * len(rows)
        for row, record in zip(read.rows, read.records, strict=True):
            ids[row] = record["transaction_id"]
        refused = kept.refused + len(rows) - len(read.records)
        return IntakeResult(kept.accepted, kept.duplicates, refused, ordered, tuple(ids))

    def submit(self, records: Sequence[Any], *, received_at: datetime) -> IntakeResult:
        """Check and store a batch of at most MAX_BATCH records (more: all are refused, nothing is stored).

        Raises Unavailable when the database does not answer; what was stored by then is found as duplicates when the
        batch is sent again.
        """
        if len(records) > MAX_BATCH:
            problem = Problem(MAX_BATCH, "", f"a batch holds at most {MAX_BATCH:,} records, this one {len(records):,}")
            return IntakeResult(0, 0, len(records), (problem,))
        problems: list[Problem] = []
        refused = 0
        good: dict[str, tuple[int, dict[str, Any]]] = {}
        doubles: list[tuple[int, dict[str, Any]]] = []
        for row, record in enumerate(records):
            document, found = check_transaction(record, row=row, now=received_at, rules=self._rules)
            problems += found
            if document is None:
                refused += 1
            elif document["_id"] in good:
                doubles.append((row, document))
            else:
                good[document["_id"]] = (row, document)
        known = self._store.insert([document for _, document in good.values()]) if good else set()
        same = self._store.same([good[key][1] for key in known]) if known else set()
        repeated = [(row, key in same) for key, (row, _) in good.items() if key in known]
        repeated += [(row, document == good[document["_id"]][1]) for row, document in doubles]
        duplicates = sum(1 for _, unchanged in repeated if unchanged)
        refused += len(repeated) - duplicates
        for row, unchanged in repeated:
            text = "was received before; nothing was changed"
            if not unchanged:
                text = "was received before with another amount, time or customer; the first one was kept"
            problems.append(Problem(row, "transaction_id", text))
        ordered = tuple(sorted(problems, key=lambda p: p.row))
        return IntakeResult(len(good) - len(known), duplicates, refused, ordered)

    def report(self, reports: Sequence[Any], *, received_at: datetime) -> IntakeResult:
        """Record fraud reports `{transaction_id, value: "fraud", source: chargeback|customer, reported_at}`."""
        problems: list[Problem] = []
        accepted = duplicates = refused = 0
        for row, record in enumerate(reports[:MAX_BATCH]):
            report, found = _check_report(record, row, received_at)
            if report is None:
                refused += 1
                problems += found
                continue
            outcome = self._store.record_report(report)
            if outcome == "recorded":
                accepted += 1
            elif outcome == "known":
                duplicates += 1
                problems.append(Problem(row, "transaction_id", "was reported before; nothing was changed"))
            else:
                refused += 1
                problems.append(Problem(row, "transaction_id", f"{shown(report.transaction_id)} is not known here"))
        if len(reports) > MAX_BATCH:
            refused += len(reports) - MAX_BATCH
            problems.append(Problem(MAX_BATCH, "", f"a batch holds at most {MAX_BATCH:,} reports"))
        return IntakeResult(accepted, duplicates, refused, tuple(problems))


def _check_report(record: Any, row: int, now: datetime) -> tuple[FraudReport | None, list[Problem]]:
    if not isinstance(record, Mapping):
        return None, [Problem(row, "", "must be an object")]
    problems = [
        Problem(row, plain(str(key)), "is not a known field")
        for key in record
        if key not in ("transaction_id", "value", "source", "reported_at")
    ]
    identifier, source = record.get("transaction_id"), record.get("source")
    if not isinstance(identifier, str) or not ID_PATTERN.fullmatch(identifier):
        problems.append(Problem(row, "transaction_id", "is missing or not an id"))
    if record.get("value", "fraud") != "fraud":
        problems.append(Problem(row, "value", f"must be fraud, got {shown(record.get('value'))}"))
    if source not in (LabelSource.CHARGEBACK, LabelSource.CUSTOMER):
        problems.append(Problem(row, "source", f"must be chargeback or customer, got {shown(source)}"))
    moment = record.get("reported_at", now)
    try:
        moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC)
        if not OLDEST <= moment <= now + CLOCK_SKEW:
            raise ValueError
        moment = min(moment, now)  # the sender's clock may run ahead, a label may not
    except (ValueError, OverflowError):
        problems.append(Problem(row, "reported_at", "must be a past date and time with an offset from UTC"))
    if problems:
        return None, problems
    return FraudReport(str(identifier), LabelSource(str(source)), moment), []
