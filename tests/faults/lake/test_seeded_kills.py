"""Stream and curator killed, stopped and starved by a plan with a seed: the lake equals the source, row by row.

The short form of `python -m bench kills`, which goes through every crash point and every fault of every S3 call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo.errors import OperationFailure

from bench.faults.calls import Ammunition, Deed, Failure, Moment, Point, Shot
from bench.faults.campaign import LANES, WORKERS, Campaign, battlefield
from bench.faults.compare import compare
from bench.faults.disk import fill, small_disk
from bench.faults.documents import DRIFT, ODD, POISON
from bench.faults.proxy import FaultProxy
from bench.faults.servers import Servers, install, s3
from bench.faults.source import Source
from embedded.ports import choose

SEED, KILLS = 20261122, 18
BEFORE, AFTER = Moment.BEFORE, Moment.AFTER
# Between what is stored and what says so: where a naive worker loses or doubles.
CRITICAL = {
    "stream": (
        Point("s3 PUT raw", BEFORE),
        Point("s3 PUT raw", AFTER),
        Point("mongo update positions", BEFORE),
        Point("mongo update positions", AFTER),
    ),
    "curator": (
        Point("s3 PUT quarantine", AFTER),
        Point("s3 PUT data file", AFTER),
        Point("s3 PUT table metadata", AFTER),
        Point("catalog commit", BEFORE),
        Point("catalog commit", AFTER),
    ),
}
STOPS = {"stream": Point("s3 PUT raw", BEFORE), "curator": Point("s3 PUT table metadata", BEFORE)}
FAILURES = {
    "stream": [
        Failure("s3 PUT raw", fault, nth) for nth, fault in enumerate(("429", "lost reply", "500", "outage"), 1)
    ],
    "curator": [
        Failure("s3 LIST raw", "503"),
        Failure("s3 GET raw", "cut reply"),
        Failure("s3 PUT data file", "lost reply"),
        Failure("s3 PUT table metadata", "reset"),
        Failure("s3 PUT quarantine", "429"),
        Failure("s3 GET table metadata", "latency"),
    ],
}
Make = Callable[[int], Campaign]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    with battlefield(tmp_path_factory.mktemp("seeded") / "run") as made:
        yield made


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_killed_stopped_and_starved_the_lake_equals_the_source_row_by_row(make: Make) -> None:
    campaign = make(SEED)
    source = campaign.source
    for name in ODD:
        source.insert_odd(name)
    for name in POISON:
        source.insert_poison(name)
    for _ in range(60):
        source.act()
    script = {
        program: [*(Shot(point) for point in points), Shot(STOPS[program], 1, Deed.STOP)]
        for program, points in CRITICAL.items()
    }
    campaign.assault(KILLS, script)
    missed = {
        program: [str(p) for p in points if not campaign.plans[program].hit[p]] for program, points in CRITICAL.items()
    }
    assert missed == {"stream": [], "curator": []}
    armed = {program: Ammunition(failures=failures) for program, failures in FAILURES.items()}
    with campaign.healthy(armed):
        for name in DRIFT:
            source.drift(source.insert(), name)
        source.insert_poison("object for text")
        for failure in armed["stream"].failures:
            source.act()
            until(lambda at=failure.nth: len(armed["stream"].failed) >= at, f"the stream met {failure}")
        assert campaign.caught_up()
    assert campaign.outcome.ended == []
    for program, ammunition in armed.items():
        assert sorted(ammunition.failed) == sorted((f.call, f.fault) for f in FAILURES[program])
    verdict = compare(campaign.installation, source)
    assert verdict.holds(), str(verdict)
    assert campaign.outcome.kills >= KILLS
    assert campaign.outcome.zombies >= 2
    assert campaign.outcome.fenced == []


def test_on_a_full_disk_nothing_moves_and_work_goes_on_when_there_is_room(make: Make, tmp_path: Path) -> None:
    other = make(SEED + 1)
    port = choose(("s3",))["s3"]
    with small_disk(tmp_path / "small", 6) as real, s3(tmp_path / "small" / "s3", port):
        folder = tmp_path / "small" / "s3"
        with FaultProxy(port, folder, LANES) as proxy:
            installation = install(Servers(other.installation.servers.mongo_uri, port, folder), tmp_path)
            source = Source(installation, SEED)
            try:
                _fill_and_empty(Campaign(other.nursery, proxy, installation, source, SEED), tmp_path / "small", real)
            finally:
                source.close()


def _fill_and_empty(campaign: Campaign, disk: Path, real: bool) -> None:
    source, positions = campaign.source, campaign.source.db["positions"]

    def full(on: bool) -> None:
        """Where this user may not mount a small disk, the server's words for a full one."""
        for lane in campaign.proxy.lanes.values():
            lane.full = on and not real

    for _ in range(30):
        source.act()
    with campaign.healthy() as workers:
        assert campaign.caught_up()
        ballast = fill(disk) if real else None
        full(True)
        place = positions.find_one({"_id": "stream"})
        assert place is not None
        for _ in range(30):
            source.act()
        until(lambda: source.db["workers"].find_one({"_id": "stream", "state": "waiting"}) is not None, "it waits")
        now = positions.find_one({"_id": "stream"})
        assert now is not None
        assert now["offsets"] == place["offsets"]
        assert [workers[name].status for name in WORKERS] == [None, None]
        if ballast is not None:
            ballast.unlink()
        full(False)
        assert campaign.caught_up()
        marks = positions.find_one({"_id": "stream"})
    counted = source.db["workers"].find_one({"_id": "stream"})
    assert marks is not None
    assert counted is not None
    assert {f"fraud.{name}": count for name, count in counted["counts"].items()} == marks["offsets"]  # once each
    assert campaign.outcome.ended == []
    verdict = compare(campaign.installation, source)
    assert verdict.holds(), str(verdict)


def test_a_document_deeper_than_the_database_takes_never_reaches_the_stream(make: Make) -> None:
    source = make(SEED + 2).source
    nested: dict[str, object] = {}
    for _ in range(200):
        nested = {"d": nested}
    with pytest.raises(OperationFailure, match="maximum nested object depth"):
        source.db["transactions"].insert_one({"_id": "deep", "attributes": nested})
