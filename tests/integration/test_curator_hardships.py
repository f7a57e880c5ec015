"""Epochs, rows that move between days, partitions that are behind, refusals that are listed, and a full disk."""

from __future__ import annotations

import gzip
import os
import random
import socket
import subprocess
import sysconfig
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.adapters.iceberg_keys import KeyIndex
from services.adapters.iceberg_maintenance import expire
from services.errors import NotFound, Unavailable
from services.lake_schema import LABELS_TOPIC, TRANSACTIONS_TABLE
from services.settings import Settings
from tests.integration.lake_desk import START, TOPIC, Desk, line, transaction
from workers import curator_merge, curator_topics
from workers.stream_objects import iso, object_key


def marker(epoch: int, offset: int, *, seconds: int, partition: int = 0, partitions: int = 1) -> bytes:
    event = {
        "operationType": "epoch",
        "clusterTime": iso(START + timedelta(seconds=seconds)),
        "documentKey": {"_id": f"epoch:{epoch}"},
        "fullDocument": {"epoch": epoch, "partition": partition, "partitions": partitions},
        "offset": offset,
    }
    return orjson.dumps(event)


def place_of(desk: Desk, table: str = "transactions", topic: str = TOPIC) -> dict[str, Any]:
    state = desk.tables.state(table)
    assert state is not None
    place: dict[str, Any] = state.position[topic]
    return place


def test_a_new_epoch_keeps_what_it_copies_and_drops_what_was_deleted_unseen(desk: Desk) -> None:
    desk.put([line(transaction(key, day=day), day) for day, key in enumerate("abc")], 0)
    desk.fold()
    copies = [line(transaction("a", version=7), 3, operation="copy", seconds=100)]
    copies += [line(transaction("d", day=9), 4, operation="copy", seconds=100)]
    desk.put(copies, 3)
    desk.fold()
    assert set(desk.rows()) == set("abcd")
    after = line(transaction("e", day=1), 6, seconds=101)
    desk.put([marker(2, 5, seconds=100), after], 5)
    desk.fold()
    assert {key: row["version"] for key, row in desk.rows().items()} == {"a": 7, "d": 1, "e": 1}
    place = place_of(desk)
    assert (place["folded"], place["quarantined"], place["next_offset"]) == (7, 0, 7)
    desk.put([marker(2, 7, seconds=100), line(transaction("f"), 8, seconds=102)], 7)
    desk.fold()
    assert set(desk.rows()) == set("adef")
    assert sum(desk.tables.read("rates_hourly")["transactions"].to_pylist()) == 4


def test_an_epoch_waits_for_the_markers_of_all_partitions_and_survives_a_crash_before_it_clears(desk: Desk) -> None:
    def put(lines: list[bytes], partition: int, first: int) -> None:
        key = object_key(TOPIC, START, first).replace("+0+", f"+{partition}+").removesuffix(".gz")
        desk.objects.put(key, b"\n".join(lines) + b"\n")

    put([line(transaction("a"), 0), line(transaction("b"), 1)], 0, 0)
    put([line(transaction("c"), 0), line(transaction("d"), 1)], 1, 0)
    desk.fold()
    copies = [line(transaction("a"), 2, operation="copy", seconds=50)]
    put([*copies, marker(2, 3, seconds=50, partition=0, partitions=2)], 0, 2)
    desk.fold()
    assert set(desk.rows()) == set("abcd")
    copies = [line(transaction("c"), 2, operation="copy", seconds=50)]
    put([*copies, marker(2, 3, seconds=50, partition=1, partitions=2)], 1, 2)
    folder = curator_topics.TopicFolder(desk.tables, desk.objects, TOPIC, TRANSACTIONS_TABLE)
    folded = folder.fold()
    assert folded is not None
    assert folded.more
    assert set(desk.rows()) == set("abcd")
    desk.fold()  # another process, after a crash
    assert set(desk.rows()) == set("ac")


def test_labels_outlive_an_epoch_that_copies_them(desk: Desk) -> None:
    def label(key: str, offset: int, *, operation: str = "insert", seconds: int = 0) -> bytes:
        body = {"_id": key, "transaction_id": "a", "value": "fraud", "labelled_at": iso(START), "source": "analyst"}
        return line(body, offset, operation=operation, seconds=seconds)

    desk.put([label("l1", 0), label("l2", 1)], 0, topic=LABELS_TOPIC)
    desk.fold()
    desk.put([label("l1", 2, operation="copy", seconds=60), marker(2, 3, seconds=60)], 2, topic=LABELS_TOPIC)
    desk.fold()
    assert desk.lake.read_labels(columns=("label_id",)).to_pylist() == [{"label_id": "l1"}]


