"""What a worker does to the outside, named: where it can be killed, and how S3 can fail it. Pure."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

# What S3 (or the way to it) does instead of answering, as (name, is the request carried out).
ANSWERS = {"429": "TooManyRequests", "500": "InternalError", "503": "SlowDown"}
FAULTS = (*ANSWERS, "reset", "lost reply", "latency", "cut reply", "outage")


class Moment(StrEnum):
    """Just before the call leaves the worker, or when it was carried out and the worker has not learnt of it."""

    BEFORE = "before"
    AFTER = "after"


class Deed(StrEnum):
    KILL = "kill"
    STOP = "stop"


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One place of one program where it can die. `call` is e.g. `s3 PUT raw`, `mongo update positions`."""

    call: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.call}"


@dataclass(frozen=True, slots=True)
class Shot:
    """Do `deed` at the `nth` time (from 1) that the point is passed."""

    point: Point
    nth: int = 1
    deed: Deed = Deed.KILL


@dataclass(frozen=True, slots=True)
class Failure:
    """The `nth` call of this name is answered with `fault`, one of FAULTS."""

    call: str
    fault: str
    nth: int = 1


@dataclass
class Ammunition:
    """What is to happen to one run of one program, and what has. Safe to use from several threads."""

    shots: Sequence[Shot] = ()
    failures: Sequence[Failure] = ()
    seen: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    fired: list[Shot] = field(default_factory=list)
    _passed: Counter[Point] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def failure(self, call: str) -> str | None:
        """Count a call that begins; the fault it meets, or None."""
        with self._lock:
            self.seen[call] += 1
            for failure in self.failures:
                if failure.call == call and failure.nth == self.seen[call]:
                    self.failed.append((call, failure.fault))
                    return failure.fault
        return None

    def shot(self, call: str, moment: Moment) -> Shot | None:
        """Count a passed point; the shot that is due there, or None."""
        point = Point(call, moment)
        with self._lock:
            self._passed[point] += 1
            for shot in self.shots:
                if shot.point == point and shot.nth == self._passed[point]:
                    self.fired.append(shot)
                    return shot
        return None


def s3_call(method: str, target: str) -> str:
    """The name of an S3 request: the operation, and the sort of object it is about."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    _, _, key = unquote(parts.path).lstrip("/").partition("/")
    if not key and method == "GET":
        return f"s3 LIST {_sort(query.get('prefix', [''])[0])}"
    if not key:
        return f"s3 {method} {'objects' if 'delete' in query else 'bucket'}"
    if "partNumber" in query:
        method = "PUT part of"
    elif "uploads" in query:
        method = "begin upload of"
    elif "uploadId" in query:
        method = {"POST": "complete upload of", "DELETE": "abort upload of"}.get(method, method)
    return f"s3 {method} {_sort(key)}"


def _sort(key: str) -> str:
    first, _, rest = key.partition("/")
    if first != "warehouse":
        return first or "bucket"
    name = rest.rsplit("/", 1)[-1]
    if name.endswith(".parquet"):
        return "data file"
    if name.endswith(".avro"):
        return "manifest list" if name.startswith("snap-") else "manifest"
    return "table metadata" if name.endswith(".json") else "warehouse"


_CATALOGUE = frozenset({"create", "createIndexes", "collMod", "listCollections"})
_QUIET = frozenset({"endSessions", "killCursors"})


def mongo_call(command: str, collection: object) -> str | None:
    """The name of a database command; None for those that change and read nothing."""
    if command in _QUIET:
        return None
    if command in _CATALOGUE or not isinstance(collection, str):
        return f"mongo {command}"
    return f"mongo {command} {collection}"


CATALOG_CALL = "catalog commit"
