"""A note of the job under way, kept outside the process that does it: if that is gone, people see what it was.

Imports and freezes of training data run in a thread of the screens' process. What they were at is nothing while they
are not done (an import is memory, a frozen set counts by its record alone), so a job that was cut off is not carried
on: it is started again, and nobody has to clean up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.errors import ServiceError

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
# Without a beat for this long the process is gone.
CUT_OFF_AFTER = timedelta(seconds=30)
WORTH_TELLING = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class JobNote:
    """`kind`: import or freeze; `name`: of the frozen set, "" for imports."""

    job_id: str
    kind: str
    name: str
    started_by: str
    started_at: datetime
    beat_at: datetime


class JobNotes(Protocol):
    def put(self, note: JobNote) -> None:
        """Write or renew it, and forget those that have not been renewed since `note.beat_at` - CUT_OFF_AFTER."""
        ...

    def remove(self, job_id: str) -> None: ...

    def newest(self) -> JobNote | None: ...


@contextmanager
def noted(notes: JobNotes, note: JobNote, clock: Callable[[], datetime]) -> Iterator[None]:
    """While the block runs there is a note of it, renewed every BEAT_SECONDS; gone when it ends, however it ends."""
    done = threading.Event()

    def beat() -> None:
        while True:
            _quietly(lambda: notes.put(_now(note, clock())))
            if done.wait(BEAT_SECONDS):
                return

    beating = threading.Thread(target=beat, name="training-note", daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        _quietly(lambda: notes.remove(note.job_id))


def cut_off(notes: JobNotes, now: datetime) -> JobNote | None:
    """The last job of the last day whose process went away under it. Unavailable."""
    note = notes.newest()
    return note if note is not None and CUT_OFF_AFTER < now - note.beat_at < WORTH_TELLING else None


def _now(note: JobNote, at: datetime) -> JobNote:
    return JobNote(note.job_id, note.kind, note.name, note.started_by, note.started_at, at)


def _quietly(work: Callable[[], None]) -> None:
    """The job matters more than its note: a database that does not answer must not end it."""
    try:
        work()
    except ServiceError as error:
        log.warning("training_data.note %s", error.message)
