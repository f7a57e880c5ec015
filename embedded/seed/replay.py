"""The last 60 days as if the desk had been running: features, scores, alerts, verdicts, in the order of time.

The same feature engine and the same scoring path as live. History is walked in chunks of CHUNK_MS: within a chunk every
transaction is scored by one call of the endpoint, and no analyst decides before the chunk's end, so that the features
are exactly those that a transaction-by-transaction replay gives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from embedded.seed import analysts, writing
from embedded.seed.pending import Due, Pending
from embedded.simulator.columns import DAY_MS, HOUR_MS, Scenario
from embedded.simulator.documents import moment, unix_ms
from embedded.simulator.history import History
from embedded.simulator.labels import SOURCES
from services.adapters.mongo.client import Db
from services.adapters.mongo.scored import alert_fields, scored_fields
from services.adapters.mongo.scoring_feed import opened_event
from services.domain.states import Decision
from services.features import DEMO, LabelEvent, State, event_from_document, label_from_document, replay
from services.scoring import Assessment, Scoring

CHUNK_MS = 3 * HOUR_MS
# Alerts left to the people who try the desk. The older an alert of the last days, the likelier it is decided.
OPEN_WANTED = 35
OPEN_DAYS = (1.5, 14.0)
_FLUSH_ROWS = 2_000
_MAX_FLUSHES = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    scored: int
    alerts: int
    open: int
    labels: int


class Replay:
    """`warm_up`, then `score`, once each. `first` is the first row to be scored."""

    def __init__(self, db: Db, history: History, *, first: int) -> None:
        self._db, self._history, self._first = db, history, first
        self._fraud = history.is_fraud()
        self._pending = Pending()
        for row, entry in history.label_events(known_by=history.until):
            self._pending.add(unix_ms(entry["labelled_at"]), row, entry=entry)
        self.states: dict[str, State] = {}
        self.confirmed: set[str] = set()
        self._held: dict[int, dict[str, Any]] = {}
        self._ready: list[dict[str, Any]] = []
        self._extra: dict[str, list[dict[str, Any]]] = {"labels": [], "case_events": [], "audit": []}
        self._alerts = self._open = self._labels = 0
        self._open_from_ms: int | None = None
        self._flushes: list[Future[None]] = []

    def warm_up(self, on_rows: Callable[[int], None] = lambda _rows: None) -> None:
        """Bring the entities' state to the first row to be scored. Writes nothing."""
        for begin in range(0, self._first, writing.BATCH):
            end = min(begin + writing.BATCH, self._first)
            events = [event_from_document(DEMO, document) for document in self._history.documents(begin, end)]
            replay(DEMO, events, self._labels_before(events[-1].at_ms + 1), states=self.states)
            on_rows(end)

    def score(self, scoring: Scoring, on_rows: Callable[[int], None] = lambda _rows: None) -> Outcome:
        """Score, decide, and write every row from the first on. Raises Unavailable as the endpoint and MongoDB do."""
        times, count = self._history.rows.time_ms, len(self._history)
        with ThreadPoolExecutor(1, thread_name_prefix="seed-writer") as writer:
            row = self._first
            while row < count:
                end_ms = (int(times[row]) // CHUNK_MS + 1) * CHUNK_MS
                last = min(self._history.row_at(moment(end_ms)), count)
                self._chunk(scoring, row, last, end_ms)
                row = last
                if len(self._ready) >= _FLUSH_ROWS:
                    self._flush(writer)
                on_rows(row)
            replay(DEMO, (), self._labels_before(unix_ms(self._history.until) + 1), states=self.states)
            self._ready += self._held.values()
            self._flush(writer)
            for flush in self._flushes:
                flush.result()
        return Outcome(count - self._first, self._alerts, self._open, self._labels)

    def truth(self) -> list[dict[str, Any]]:
        """Documents of `simulator_truth`: reports that the history has still to come, unless an analyst was first."""
        reports, until_ms = self._history.reports, unix_ms(self._history.until)
        found = []
        for row, at_ms, source in zip(
            reports.row.tolist(), reports.at_ms.tolist(), reports.source.tolist(), strict=True
        ):
            name = self._history.transaction_id(row)
            if at_ms > until_ms and name not in self.confirmed:
                scenario = Scenario(int(self._history.rows.scenario[row])).name.lower()
                happened = moment(int(self._history.rows.time_ms[row]))
                due = {"source": SOURCES[source], "due_at": moment(at_ms), "reported_at": None}
                found.append({"_id": name, "scenario": scenario, "event_time": happened} | due)
        return found

    def _chunk(self, scoring: Scoring, first: int, last: int, end_ms: int) -> None:
        documents = self._history.documents(first, last)
        vectors: list[list[float]] = []
        replay(
            DEMO,
            [event_from_document(DEMO, document) for document in documents],
            self._labels_before(end_ms),
            on_row=lambda _event, vector: vectors.append(vector),
            states=self.states,
        )
        for document, vector, outcome in zip(documents, vectors, scoring.assess(vectors), strict=True):
            self._scored(document, vector, outcome, end_ms)
        due = self._pending.rows()
        for row, document in enumerate(documents, start=first):
            if row in due:
                self._held[row] = document
            else:
                self._ready.append(document)

    def _scored(self, document: dict[str, Any], vector: list[float], outcome: Assessment, end_ms: int) -> None:
        """Write the outcome into the document; an alert gets its verdict here, to become known later."""
        at = document["received_at"] + timedelta(milliseconds=300 + document["amount_minor"] % 900)
        document.update(scored_fields(vector, outcome, scored_at=at))
        document["version"] += 1
        if outcome.decision is Decision.APPROVE:
            return
        name, row = document["_id"], int(document["_id"].rpartition("-")[2])
        self._alerts += 1
        self._open += 1
        document["alert"] = alert_fields(outcome.value, document["amount_minor"], opened_at=at)
        self._extra["case_events"].append(
            opened_event(name, at, score=outcome.value, model_version=outcome.thresholds.model_version)
        )
        verdict = analysts.decide(
            name,
            is_fraud=bool(self._fraud[row]),
            opened_at=at,
            not_before=moment(end_ms),
            seed=self._history.seed,
        )
        if verdict.at < self._history.until and not self._left_open(name, unix_ms(at)):
            self._pending.add(unix_ms(verdict.at), row, verdict=verdict)

    def _left_open(self, name: str, opened_ms: int) -> bool:
        """Whether an alert of the last days is left undecided: surely when it is new, never at the window's edge."""
        until_ms = unix_ms(self._history.until)
        if opened_ms < until_ms - OPEN_DAYS[1] * DAY_MS:
            return False
        if self._open_from_ms is None:
            a_day = self._alerts * DAY_MS / max(opened_ms - int(self._history.rows.time_ms[self._first]), DAY_MS)
            days = min(max(2 * OPEN_WANTED / max(a_day, 1e-9), OPEN_DAYS[0]), OPEN_DAYS[1])
            self._open_from_ms = int(until_ms - days * DAY_MS)
        share = (opened_ms - self._open_from_ms) / (until_ms - self._open_from_ms)
        return random.Random(f"open:{self._history.seed}:{name}").random() < share

    def _labels_before(self, limit_ms: int) -> list[LabelEvent]:
        """What becomes known before `limit_ms`, put on record, as the engine takes it."""
        known = (self._known(due) for due in self._pending.before(limit_ms))
        return [label_from_document(DEMO, entry) for entry in known if entry]

    def _known(self, due: Due) -> dict[str, Any] | None:
        """The `labels` document of a verdict that has just become known; None for a report that never comes, because
        an analyst stopped the fraud before it was charged."""
        document = self._held.get(due.row)
        if due.verdict is not None:
            assert document is not None, "rows with a verdict to come are held"
            entry = analysts.label_entry(document, due.verdict, version=document["version"])
            if entry["value"] == "fraud":
                self.confirmed.add(entry["transaction_id"])
            document["alert"]["status"] = "closed"
            self._open -= 1
            self._extra["case_events"].append(analysts.decided_event(entry))
            self._extra["audit"].append(analysts.audit_entry(entry))
        else:
            assert due.entry is not None
            entry = due.entry
            if entry["transaction_id"] in self.confirmed:
                return None
            if due.row >= self._first:
                self._extra["case_events"].append(writing.report_event(entry))
        if document is not None:
            writing.labelled(document, entry)
            self._extra["labels"].append(entry)
            self._labels += 1
        return entry

    def _flush(self, writer: ThreadPoolExecutor) -> None:
        documents, self._ready = self._ready, []
        extra, self._extra = self._extra, {name: [] for name in self._extra}
        while len(self._flushes) >= _MAX_FLUSHES:
            self._flushes.pop(0).result()
        self._flushes.append(writer.submit(self._write, documents, extra))

    def _write(self, documents: list[dict[str, Any]], extra: Mapping[str, list[dict[str, Any]]]) -> None:
        for begin in range(0, len(documents), writing.BATCH):
            writing.insert_new(self._db, "transactions", documents[begin : begin + writing.BATCH])
        for collection, entries in extra.items():
            writing.insert_new(self._db, collection, entries)
