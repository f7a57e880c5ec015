"""Is the lake the same as MongoDB? Counts, sums and checksums by day, and every difference by id and field.

The comparison is exact also under load: the lake is read at one snapshot, and MongoDB as it was at a moment up to which
that snapshot has every change. Days that are large are read in hours, so memory is bounded by a stretch of
`STRETCH_ROWS` rows on each side, however large the lake.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.access import Actor, Permission, require
from services.domain.states import RunState
from services.errors import Conflict, InvalidData, NotFound, ServiceError
from services.lake_schema import TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC
from services.reconciliation_compare import LAKE_SCHEMA, Comparison, Difference, Moment, Side, compare
from services.reconciliation_run import Day, Gone, LakeSource, Refused, Run, Source, StreamPlace
from services.worker_status import utc_now

log = logging.getLogger(__name__)

MOST_DIFFERENCES = 1_000
MOST_DAYS = 400
STRETCH_ROWS = 250_000
# MongoDB remembers five minutes; a moment older than this is not worth asking for, and one is used at most this long.
_REMEMBERED = timedelta(seconds=240)
_MOMENT_SECONDS = 60.0
# An idle stream on a sharded cluster can trail by the cluster's own heartbeat of 10 s.
_IDLE_MARGIN = timedelta(seconds=15)
_IDLE_WAIT_SECONDS = 3.0
# Partitions of a topic advance each on its own: the newest change of one says little of the others.
_PARTITIONS_APART = timedelta(minutes=10)


class Cancelled(Exception):
    pass


class Reconciliation:
    """One run at a time in a process, in a thread of its own: it goes on while the person who started it is away."""

    def __init__(
        self,
        source: Source,
        lake: LakeSource,
        *,
        clock: Callable[[], datetime] = utc_now,
        stretch_rows: int = STRETCH_ROWS,
    ) -> None:
        self._source, self._lake, self._clock, self._stretch_rows = source, lake, clock, stretch_rows
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._moment: tuple[Moment, float] | None = None

    def start(self, first: date, last: date, *, actor: Actor) -> str:
        """Compare the UTC days from `first` to `last`, both included. Returns at once with the run's id.

        Raises Denied, InvalidData for days that make no range, Conflict while another run is under way.
        """
        require(actor, Permission.OPERATE_LOOP)
        if not 0 <= (last - first).days < MOST_DAYS:
            raise InvalidData(f"Choose 1 to {MOST_DAYS} days, the first not after the last; nothing was started.")
        with self._lock:
            if self._run is not None and self._run.state is RunState.RUNNING:
                since = f"{self._run.started_at:%H:%M:%S} UTC"
                raise Conflict(f"{self._run.started_by} started a reconciliation at {since}; wait for it or cancel it.")
            run = Run(uuid.uuid4().hex, RunState.RUNNING, actor.name, self._clock(), first, last)
            self._run, self._moment = run, None
            self._cancel.clear()
            self._thread = threading.Thread(target=self._work, args=(run,), name="reconciliation", daemon=True)
            self._thread.start()
        return run.run_id

    def latest(self) -> Run | None:
        """The run under way, else the last one of this process; None when there was none."""
        return self._run

    def cancel(self, *, actor: Actor) -> None:
        """End the run within a batch; what was compared is kept."""
        require(actor, Permission.OPERATE_LOOP)
        self._cancel.set()

    def wait(self, seconds: float) -> Run | None:
        """Until the run has ended, at most this long."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._run

    def close(self) -> None:
        self._cancel.set()
        self.wait(10.0)

    def _work(self, run: Run) -> None:
        try:
            self._compare_all(run)
            self._end(RunState.DONE)
        except Cancelled:
            self._end(RunState.CANCELLED)
        except ServiceError as error:
            self._end(RunState.FAILED, f"{error.message} What was compared until then is kept.")
        except Exception:  # nobody waits for this thread: without this the run would stay under way for ever
            log.exception("reconciliation.broke")
            self._end(RunState.FAILED, "A fault of the desk ended it; its log has the details.")

    def _end(self, state: RunState, failure: str | None = None) -> None:
        self._note(state=state, failure=failure, finished_at=self._clock())

    def _note(self, **changes: Any) -> None:
        assert self._run is not None
        self._run = replace(self._run, **changes)

    def _compare_all(self, run: Run) -> None:
        count = (run.last - run.first).days + 1
        for index in range(count):
            day = run.first + timedelta(days=index)
            found = self._compare_day(day, index / count, 1 / count)
            assert self._run is not None
            self._note(
                days=(*self._run.days, Day(day, found.mongo, found.lake, found.under_way, found.differing)),
                differences=(*self._run.differences, *found.differences),
                fraction=(index + 1) / count,
            )

    def _compare_day(self, day: date, done: float, share: float) -> Comparison:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        total = Comparison()
        stretches = tuple(self._stretches(start))
        for index, (begin, end) in enumerate(stretches):
            found = self._compare_stretch(day, begin, end)
            total = Comparison(
                total.mongo + found.mongo,
                total.lake + found.lake,
                total.under_way + found.under_way,
                total.differing + found.differing,
                (*total.differences, *found.differences)[: self._room()],
            )
            self._note(fraction=done + share * (index + 1) / len(stretches))
        return total

    def _room(self) -> int:
        assert self._run is not None
        return MOST_DIFFERENCES - len(self._run.differences)

    def _stretches(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The day whole, or cut so that a stretch has about `stretch_rows` rows if they are spread evenly."""
        end = start + timedelta(days=1)
        rows = self._source.count(start, end)
        parts = next((n for n in (1, 24, 144, 1440) if rows <= n * self._stretch_rows), 1440)
        step = timedelta(days=1) / parts
        for index in range(parts):
            yield start + index * step, start + (index + 1) * step

    def _compare_stretch(self, day: date, start: datetime, end: datetime) -> Comparison:
        self._tick()
        moment = self._current_moment()
        try:
            rows = self._source.read(start, end, moment.mongo_at, tick=self._tick)
        except Gone:
            moment = replace(moment, mongo_at=None)
            self._moment = (moment, time.monotonic())
            self._note(exact=False)
            rows = self._source.read(start, end, None, tick=self._tick)
        lake = self._lake.read(
            TRANSACTIONS_TABLE.name,
            snapshot_id=moment.snapshot_id,
            start=start,
            end=end,
            columns=LAKE_SCHEMA.names,
        )
        self._tick()
        assert self._run is not None
        self._note(
            rows_read=self._run.rows_read + rows.table.num_rows + lake.num_rows,
            lake_to=moment.lake_to,
            snapshot_id=moment.snapshot_id,
        )
        room = self._room()
        found = compare(day, rows.table, lake, moment, latest=self._source.latest, most=room)
        return _with_refused(found, day, rows.refused, room)

    def _tick(self) -> None:
        if self._cancel.is_set():
            raise Cancelled

    def _current_moment(self) -> Moment:
        """The lake's newest snapshot and the moment it is complete to; the same one for a minute."""
        if self._moment is not None and time.monotonic() - self._moment[1] < _MOMENT_SECONDS:
            return self._moment[0]
        place = self._source.stream_place()
        if place is not None and place.copying:
            raise Conflict("The stream is copying everything: the lake can be compared when that is over.")
        state = self._lake.state(TRANSACTIONS_TABLE.name)
        folded = state.position.get(TRANSACTIONS_TOPIC, {}) if state else {}
        if state is None or "cluster_time" not in folded:
            raise NotFound("The lake is empty: there is nothing to compare yet.")
        lake_to = datetime.fromisoformat(folded["cluster_time"])
        # Cluster times are whole seconds: of the newest one the lake may have a part only.
        at: datetime | None = lake_to - timedelta(seconds=1)
        if len(folded.get("partitions", ())) > 1:
            lake_to, at = lake_to - _PARTITIONS_APART, None
        elif self._clock() - lake_to > _REMEMBERED:
            at = self._quiet_since(place, folded)
        moment = Moment(state.snapshot_id, lake_to, at)
        if at is None:
            self._note(exact=False)
        self._moment = (moment, time.monotonic())
        return moment

    def _quiet_since(self, place: StreamPlace | None, folded: Mapping[str, Any]) -> datetime | None:
        """When the newest change in the lake is old: a moment up to which nothing else happened, if that is known.

        It is when the stream saved its place twice with the same offsets, all of which are folded: between the two it
        read, and there was nothing. None when the stream does not run, or the lake is behind it.
        """
        if place is None:
            return None
        self._cancel.wait(_IDLE_WAIT_SECONDS)
        self._tick()
        again = self._source.stream_place()
        if again is None or again.at <= place.at or dict(again.offsets) != dict(place.offsets):
            return None
        done = int(folded.get("next_offset", 0))
        return place.at - _IDLE_MARGIN if done >= place.offsets.get(TRANSACTIONS_TOPIC, 0) else None


def _with_refused(found: Comparison, day: date, refused: Sequence[Refused], room: int) -> Comparison:
    """Documents that cannot be rows count in MongoDB, and are differences that say why."""
    if not refused:
        return found
    told = [Difference(day, r.transaction_id, r.field, f"a value of type {r.kind}", "refused") for r in refused]
    return replace(
        found,
        mongo=found.mongo + Side(rows=len(refused)),
        differing=found.differing + len(refused),
        differences=(*found.differences, *told)[:room],
    )