def test_a_row_whose_event_time_changes_moves_and_leaves_nothing_behind(desk: Desk) -> None:
    desk.put([line(transaction(f"t{n}", day=n % 3), n) for n in range(9)], 0)
    desk.fold()
    moved = line(transaction("t0", day=40, version=2), 9, operation="update", seconds=5)
    desk.put([moved, line({"_id": "t1"}, 10, operation="delete", seconds=5)], 9)
    desk.fold()
    rows = desk.rows()
    assert set(rows) == {f"t{n}" for n in range(9)} - {"t1"}
    assert rows["t0"]["event_time"] == START + timedelta(days=40, hours=2)
    stale = line(transaction("t0", day=0), 11, seconds=0)
    desk.put([stale], 11)
    desk.fold()
    assert desk.rows()["t0"] == rows["t0"]


def test_small_commits_leave_few_files_and_one_manifest_a_month(desk: Desk) -> None:
    rng = random.Random(3)
    folder = curator_topics.TopicFolder(desk.tables, desk.objects, TOPIC, TRANSACTIONS_TABLE)
    offset, state = 0, {}
    for number in range(14):
        lines = []
        for key in (f"t{number}", f"t{rng.randrange(number + 1)}"):
            document = transaction(key, day=int(key[1:]) % 2 * 31, version=offset)
            state[key] = offset
            lines.append(line(document, offset, operation="replace", seconds=number))
            offset += 1
        desk.put(lines, offset - 2)
        folder.fold()
    assert {key: row["version"] for key, row in desk.rows().items()} == state
    files = desk.tables.files("transactions").values()
    assert len(files) <= 5
    table = desk.tables.table("transactions")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(table.io)) == 2


def test_without_an_index_in_memory_the_same_rows_are_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(desk.tables._indexes, "transactions", KeyIndex(max_rows=2))
    monkeypatch.setattr(curator_merge, "GROUP_ROWS", 2)
    desk.put([line(transaction(f"t{n}", day=n), n) for n in range(6)], 0)
    desk.fold()
    desk.put([line(transaction("t4", day=1, version=2), 6, seconds=9)], 6)
    desk.fold()
    assert {key: row["version"] for key, row in desk.rows().items()} == {f"t{n}": 1 + (n == 4) for n in range(6)}


def test_a_partition_that_is_hours_behind_loses_nothing(desk: Desk) -> None:
    def put(partition: int, hour: int, first: int) -> None:
        at = START + timedelta(hours=hour)
        key = object_key(TOPIC, at, first).replace("+0+", f"+{partition}+").removesuffix(".gz")
        document = transaction(f"p{partition}-{first}")
        desk.objects.put(key, line(document, first, seconds=hour * 3600) + b"\n")

    curator = desk.curator()
    put(0, 0, 0)
    put(1, 0, 0)
    while curator.cycle():
        pass
    for first in range(1, 6):
        put(0, first, first)
        curator.cycle()
    put(1, 1, 1)  # behind the newest hour and not met by a look there
    put(1, 5, 2)
    for _ in range(3):
        curator.cycle()
    assert set(desk.rows()) == {*(f"p0-{n}" for n in range(6)), "p1-0", "p1-1", "p1-2"}
    assert {number: at["next_offset"] for number, at in place_of(desk)["partitions"].items()} == {"0": 6, "1": 3}


def test_a_place_of_the_first_form_is_read_on(desk: Desk) -> None:
    desk.put([line(transaction("a"), 0)], 0)
    desk.fold()
    state = desk.tables.state("transactions")
    assert state is not None
    place = dict(state.position[TOPIC])
    former = place.pop("partitions")["0"]
    desk.tables.replace("transactions", [], {TOPIC: place | former}, expected_snapshot=state.snapshot_id)
    desk.put([line(transaction("b"), 1)], 1)
    desk.fold()
    assert set(desk.rows()) == {"a", "b"}
    assert place_of(desk)["folded"] == 2


def test_refusals_are_counted_by_reason_and_listed_newest_first(desk: Desk) -> None:
    bad = [
        line(transaction("x", amount_minor="4111111111111111"), 0),
        line(transaction("x", event_time="9999-12-31T23:59:59.999Z"), 1),
        line(transaction("x", event_time="0001-01-01T00:00:00.000Z"), 2),
        b"{",
        line(transaction("x", event_time={"$numberLong": "1"}), 4, seconds=7),
    ]
    desk.put(bad, 0)
    desk.fold()
    key = desk.put([line(transaction("x", currency=978), 5, seconds=8)], 5)
    desk.fold()
    reasons = desk.lake.quarantine_reasons()
    assert reasons["event_time is not between 1970 and 2199"] == 2
    assert sum(reasons.values()) == place_of(desk)["quarantined"] == 6
    listed = desk.lake.quarantine()
    assert [record.offset for record in listed] == [5, 0, 1, 2, None, 4]
    first = listed[0]
    assert (first.object, first.line, first.topic) == (key, 0, TOPIC)
    assert (first.reason, first.at) == ("currency is a number, not text", START + timedelta(seconds=8))
    assert listed[4].at == START
    assert desk.lake.quarantine(limit=2) == listed[:2]
    assert "4111" not in repr(listed)


