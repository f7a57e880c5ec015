"""What passes through a hop: counts in and out, how many wait, and how many a second over the last minutes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.lake_schema import LABELS_TABLE, LABELS_TOPIC, TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC
from services.worker_status import RATE_WINDOW_SECONDS, Sample, WorkerStatus

# Two counts closer than this say more about when they were taken than about the rate.
_SHORTEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Flow:
    """Counts of what a hop took in, handed on and refused, and of what waits for it now; None: not known.

    For the lake: taken = handed + quarantined + waiting.
    """

    taken: int | None = None
    handed: int | None = None
    quarantined: int | None = None
    waiting: int | None = None


NOTHING_KNOWN = Flow()


@dataclass(frozen=True, slots=True)
class LakeFigures:
    """`current_to` None while the lake is empty; `offsets` are the next raw offsets not folded yet, by topic."""

    rows: int
    current_to: datetime | None
    offsets: Mapping[str, int] = field(default_factory=dict)
    folded: int = 0
    quarantined: int = 0


class LakeReader(Protocol):
    def state(self, name: str) -> Any: ...


class LakeCounts:
    """The figures of both fed tables, from their snapshot summaries. Raises Unavailable when S3 does not answer."""

    def __init__(self, reader: LakeReader) -> None:
        self._reader = reader

    def figures(self) -> LakeFigures:
        rows, current_to = 0, None
        places: dict[str, Mapping[str, Any]] = {}
        for table, topic in ((TRANSACTIONS_TABLE, TRANSACTIONS_TOPIC), (LABELS_TABLE, LABELS_TOPIC)):
            state = self._reader.state(table.name)
            places[topic] = state.position.get(topic, {}) if state else {}
            if state and table is TRANSACTIONS_TABLE:
                rows = state.rows
                moment = places[topic].get("cluster_time")
                current_to = datetime.fromisoformat(moment) if moment else None
        return LakeFigures(
            rows=rows,
            current_to=current_to,
            offsets={topic: int(place.get("next_offset", 0)) for topic, place in places.items()},
            folded=sum(int(place.get("folded", 0)) for place in places.values()),
            quarantined=sum(int(place.get("quarantined", 0)) for place in places.values()),
        )


def per_second(status: WorkerStatus, names: Sequence[str]) -> float | None:
    """The mean rate of these counters over at most the last RATE_WINDOW_SECONDS; None until that can be told."""
    newest = Sample(status.heartbeat_at, status.counts)
    return _rate([*status.recent, newest], names)


def _rate(samples: Sequence[Sample], names: Sequence[str]) -> float | None:
    newest = samples[-1]
    since = newest.at - timedelta(seconds=RATE_WINDOW_SECONDS)
    oldest = next((sample for sample in samples if sample.at >= since), newest)
    seconds = (newest.at - oldest.at).total_seconds()
    if seconds < _SHORTEST_SECONDS:
        return None
    passed = sum(newest.counts.get(name, 0) - oldest.counts.get(name, 0) for name in names)
    return max(passed, 0) / seconds


class Tally:
    """The rate of a count that nobody reports, from looking at it now and then. Not for several threads at once."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def per_second(self, count: int, at: datetime) -> float | None:
        """None for the first seconds of looking. Looks more than five minutes ago are forgotten."""
        if not self._samples or (at - self._samples[-1].at).total_seconds() >= _SHORTEST_SECONDS / 2:
            self._samples.append(Sample(at, {"n": count}))
        while (at - self._samples[0].at).total_seconds() > RATE_WINDOW_SECONDS:
            self._samples.popleft()
        return _rate([*self._samples, Sample(at, {"n": count})], ("n",))
