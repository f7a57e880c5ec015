"""Has the lake caught up with what people saved before they asked for a training?

It is asked of the lake's contents, not of any worker's own word, so it holds whoever carries the changes there: the
last verdicts and transactions MongoDB held at the moment of the request must be in the snapshot that is pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol

import pyarrow as pa

from services.errors import Conflict, Unavailable
from services.lake_schema import LABELS_TABLE, TRANSACTIONS_TABLE
from workers.lifecycle_ports import LakeSnapshots

# Changes of one moment may reach the stream in another order than their times say, so not only the last is looked at.
LOOK_BACK = 50


class RecentChanges(Protocol):
    def labels(self, until: datetime, *, limit: int) -> dict[str, datetime]: ...

    def transactions(self, until: datetime, *, limit: int) -> dict[str, datetime]: ...


class Tables(Protocol):
    """The part of `services.lake.Lake` that is needed; ranges are start <= time < end."""

    def read_labels(
        self,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table: ...

    def read_transactions(
        self,
        snapshot_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table: ...

    def snapshot(self, table: str = ...) -> int: ...

    def pin(self, snapshot_id: int, tag: str, table: str = ...) -> None: ...


class CaughtUp:
    """`CaughtUp(recent=MongoRecentChanges(db), lake=lambda: Lake(...))`. Satisfies `lifecycle_ports.Lake`.

    The lake is opened at the first use: its libraries take longer to load than everything else in this worker.
    What to look for is read from MongoDB once a request, because it is about that moment only.
    """

    def __init__(self, *, recent: RecentChanges, lake: Callable[[], Tables]) -> None:
        self._recent, self._lake = recent, cache(lake)
        self._wanted: tuple[datetime, dict[str, datetime], dict[str, datetime]] | None = None

    def behind(self, at: datetime) -> str | None:
        """None when everything looked for is in the lake, else a sentence with how much is still on its way."""
        if self._wanted is None or self._wanted[0] != at:
            labels = self._recent.labels(at, limit=LOOK_BACK)
            self._wanted = (at, labels, self._recent.transactions(at, limit=LOOK_BACK))
        _, labels, transactions = self._wanted
        missing = []
        if labels:
            held = self._lake().read_labels(start=min(labels.values()), columns=("label_id",))
            missing.append(_count(labels.keys() - set(held.column("label_id").to_pylist()), "verdict"))
        if transactions:
            oldest, newest = min(transactions.values()), max(transactions.values())
            held = self._lake().read_transactions(
                start=oldest, end=newest + timedelta(milliseconds=1), columns=("transaction_id",)
            )
            missing.append(_count(transactions.keys() - set(held.column("transaction_id").to_pylist()), "transaction"))
        said = [part for part in missing if part]
        if not said:
            return None
        return f"Waiting for the lake: {' and '.join(said)} saved before the request still on the way."

    def snapshots(self) -> LakeSnapshots:
        """Labels are chosen last: a verdict is never known before its transaction."""
        transactions = self._lake().snapshot(TRANSACTIONS_TABLE.name)
        return LakeSnapshots(transactions, self._lake().snapshot(LABELS_TABLE.name))

    def pin(self, experiment_id: str, snapshots: LakeSnapshots) -> None:
        for table, snapshot_id in (
            (TRANSACTIONS_TABLE.name, snapshots.transactions),
            (LABELS_TABLE.name, snapshots.labels),
        ):
            try:
                self._lake().pin(snapshot_id, f"{experiment_id}-{snapshot_id}", table)
            except Conflict as error:  # the name holds the id, so it can only be that the curator was faster
                raise Unavailable(error.message, dependency="the lake") from error


def _count(missing: Iterable[str], what: str) -> str:
    number = len(set(missing))
    return f"{number} {what}{'s' if number > 1 else ''}" if number else ""
