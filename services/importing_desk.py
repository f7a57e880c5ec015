"""Importing from the desk's screen: files that people hand in, one import at a time, in the background.

A file is kept in a folder of this process until the process ends, and is readable by nobody else. A fault ends an
import with a sentence; handing in the same file again goes on where it was.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from services import mapped_file
from services.access import Actor, Permission, require
from services.audit import AuditEntry
from services.domain.mapping import Mapping
from services.errors import Conflict, ServiceError
from services.importing import Importer, ImportStore
from services.importing_preview import Preview, preview
from services.importing_state import Import, ImportState, audited
from services.mapped_file import RowProblem

log = logging.getLogger(__name__)

PREVIEW_ROWS = 1_000
MOST_SHOWN = 200


# A batch takes seconds, but it waits while the scorer is behind.
CUT_OFF_AFTER = timedelta(minutes=2)


class DeskStore(ImportStore, Protocol):
    def latest(self, limit: int) -> tuple[Import, ...]:
        """The newest first, whoever began them."""
        ...

    def note(self, audit: AuditEntry) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """`problems`: the first MOST_SHOWN; the list of errors has all."""

    state: Import
    began_at: datetime
    # Where it went on, and about how many rows there are (None: not known before the end).
    began_rows: int
    expected: int | None
    problems: tuple[RowProblem, ...] = ()


class Imports:
    def __init__(
        self,
        store: DeskStore,
        *,
        clock: Callable[[], datetime],
        token_key: bytes | None,
        mapping_file: Path | None,
        ensure: Callable[[], None],
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """`mapping_file` is the desk's own mapping; `ensure` makes the collections that an import needs."""
        self._store, self._clock, self._key, self._ensure = store, clock, token_key, ensure
        self._on_close = on_close
        self.mapping_file = mapping_file
        self._lock, self._cancel = threading.Lock(), threading.Event()
        self._folder: Path | None = None
        self._thread: threading.Thread | None = None
        self._run: Run | None = None

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def keep(self, name: str, content: bytes) -> Path:
        """Put what somebody handed in into a file; the same content is the same file."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="fraud-desk-import-"))
        path = self._folder / hashlib.sha256(content).hexdigest()[:24] / (Path(name).name or "file")
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(".partial")
            partial.write_bytes(content)
            partial.rename(path)
        return path

    def preview(self, path: Path, mapping: Mapping) -> Preview:
        """The first PREVIEW_ROWS rows by the rules of an import. Raises InvalidData."""
        return preview(path, mapping, rows=PREVIEW_ROWS, token_key=self._key)

    def start(self, path: Path, mapping: Mapping, *, actor: Actor, score_since: datetime | None = None) -> None:
        """Begin, or go on with, the import of this file. Returns at once.

        Raises Denied, InvalidData, Unavailable, and Conflict while another import is under way.
        """
        require(actor, Permission.IMPORT)
        with self._lock:
            if self._run is not None and self._run.state.state is ImportState.RUNNING:
                raise Conflict(f"{self._run.state.file_name} is being imported; wait for its end or cancel it.")
            self._ensure()
            importer = Importer(self._store, clock=self._clock, token_key=self._key)
            errors = path.with_name("errors.csv")
            begun = importer.begin(path, mapping, started_by=actor.name, errors=errors, score_since=score_since)
            self._note(begun, actor, "requested")
            self._run = Run(begun, self._clock(), begun.rows, mapped_file.rows_about(path))
            self._cancel = threading.Event()
            arguments = (importer, begun, path, mapping, actor)
            self._thread = threading.Thread(target=self._work, args=arguments, name="import", daemon=True)
            self._thread.start()

    def latest(self) -> Run | None:
        """The import under way, else the last one of this process."""
        return self._run

    def cut_off(self) -> Import | None:
        """The latest import of this desk where it did not come to its end and nothing carries it on. Unavailable."""
        held = self._run.state if self._run is not None else None
        found = next(iter(self._store.latest(1)), None)
        if found is None or found.state is not ImportState.RUNNING or (held and held.import_id == found.import_id):
            return None
        moved = found.saved_at or found.started_at
        return found if self._clock() - moved > CUT_OFF_AFTER else None

    def cancel(self, *, actor: Actor) -> None:
        """End it after the batch under way; what was imported stays."""
        require(actor, Permission.IMPORT)
        self._cancel.set()

    def errors(self) -> bytes:
        """The list of errors of the latest import as CSV."""
        run = self._run
        return Path(run.state.errors_path).read_bytes() if run is not None else b""

    def wait(self, seconds: float) -> Run | None:
        if self._thread is not None:
            self._thread.join(seconds)
        return self._run

    def close(self) -> None:
        self._cancel.set()
        self.wait(10.0)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._on_close()

    def _work(self, importer: Importer, begun: Import, path: Path, mapping: Mapping, actor: Actor) -> None:
        try:
            ended = importer.run(begun, path, mapping, on_progress=self._hear, cancel=self._cancel)
            self._tell(ended)
            self._note(ended, actor, str(ended.state))
        except ServiceError as error:
            self._fail(f"{error.message} What was imported stays; start it again to go on.")
        except Exception:  # nobody waits for this thread: without this it would stay under way for ever
            log.exception("import.broke")
            self._fail("A fault of the desk ended it; its log has the details. What was imported stays.")

    def _hear(self, state: Import, problems: Sequence[RowProblem]) -> None:
        assert self._run is not None
        self._run = replace(self._run, state=state, problems=(*self._run.problems, *problems)[:MOST_SHOWN])

    def _tell(self, state: Import) -> None:
        assert self._run is not None
        self._run = replace(self._run, state=state)

    def _fail(self, sentence: str) -> None:
        assert self._run is not None
        failed = replace(self._run.state, state=ImportState.FAILED, failure=sentence, finished_at=self._clock())
        self._tell(failed)

    def _note(self, state: Import, actor: Actor, outcome: str) -> None:
        self._store.note(audited(state, actor, outcome, at=self._clock()))
