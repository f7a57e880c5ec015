"""SIGSTOP past the lease: another process takes over, and the first one wakes up with a request in its hands."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.faults.calls import Ammunition, Deed, Moment, Point, Shot
from bench.faults.processes import Child

if TYPE_CHECKING:
    from bench.faults.campaign import Campaign

LEASE_SECONDS = 0.8
AWAKE_SECONDS = 0.8
# The heir must keep its lease while there is little to do, as it does with the lease of ten seconds.
_CONSTANTS: dict[str, dict[str, Any]] = {
    "services.adapters.stream_place": {"LEASE_SECONDS": LEASE_SECONDS},
    "workers.stream_loop": {"IDLE_SAVE_SECONDS": 0.2},
}
POINTS = {
    "stream": (
        Point("s3 PUT raw", Moment.BEFORE),
        Point("s3 PUT raw", Moment.AFTER),
        Point("mongo update positions", Moment.BEFORE),
        Point("mongo update positions", Moment.AFTER),
        Point("mongo findAndModify positions", Moment.AFTER),
    ),
    # Not within the catalog's commit: SQLite's lock would hold up everybody, the heir included.
    "curator": (
        Point("s3 GET raw", Moment.AFTER),
        Point("s3 PUT data file", Moment.AFTER),
        Point("s3 PUT table metadata", Moment.BEFORE),
        Point("s3 PUT table metadata", Moment.AFTER),
    ),
}


def choose(program: str, rng: random.Random) -> Shot:
    return Shot(rng.choice(POINTS[program]), rng.choice((1, 2)), Deed.STOP)


def stopped(campaign: Campaign, program: str, shot: Shot, *, patience: float = 5.0) -> bool:
    """Stop a worker at a point, let a second one work, wake the first, and see that it changes nothing any more.

    False when the worker did not come to the point within `patience` seconds.
    """
    zombie = campaign.start(program, Ammunition([shot]), constants=_CONSTANTS)
    heir: Child | None = None
    try:
        if not _until(zombie.stopped, patience):
            return False
        before = commits(campaign, program)
        heir = campaign.start(program, Ammunition(), lane="second", constants=_CONSTANTS)
        if not _until(lambda: commits(campaign, program) >= before + 2, 15.0):
            campaign.count_stopped(f"nobody took over from a {program} that was stopped {shot.point}")
            return True
        wrote = _wake(campaign, program, zombie)
        campaign.count_stopped(f"stopped {shot.point}: {wrote}" if wrote else None)
        return True
    finally:
        campaign.proxy.lanes[program].release()
        for child in (zombie, heir):
            if child is not None:
                child.kill()


def _wake(campaign: Campaign, program: str, zombie: Child) -> str | None:
    """What the woken process managed to write where only the heir may: an object in the raw zone, or a commit."""
    lane = campaign.proxy.lanes[program]
    written = len(lane.written)
    fence = _fence(campaign)
    zombie.signal(signal.SIGCONT)
    lane.release()
    time.sleep(AWAKE_SECONDS)
    if program == "stream" and _fence(campaign) == fence:
        late = [target for target in lane.written[written:] if "/raw/" in target]
        place = campaign.source.db["positions"].find_one({"_id": "stream"}) or {}
        heir = campaign.proxy.lanes["second"].written
        return f"the woken stream wrote {late}; its heir {heir}; the place is {place}" if late else None
    return None  # two curators may alternate; that neither undoes the other's commit is what the comparison shows


def _fence(campaign: Campaign) -> int:
    place = campaign.source.db["positions"].find_one({"_id": "stream"}) or {}
    return int(place.get("fence", 0))


def commits(campaign: Campaign, program: str) -> int:
    """How far the program's committed work is: something that only grows."""
    if program == "stream":
        place = campaign.source.db["positions"].find_one({"_id": "stream"}) or {}
        return sum(offset for offset in (place.get("offsets") or {}).values() if isinstance(offset, int))
    folder = campaign.installation.servers.folder / campaign.installation.bucket / "warehouse"
    return sum(1 for _ in folder.glob("fraud/*/metadata/*.metadata.json"))


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