@pytest.mark.parametrize("hours", [-24, 24], ids=["a day behind", "a day ahead"])
def test_late_drifted_and_clock_skewed_documents_are_folded(desk: Desk, hours: int) -> None:
    skewed = transaction("a", event_time=iso(START + timedelta(hours=hours)))
    late = transaction("b", event_time=iso(START - timedelta(days=400)))
    drifted = transaction("c", attributes={"new": True}, never_seen={"deep": [1]}, merchant={"id": "m", "new": 1})
    desk.put([line(skewed, 0), line(late, 1), line(drifted, 2)], 0)
    desk.put([line(transaction("d"), 3, seconds=86400)], 3, at=START + timedelta(hours=24))
    desk.put([line(transaction("a", version=2), 4, seconds=86401)], 4, at=START + timedelta(hours=24))
    desk.fold()
    rows = desk.rows()
    assert set(rows) == set("abcd")
    assert rows["a"]["version"] == 2
    assert rows["b"]["event_time"] == START - timedelta(days=400)
    assert rows["c"]["attributes"] == '{"new":true}'


def test_the_lake_can_be_read_as_it_was_at_a_time(desk: Desk) -> None:
    before = datetime.now(UTC)
    desk.put([line(transaction("a"), 0)], 0)
    desk.fold()
    then = desk.lake.snapshot()
    committed = desk.tables.state("transactions")
    assert committed is not None
    desk.put([line(transaction("b"), 1)], 1)
    desk.fold()
    assert desk.lake.snapshot_at(committed.committed_at) == then
    assert desk.lake.snapshot_at(datetime.now(UTC)) == desk.lake.snapshot()
    assert set(desk.rows(desk.lake.snapshot_at(committed.committed_at))) == {"a"}
    with pytest.raises(NotFound):
        desk.lake.snapshot_at(before - timedelta(seconds=1))


def test_snapshots_are_forgotten_often_without_touching_files(desk: Desk) -> None:
    for number in range(3):
        desk.put([line(transaction(f"t{number}"), number, seconds=number)], number)
        desk.fold()
    former = desk.lake.snapshot()
    files = {info.key for info in desk.objects.list("warehouse/") if info.key.endswith(".parquet")}
    assert expire(desk.tables, "transactions", now=datetime.now(UTC)) == 0
    assert expire(desk.tables, "transactions", now=datetime.now(UTC) + timedelta(days=2)) == 2
    assert desk.lake.snapshot() == former
    assert {info.key for info in desk.objects.list("warehouse/") if info.key.endswith(".parquet")} == files
    assert set(desk.rows()) == {"t0", "t1", "t2"}


class Server:
    """rclone's S3 server over a folder of its own whose disk may be full: no file can grow beyond `limit` bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, limit: int | None) -> None:
        rclone = Path(sysconfig.get_path("scripts")) / "rclone"
        keys = f"{os.environ['AWS_ACCESS_KEY_ID']},{os.environ['AWS_SECRET_ACCESS_KEY']}"
        arguments = [str(rclone if rclone.exists() else "rclone"), "serve", "s3", str(self.folder)]
        arguments += ["--addr", f"127.0.0.1:{self.port}", "--auth-key", keys, "--config", os.devnull]
        if limit is not None:
            arguments = ["prlimit", f"--fsize={limit}", *arguments]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            assert self.process.poll() is None
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


def test_a_full_disk_stops_the_lake_where_it_is_and_it_goes_on_when_there_is_room(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path / "disk")
    (server.folder / settings.bucket).mkdir(parents=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.port}")
    rng = random.Random(5)
    try:
        server.start(limit=30_000)
        desk = Desk(settings)
        desk.put([line(transaction("a"), 0)], 0)
        desk.fold()
        many = [line(transaction(f"t{n}", attributes={"noise": rng.random()}), n) for n in range(1, 3000)]
        raw = server.folder / settings.bucket / object_key(TOPIC, START + timedelta(hours=1), 1)
        raw.parent.mkdir(parents=True)
        raw.write_bytes(gzip.compress(b"\n".join(many)))
        server.stop()
        server.start(limit=30_000)  # it remembers what was in a folder
        before = desk.tables.state("transactions")
        for _ in range(2):
            with pytest.raises(Unavailable):
                desk.fold()
        assert desk.tables.state("transactions") == before
        assert set(desk.rows()) == {"a"}
        server.stop()
        server.start(limit=None)
        desk.fold()
        assert desk.lake.rows() == 3000
        assert (place_of(desk)["folded"], place_of(desk)["quarantined"]) == (3000, 0)
        desk.tables.close()
        desk.reader.close()
    finally:
        server.stop()
