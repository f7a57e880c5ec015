"""Importing a file of somebody's own: through the front door's rules into MongoDB, from where the loop takes it on.

An import is idempotent by the transactions' ids and goes on where it was: its place is saved after each batch, with
its counts. A batch that was written but not yet counted when the process was killed is written again, which changes
nothing, and counted once: every document says which import and which row it came from. So counts, documents and the
list of errors are the same, however often it was killed.

History is not live traffic. Rows older than `score_since` are marked `history`: the scorer adds them to the entities'
state, in the order they arrive, without asking the model and without opening alerts. The others are scored like
anything that arrives. While a scorer runs, an import waits whenever that is behind by more than MAX_LAG_SECONDS, so
live payments are never held up longer by it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from services import mapped_file
from services.domain.mapping import Mapping
from services.domain.states import LabelSource
from services.domain.transaction_rules import check_transaction, rules_of
from services.errors import InvalidData
from services.importing_errors import ErrorsFile
from services.importing_records import Verdict, located, records
from services.importing_state import Import, ImportState, Stored
from services.mapped_file import Batch, RowProblem

BATCH_ROWS = 5_000
MAX_LAG_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.5
# Younger rows are live traffic that arrives late; older ones are history.
SCORED_WITHIN = timedelta(hours=24)


class ImportStore(Protocol):
    def unfinished(self, fingerprint: str) -> Import | None:
        """The latest import of the same file and mapping that has not come to its end."""
        ...

    def take(self, state: Import) -> None:
        """Save it, whoever had it before."""
        ...

    def save(self, state: Import) -> None:
        """Raises Conflict where another run has taken it."""
        ...

    def insert(self, documents: Sequence[dict[str, Any]]) -> dict[str, Stored]:
        """Store what is new, each document whole; return what was there under the other ids."""
        ...

    def add_labels(self, documents: Sequence[dict[str, Any]], *, known: Container[str], newer: Container[str]) -> int:
        """Record the verdicts that documents carry (`label`) as entries of `labels`; the `newer` ones become the label
        of transactions that were `known`. Returns how many entries are new or came from the same import and row."""
        ...

    def scorer_lag(self) -> float | None:
        """Seconds the running scorer is behind; None where none runs."""
        ...


class Cancelled(Exception):
    pass


class Importer:
    def __init__(
        self,
        store: ImportStore,
        *,
        clock: Callable[[], datetime],
        token_key: bytes | None,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._store, self._clock, self._key, self._batch_rows = store, clock, token_key, batch_rows

    def begin(
        self, path: Path, mapping: Mapping, *, started_by: str, errors: Path, score_since: datetime | None = None
    ) -> Import:
        """The import to run: the unfinished one of the same file and mapping, else a new one.

        Raises InvalidData where the file does not fit the mapping, or holds card numbers and no key is set.
        """
        if mapping.tokenise and not self._key:
            raise InvalidData(
                f"The mapping replaces {', '.join(mapping.tokenise)} by keyed hashes: set FRAUD_DESK_TOKEN_KEY "
                "to a secret of at least 16 characters, and keep it. Nothing was imported."
            )
        next(mapped_file.read(path, mapping, batch_rows=1), None)
        fingerprint = f"{_digest(path)}:{hashlib.sha256(repr(mapping).encode()).hexdigest()[:16]}"
        before = self._store.unfinished(fingerprint)
        if before is not None:
            whole = ErrorsFile.reaches(errors, before.errors_bytes)
            again: dict[str, Any] = {"state": ImportState.RUNNING, "failure": None, "finished_at": None}
            again |= {} if whole else _FROM_THE_START
            return replace(before, errors_path=str(errors), owner=uuid4().hex, **again)
        now = self._clock()
        return Import(
            uuid4().hex, path.name, fingerprint, mapping.name, started_by, now,
            score_since or now - SCORED_WITHIN, str(errors), uuid4().hex,
        )  # fmt: skip

    def run(
        self, begun: Import, path: Path, mapping: Mapping, *,
        on_progress: Callable[[Import, Sequence[RowProblem]], None], cancel: threading.Event,
    ) -> Import:  # fmt: skip
        """Import to the end, or until `cancel`. Raises Unavailable and InvalidData; the place reached is saved.

        `on_progress` hears the counts after every batch, with the problems of that batch.
        """
        work = _Work(self._store, begun, mapping, self._clock)
        with ErrorsFile(Path(begun.errors_path), start=begun.errors_bytes) as errors:
            work.state = replace(begun, saved_at=self._clock())
            self._store.take(work.state)
            batches = mapped_file.read(
                path, mapping, batch_rows=self._batch_rows, after_row=begun.rows, token_key=self._key
            )
            for batch in batches:
                if not self._may_go_on(cancel):
                    return self._end(work.state, ImportState.CANCELLED)
                problems = work.batch(batch)
                errors.add(problems)
                work.state = replace(work.state, errors_bytes=errors.size, saved_at=self._clock())
                self._store.save(work.state)
                on_progress(work.state, problems)
        return self._end(work.state, ImportState.DONE)

    def _may_go_on(self, cancel: threading.Event) -> bool:
        """Waits while the scorer is behind; False when the import was cancelled."""
        while not cancel.is_set():
            lag = self._store.scorer_lag()
            if lag is None or lag <= MAX_LAG_SECONDS:
                return True
            cancel.wait(_LOOK_AGAIN_SECONDS)
        return False

    def _end(self, state: Import, how: ImportState) -> Import:
        ended = replace(state, state=how, finished_at=self._clock())
        self._store.save(ended)
        return ended


_FROM_THE_START: dict[str, Any] = dict.fromkeys(
    ("rows", "accepted", "duplicates", "refused", "labels", "awaited", "scored", "problems", "errors_bytes"), 0
)


class _Work:
    """The counts of an import while its batches are written."""

    def __init__(self, store: ImportStore, begun: Import, mapping: Mapping, clock: Callable[[], datetime]) -> None:
        self.state, self._store, self._mapping, self._clock = begun, store, mapping, clock
        self._rules = rules_of(mapping)

    def batch(self, batch: Batch) -> list[RowProblem]:
        """Write one batch. Returns its problems, by row."""
        state, problems = self.state, list(batch.problems)
        documents, twice, awaited = self._checked(batch, problems)
        stored = self._store.insert(list(documents.values()))
        known = {key: there for key, there in stored.items() if not self._ours(documents[key], there)}
        contradicting = [key for key, there in known.items() if not there.same]
        problems += [self._contradiction(documents[key]["imported"]["row"]) for key in contradicting]
        kept = [document for key, document in documents.items() if key not in contradicting]
        labels = self._store.add_labels(
            [document for document in kept if "label" in document],
            known=known,
            newer={key for key, there in known.items() if _is_newer(documents[key].get("label"), there.labelled_at)},
        )
        accepted = [document for key, document in documents.items() if key not in known]
        refused = len({problem.row for problem in problems})
        self.state = replace(
            state,
            rows=batch.last_row,
            accepted=state.accepted + len(accepted),
            duplicates=state.duplicates + twice + len(known) - len(contradicting),
            refused=state.refused + refused,
            labels=state.labels + labels,
            awaited=state.awaited + awaited,
            scored=state.scored + sum("history" not in document for document in accepted),
            problems=state.problems + len(problems),
        )
        return sorted(problems, key=lambda p: (p.row, p.column))

    def _checked(self, batch: Batch, problems: list[RowProblem]) -> tuple[dict[str, dict[str, Any]], int, int]:
        """The documents by id, how many rows repeat one of them, and how many verdicts are not known yet."""
        now, twice, awaited = self._clock(), 0, 0
        documents: dict[str, dict[str, Any]] = {}
        for number, (record, verdict) in zip(map(int, batch.rows), records(batch.table, self._mapping), strict=True):
            document, found = check_transaction(record, row=number, now=now, rules=self._rules)
            if document is None:
                problems += [located(number, p, self._mapping) for p in found]
            elif (first := documents.get(document["_id"])) is None:
                awaited += self._complete(document, number, verdict, now)
                documents[document["_id"]] = document
            elif _same(first, document):
                twice += 1
            else:
                problems.append(self._contradiction(number))
        return documents, twice, awaited

    def _ours(self, document: dict[str, Any], there: Stored) -> bool:
        """Written by this import from this very row, before it was interrupted."""
        return (there.import_id, there.row) == (self.state.import_id, document["imported"]["row"])

    def _contradiction(self, row: int) -> RowProblem:
        text = "was received before with another amount, time or customer; the first one was kept"
        return RowProblem(row, self._mapping.id or "", text)

    def _complete(self, document: dict[str, Any], row: int, verdict: Verdict | None, now: datetime) -> bool:
        """Add where it comes from, whether it is history, and its verdict. True when that is not known yet."""
        document["imported"] = {"id": self.state.import_id, "row": row, "at": now}
        if document["event_time"] < self.state.score_since:
            # As far as anything computed over time is concerned, history arrived when it happened.
            document |= {"history": True, "received_at": document["event_time"]}
        if verdict is None:
            return False
        known_at = verdict.known_at or self.state.started_at
        if known_at > now:
            return True
        document["label"] = {
            "value": str(verdict.value),
            "source": str(LabelSource.IMPORT),
            "labelled_at": max(known_at, document["event_time"]),
            "labelled_by": self.state.started_by,
            "label_id": f"{document['_id']}:{LabelSource.IMPORT}",
        }
        return False


def _is_newer(label: dict[str, Any] | None, labelled_at: datetime | None) -> bool:
    """The latest word counts: a verdict given later than the imported one stays."""
    return label is not None and (labelled_at is None or labelled_at < label["labelled_at"])


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[field] == other[field] for field in ("amount_minor", "event_time", "customer_id"))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
