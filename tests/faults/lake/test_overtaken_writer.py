"""A stream that is overtaken in the middle of replacing an object must not replace what its heir wrote."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymongo import MongoClient

from bench.faults.proxy import FaultProxy
from bench.faults.servers import Installation, install, running
from services.adapters import stream_place
from services.adapters.aws import client
from services.adapters.s3 import ObjectStore
from services.adapters.stream_place import Place, PlaceStore
from services.errors import Conflict
from workers.stream_objects import Batch
from workers.stream_targets import RawZone

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOPIC = "fraud.transactions"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Installation, ObjectStore]]:
    """Behind the proxy, which looks at the conditions of writes as S3 does."""
    with running(tmp_path) as servers, FaultProxy(servers.s3_port, servers.folder, ("stream",)) as proxy:
        installation = install(servers, tmp_path)
        for name, value in installation.environment(proxy.endpoint("stream")).items():
            monkeypatch.setenv(name, value)
        s3 = client("s3", region="eu-central-1")
        yield installation, ObjectStore(installation.bucket, region="eu-central-1", client=s3)
        s3.close()


def batch(lines: int) -> Batch:
    made = Batch(TOPIC, 0)
    made.first_time = NOON
    made.lines.extend(f'{{"offset":{number}}}'.encode() for number in range(lines))
    return made


def test_the_same_lines_of_another_turn_are_other_bytes(
    desk: tuple[Installation, ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, objects = desk
    monkeypatch.setattr(stream_place, "LEASE_SECONDS", 0.0)  # whoever claims, takes over
    with MongoClient(installation.servers.mongo_uri, tz_aware=True) as mongo:
        db = mongo[installation.database]
        crashed, zombie, heir = (PlaceStore(db, "stream") for _ in range(3))
        crashed.claim()
        RawZone(objects, crashed).store([batch(3)], Place())  # and dies before it commits
        place = zombie.claim()
        commit = zombie.commit

        def overtaken(committed: Place) -> None:
            """It has proved its lease, and is stopped before it writes; the heir stores the three lines meanwhile."""
            commit(committed)
            monkeypatch.setattr(zombie, "commit", commit)
            taken = heir.claim()
            RawZone(objects, heir).store([batch(3)], taken)
            heir.commit(Place(offsets={TOPIC: 3}))

        monkeypatch.setattr(zombie, "commit", overtaken)
        with pytest.raises(Conflict):
            RawZone(objects, zombie).store([batch(1)], place)  # it had read less when its time was up
        body, _ = objects.get(batch(3).key)
        assert len(gzip.decompress(body).splitlines()) == 3
