"""The sender: what happened since the last look, written down, sent through the front door, ticked off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np

from embedded.simulator.columns import Columns
from embedded.simulator.documents import Writer, unix_ms
from embedded.simulator.live import Live
from embedded.traffic import truth
from embedded.traffic.outbox import Batch, Outbox
from embedded.traffic.truth import DueReports
from services.errors import InvalidData, Unavailable
from services.worker_status import Reporter, WorkerState, utc_now

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0)
# One call of the front door takes 1,000 records; larger bursts are sent in parts.
MAX_BATCH = 900
# After a longer silence (the machine slept) what was missed is not made up for.
STALE = timedelta(seconds=30)
_NOT_SENT = ("_id", "received_at", "version")


class FrontDoor(Protocol):
    def invoke(self, function: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a 200 or 207 answer; InvalidData when everything was refused; Unavailable."""
        ...


class Traffic:
    """`live` says what happens, `outbox` that nothing of it is lost or doubled on the way to `door`."""

    def __init__(
        self,
        live: Live,
        outbox: Outbox,
        reports: DueReports,
        door: FrontDoor,
        reporter: Reporter,
        *,
        function: str,
        prefix: str,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._live, self._outbox, self._reports = live, outbox, reports
        self._door, self._reporter = door, reporter
        self._function, self._prefix, self._clock = function, prefix, clock
        self._writer = Writer(live.world)
        self._waiting: list[Columns] = []
        self._batch: Batch | None = None
        self._opened = self._staged = False
        self._looked_at: datetime | None = None

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`; an outage is waited out with the batch under way kept."""
        failures = 0
        while not stop.is_set():
            try:
                self.tick()
            except Unavailable as error:
                logger.warning("traffic waits: %s", error.message)
                kept = len(self._batch.transactions) if self._batch else 0
                sentence = f"{error.message} {kept} transactions are kept and sent again."
                self._reporter.beat(WorkerState.WAITING, error=sentence)
                stop.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
                continue
            if failures:
                failures = 0
                self._live.skip_to(unix_ms(self._clock()))
            if not self._waiting:
                stop.wait(TICK_SECONDS)
        self._reporter.beat(WorkerState.STOPPED, force=True)

    def tick(self) -> None:
        """Finish the batch under way, or make the next one and send it. Raises Unavailable; call again then."""
        if not self._opened:
            self._batch = self._outbox.open()
            self._opened, self._staged = True, self._batch is not None
        if self._batch is None:
            self._batch = self._compose()
        if self._batch is None:
            self._reporter.beat(lag_seconds=0.0)
            return
        if not self._staged:
            self._outbox.stage(self._batch)
            self._staged = True
        counts = self._send(self._batch)
        self._outbox.finish(self._batch, at=self._clock())
        self._batch, self._staged = None, False
        self._reporter.beat(counts=counts, position={"next": self._outbox.next_number})

    def _send(self, batch: Batch) -> dict[str, int]:
        try:
            answer = self._door.invoke(self._function, batch.payload())
        except InvalidData as error:
            # Sending it again would be refused again: it is counted, logged, and left.
            logger.error("the front door refused a batch: %s", error.message[:500])
            return {"refused": len(batch.transactions) + len(batch.reports)}
        refused = int(answer.get("refused", 0))
        if refused:
            logger.warning("the front door refused %d records: %s", refused, str(answer.get("error"))[:500])
        return {
            "accepted": int(answer.get("accepted", 0)),
            "duplicates": int(answer.get("duplicates", 0)),
            "refused": refused,
            "reports": len(batch.reports),
        }

    def _compose(self) -> Batch | None:
        """What happened up to now, as a batch with ids of its own; None when nothing did."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at > STALE:
            self._live.skip_to(unix_ms(now))
        self._looked_at = now
        if not self._waiting:
            rows = self._live.due(unix_ms(now))
            parts = range(0, len(rows), MAX_BATCH)
            self._waiting = [rows.take(np.arange(p, min(p + MAX_BATCH, len(rows)))) for p in parts]
        reports = self._reports.take(now)
        if not self._waiting and not reports:
            return None
        documents: list[dict[str, Any]] = []
        known: list[dict[str, Any]] = []
        if self._waiting:
            rows = self._waiting.pop(0)
            number = self._outbox.next_number
            documents = self._writer.documents(
                rows, [f"{self._prefix}{n:08d}" for n in range(number, number + len(rows))]
            )
            known = truth.of(rows, documents, self._live.rng)
        records = tuple(_record(document) for document in documents)
        return Batch(records, tuple(reports), tuple(known))


def _record(document: dict[str, Any]) -> dict[str, Any]:
    """A stored document as a processor would send it."""
    sent = {key: value for key, value in document.items() if key not in _NOT_SENT}
    return {"transaction_id": document["_id"]} | sent
