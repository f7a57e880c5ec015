"""Which fault comes next: seeded, those never met first, so that "every crash point" is counted and not hoped for."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from bench.faults.calls import FAULTS, Failure, Moment, Point, Shot

# A point that is not passed in so many runs cannot be reached; it is reported as missed.
_TRIES = 5
# Passed only while the first copy is under way, so they come first and in this order.
_EARLY = ("mongo ping", "mongo find transactions", "mongo find labels")
LOST = Failure("s3 PUT raw", "lost reply")


class Plan:
    """For one program. `learn` what it calls, `next` what to do to it, `note` what came of it."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self.calls: set[str] = set()
        self.hit: Counter[Point] = Counter()
        self.failed: Counter[tuple[str, str]] = Counter()
        self._tries: Counter[Point] = Counter()

    def learn(self, calls: Iterable[str]) -> None:
        with self._lock:
            self.calls |= set(calls)

    def points(self) -> list[Point]:
        return sorted(Point(call, moment) for call in self.calls for moment in Moment)

    def missed(self) -> list[Point]:
        """Points of calls that were seen where no kill has hit yet."""
        return [point for point in self.points() if not self.hit[point]]

    def unfailed(self) -> list[tuple[str, str]]:
        """S3 calls and faults that have not met yet."""
        return [(call, fault) for call in self._s3_calls() for fault in FAULTS if not self.failed[call, fault]]

    def next(self) -> tuple[Shot, Failure | None]:
        """A shot, and often a failure of S3 before it."""
        with self._lock:
            fresh = [point for point in self.missed() if self._tries[point] < _TRIES]
            early = sorted((p for p in fresh if p.call in _EARLY), key=lambda p: (_EARLY.index(p.call), p.moment))
            point = early[0] if early else self._rng.choice(fresh or self.points())
            shot = Shot(point, 1 if fresh else self._rng.choice((1, 1, 2, 3, 5)))
            self._tries[point] += 1
            if point.call == "s3 HEAD raw":  # asked only by who finds an object that it does not remember writing
                return shot, LOST
            return shot, self._failure() if self._rng.random() < 0.7 and not early else None

    def again(self) -> Shot | None:
        """A shot at a point that was missed until now."""
        missed = [point for point in self.missed() if point.call not in _EARLY]  # which have had their time
        return Shot(self._rng.choice(missed)) if missed else None

    def _failure(self) -> Failure | None:
        calls = self._s3_calls()
        return (
            Failure(self._rng.choice(calls), self._rng.choice(FAULTS), self._rng.choice((1, 1, 2))) if calls else None
        )

    def hunger(self) -> list[Failure]:
        """For every S3 call one fault that it has not met yet, as different ones as there are."""
        unfailed: dict[str, list[str]] = {}
        for call, fault in self.unfailed():
            unfailed.setdefault(call, []).append(fault)
        failures = [Failure(call, faults[n % len(faults)]) for n, (call, faults) in enumerate(unfailed.items())]
        return [*failures, replace(LOST, nth=2)] if "s3 HEAD raw" in unfailed else failures

    def _s3_calls(self) -> list[str]:
        return sorted(call for call in self.calls if call.startswith("s3 "))

    def note(self, fired: Iterable[Point], failed: Iterable[tuple[str, str]]) -> None:
        with self._lock:
            self.hit.update(fired)
            self.failed.update(failed)
