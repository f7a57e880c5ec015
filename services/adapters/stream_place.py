"""The committed place of the one process that fills the raw zone: its lease and fence, its epoch, and who paused it.

Invariant: a place is only ever advanced by the holder of the newest fence, so a process that was stopped for longer
than its lease cannot move it.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bson.timestamp import Timestamp
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.adapters.mongo.client import Db, Document, translated
from services.errors import Conflict, NotFound

LEASE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """How far the raw zone is complete.

    `offsets`: the next offset per topic. `copying`: progress of the first copy ({collection, after}), None when it is
    over or not begun. `started_at`: the time the copy speaks for, after which changes are read. `token`: the
    stream's own mark, None until the first change or idle batch after the copy. `epoch`: from 1, one more with every
    copy of everything.
    """

    offsets: Mapping[str, int] = field(default_factory=dict)
    token: Mapping[str, Any] | None = None
    started_at: Timestamp | None = None
    copying: Mapping[str, Any] | None = None
    cluster_time: datetime | None = None
    epoch: int = 1


def _node() -> str:
    """Identifies the set of process ids this process can see: host, boot and pid namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if "/ns/" in path else Path(path).read_text("ascii").strip())
        except OSError:
            continue
    return "|".join(parts)


def _is_gone(owner: Mapping[str, Any]) -> bool:
    """True when the owner certainly died: it ran where we can see it, and is not there."""
    if owner.get("node") != _node():
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class PlaceStore:
    """The document of one worker in `positions`, with its lease and fence. Not shared between threads."""

    def __init__(self, db: Db, worker: str) -> None:
        self._positions, self._worker = db["positions"], worker
        self._id = uuid.uuid4().hex
        self._fence = -1
        self._held_until = 0.0

    @property
    def fence(self) -> int:
        """The number of this process's turn as the only writer; no other turn has it. -1 before `claim`."""
        return self._fence

    def claim(self) -> Place:
        """Become the only writer. Raises Conflict while another live process holds the lease."""
        owner = {"node": _node(), "pid": os.getpid(), "id": self._id}
        fence = {"fence": {"$add": [{"$ifNull": ["$fence", 0]}, 1]}, "owner": {"$literal": owner}}
        with translated():
            current = self._positions.find_one({"_id": self._worker})
            query: Document = {"_id": self._worker}
            if current is not None:
                former = current.get("owner")
                if former is None or former.get("id") == self._id or _is_gone(former):
                    query["fence"] = current["fence"]
                else:
                    query["$expr"] = {"$lte": ["$lease_until", "$$NOW"]}
            at = time.monotonic()
            try:
                taken = self._positions.find_one_and_update(
                    query,
                    [{"$set": fence | _lease()}],
                    upsert=current is None,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                taken = None
        if taken is None:
            raise Conflict("Another process is writing the raw zone; this one waits for it to end.")
        self._fence, self._held_until = taken["fence"], at + LEASE_SECONDS
        return Place(
            offsets=taken.get("offsets") or {},
            token=taken.get("token"),
            started_at=taken.get("started_at"),
            copying=taken.get("copying"),
            cluster_time=taken.get("cluster_time"),
            epoch=taken.get("epoch", 1),
        )

    def require_held(self) -> None:
        """Prove the lease before writing where MongoDB cannot stop us. Raises Conflict when it was lost."""
        if time.monotonic() > self._held_until - LEASE_SECONDS / 2:
            self._update(_lease())

    def commit(self, place: Place) -> None:
        """Move the place and renew the lease. Raises Conflict when another process took over: nothing was moved."""
        values: Document = {
            "offsets": {"$literal": dict(place.offsets)},
            "token": {"$literal": place.token},
            "started_at": {"$literal": place.started_at},
            "copying": {"$literal": place.copying},
            "cluster_time": {"$literal": place.cluster_time},
            "epoch": {"$literal": place.epoch},
            "updated_at": "$$NOW",
        }
        self._update(values | _lease())

    def release(self) -> None:
        """Let the next process start at once."""
        with translated():
            self._positions.update_one({"_id": self._worker, "fence": self._fence}, {"$set": {"owner": None}})

    def begin_epoch(self) -> int:
        """Have every document copied again, by the running stream or the next one; the number of the new epoch.

        For an operator. Whoever writes now is fenced off and claims anew, from here. Offsets go on counting. Raises
        NotFound when there is no copy to repeat.
        """
        fresh = {"epoch": {"$add": [{"$ifNull": ["$epoch", 1]}, 1]}, "fence": {"$add": ["$fence", 1]}}
        nothing = dict.fromkeys(("token", "started_at", "copying", "cluster_time"))
        with translated():
            taken = self._positions.find_one_and_update(
                {"_id": self._worker, "started_at": {"$ne": None}},
                [{"$set": fresh | nothing}],
                return_document=ReturnDocument.AFTER,
            )
        if taken is None:
            raise NotFound("Nothing was changed: the stream has not begun its copy yet; it will copy everything.")
        return int(taken["epoch"])

    def _update(self, values: Document) -> None:
        at = time.monotonic()
        with translated():
            answer = self._positions.update_one({"_id": self._worker, "fence": self._fence}, [{"$set": values}])
        if answer.matched_count == 0:
            raise Conflict("Another process took over writing the raw zone; this one stops.")
        self._held_until = at + LEASE_SECONDS


def _lease() -> Document:
    return {"lease_until": {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}}


class Controls:
    """Whether somebody paused a worker: its document in `controls`."""

    def __init__(self, db: Db, worker: str) -> None:
        self._controls, self._worker = db["controls"], worker

    def paused(self) -> str | None:
        """The sentence that says who paused it and when; None when it is to run."""
        with translated():
            control = self._controls.find_one({"_id": self._worker, "paused": True})
        if control is None:
            return None
        at = control.get("at")
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, datetime) else "an unknown time"
        return f"Paused by {control.get('by') or 'somebody'} at {when}."
