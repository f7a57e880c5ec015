"""How far a topic is folded, by partition, and which raw objects are next. The place is kept in the snapshot it made.

A place: {partitions: {"<partition>": {next_offset, last_key, etag, size}}, next_offset (of all partitions together),
cluster_time, folded, quarantined, reasons{reason: records}, refused_in [newest objects with refusals], epoch{}}.

Within a partition, objects follow each other in key order: hours by cluster time, then start offsets. Partitions do
not wait for each other, so one may be hours behind the rest.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from services.adapters.s3 import ObjectInfo, ObjectStore
from services.lake_schema import RAW_ROOT
from workers.curator_rows import Marker, Refusal

log = logging.getLogger(__name__)

Place = dict[str, Any]
# Confluent's sink puts + between topic, partition and start offset; Aiven's puts - unless a template says otherwise.
_NAME = re.compile(r"/(?P<topic>[^/]+)[+-](?P<partition>\d+)[+-](?P<start>\d+)(?:\.[A-Za-z0-9.]+)?$")
_HOUR = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)/hour=(\d\d)/")
# How often partitions that are behind the newest are looked for from their own last object on.
_SWEEP_SECONDS = 60.0
_BEHIND = timedelta(hours=24)
# Reasons and objects named in a place: it is part of every snapshot, so it must stay small.
_MAX_REASONS, _MAX_REFUSED_IN = 40, 20
_OTHER = "other reasons"


class Name(NamedTuple):
    """What the name of a raw object says: its partition and the offset of its first record."""

    partition: str
    start: int


def name_of(key: str, topic: str) -> Name | None:
    """None for what no sink wrote (folder markers, somebody's notes)."""
    found = _NAME.search(key)
    return Name(str(int(found["partition"])), int(found["start"])) if found and found["topic"] == topic else None


def hour_of(key: str) -> str | None:
    """The hour of an object's folder, in ISO form."""
    found = _HOUR.search(key)
    return "{}-{}-{}T{}:00:00+00:00".format(*found.groups()) if found else None


def begun(stored: Mapping[str, Any]) -> Place:
    """A copy of a stored place, to be moved on; one of the first form (a single partition) takes on today's."""
    place = dict(stored)
    if "partitions" not in place:
        former = {key: place.pop(key) for key in ("last_key", "etag", "size") if key in place}
        place["partitions"] = {"0": former | {"next_offset": place.get("next_offset", 0)}} if former else {}
    place["partitions"] = {number: dict(at) for number, at in place["partitions"].items()}
    return place


def advance(place: Place, topic: str, info: ObjectInfo, count: int, refusals: tuple[Refusal, ...]) -> tuple[int, int]:
    """Move the place over an object of `count` records; the records folded and refused that were not counted before."""
    name = name_of(info.key, topic)
    assert name is not None
    at = place["partitions"].setdefault(name.partition, {"next_offset": 0})
    counted = max(at["next_offset"], name.start)
    fresh = [refusal for refusal in refusals if name.start + refusal.line >= counted]
    new = max(0, name.start + count - counted)
    at |= {"last_key": info.key, "etag": info.etag, "size": info.size, "next_offset": max(counted, name.start + count)}
    place["next_offset"] = sum(at["next_offset"] for at in place["partitions"].values())
    place["folded"] = place.get("folded", 0) + new - len(fresh)
    place["quarantined"] = place.get("quarantined", 0) + len(fresh)
    if refusals:
        _explain(place, fresh, info.key.removeprefix(f"{RAW_ROOT}/{topic}/"))
    return new - len(fresh), len(fresh)


def _explain(place: Place, fresh: list[Refusal], suffix: str) -> None:
    reasons = dict(place.get("reasons", {}))
    for refusal in fresh:
        reason = refusal.reason if refusal.reason in reasons or len(reasons) < _MAX_REASONS else _OTHER
        reasons[reason] = reasons.get(reason, 0) + 1
    others = [kept for kept in place.get("refused_in", ()) if kept != suffix]
    place |= {"reasons": reasons, "refused_in": [*others, suffix][-_MAX_REFUSED_IN:]}


def mark(place: Place, markers: tuple[Marker, ...]) -> None:
    """Note the ends of an epoch's copies. What belongs to an epoch that is over changes nothing."""
    for marker in markers:
        epoch = dict(place.get("epoch", {}))
        if marker.epoch < epoch.get("number", 0):
            continue
        if marker.epoch > epoch.get("number", 0):
            epoch = {"number": marker.epoch, "since": marker.since, "partitions": marker.partitions, "ended": []}
        epoch["ended"] = sorted({*epoch["ended"], marker.partition})
        place["epoch"] = epoch


def ended_epoch(place: Mapping[str, Any]) -> str | None:
    """The start of an epoch whose copy is complete in every partition, while rows older than it are still kept."""
    epoch = place.get("epoch", {})
    complete = epoch and len(epoch["ended"]) >= epoch["partitions"] and not epoch.get("cleared")
    return str(epoch["since"]) if complete else None


class Listing:
    """Finds the objects of one topic that are not folded yet, with one listing a look in the usual case.

    With several partitions a look begins at the hour before the newest. Every minute it begins at the partition that
    is furthest behind, at most a day: one that is further behind is found by the first look after a start, and by any
    look that meets a newer object of it.
    """

    def __init__(self, objects: ObjectStore, topic: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._objects, self._topic, self._now = objects, topic, monotonic
        self._prefix = f"{RAW_ROOT}/{topic}/"
        self._swept_at = float("-inf")
        self._begin = _Begin.SLOWEST

    def pending(self, place: Place) -> Iterator[ObjectInfo]:
        """In key order: of each partition its last object again if that was written anew, then those after it."""
        last = {number: at["last_key"] for number, at in place["partitions"].items()}
        begin, sweep = self._begin, self._now() - self._swept_at >= _SWEEP_SECONDS
        floor = self._floor(last, begin, sweep)
        for info in self._objects.list(self._prefix, start_after=floor):
            name = name_of(info.key, self._topic)
            if name is None:
                log.warning("curator.not_an_object_of_a_sink %s", info.key)
                continue
            at, mine = place["partitions"].get(name.partition), last.get(name.partition, "")
            if mine < floor and (begin is _Begin.RECENT or not mine):  # older ones of its partition may lie before
                self._begin = _Begin.SLOWEST if mine else _Begin.START
                return
            if info.key > mine or (info.key == mine and at and (info.etag, info.size) != (at["etag"], at["size"])):
                yield info
        self._begin = _Begin.RECENT
        if sweep:
            self._swept_at = self._now()

    def _floor(self, last: Mapping[str, str], begin: _Begin, sweep: bool) -> str:
        """The key after which a look begins."""
        if not last or begin is _Begin.START:
            return ""
        slowest = min(last.values())[:-1]
        if len(last) == 1 or begin is _Begin.SLOWEST:
            return slowest
        return max(slowest, self._earlier(max(last.values()), _BEHIND if sweep else timedelta(hours=1)))

    def _earlier(self, key: str, by: timedelta) -> str:
        hour = hour_of(key)
        return f"{self._prefix}{datetime.fromisoformat(hour) - by:year=%Y/month=%m/day=%d/hour=%H}/" if hour else ""


class _Begin(Enum):
    """Where the next look begins: at the first object, the partition furthest behind, or shortly before the newest."""

    START = "start"
    SLOWEST = "slowest"
    RECENT = "recent"
