"""Raw objects -> Iceberg -> rates against a real S3: folding, repetition, crashes, refusals, time travel."""

from __future__ import annotations

import gzip
import random
from datetime import date, datetime, timedelta

import orjson
import pytest

from services.rates import RatesQuery
from tests.integration.lake_desk import START, TOPIC, Desk, line, random_events, transaction
from workers import curator_rollup
from workers.stream_objects import iso, object_key


def test_inserts_updates_and_deletes_become_the_latest_state(desk: Desk) -> None:
    desk.put([line(transaction("a"), 0), line(transaction("b", day=1), 1), line(transaction("c", day=2), 2)], 0)
    desk.fold()
    assert set(desk.rows()) == {"a", "b", "c"}
    labelled = transaction("a", version=2, label={"value": "fraud", "source": "analyst", "labelled_at": iso(START)})
    desk.put(
        [line(labelled, 3, operation="update", seconds=5), line({"_id": "c"}, 4, operation="delete", seconds=6)], 3
    )
    desk.fold()
    rows = desk.rows()
    assert set(rows) == {"a", "b"}
    assert rows["a"]["label"] == "fraud"
    assert rows["a"]["version"] == 2
    assert desk.lake.rows() == 2
    assert desk.lake.current_to() == START + timedelta(seconds=6)
    assert desk.lake.newest_offsets() == {"fraud.transactions": 5, "fraud.labels": 0}
    assert desk.statuses.last is not None
    assert desk.statuses.last.lag_seconds == 0.0
    only_b = desk.lake.read_transactions(
        None, START + timedelta(days=1), START + timedelta(days=2), ("transaction_id",)
    )
    assert only_b.to_pylist() == [{"transaction_id": "b"}]


def test_nothing_new_commits_nothing(desk: Desk) -> None:
    desk.put([line(transaction("a"), 0)], 0)
    desk.fold()
    before = desk.tables.state("transactions"), desk.tables.state("rates_hourly")
    desk.fold()
    assert (desk.tables.state("transactions"), desk.tables.state("rates_hourly")) == before


def test_an_object_written_again_with_more_in_it_is_noticed(desk: Desk) -> None:
    first, second = line(transaction("a"), 0), line(transaction("b"), 1)
    desk.put([first], 0)
    desk.fold()
    desk.put([first, second], 0)
    desk.put([line(transaction("c"), 2)], 2)
    desk.fold()
    assert set(desk.rows()) == {"a", "b", "c"}
    state = desk.tables.state("transactions")
    assert state is not None
    place = state.position[TOPIC]
    assert (place["next_offset"], place["folded"], place["quarantined"]) == (3, 3, 0)


def test_an_object_written_again_with_less_in_it_and_the_rest_after_it_counts_once(desk: Desk) -> None:
    lines = [line(transaction(key), offset) for offset, key in enumerate("abc")]
    desk.put(lines, 0)
    desk.fold()
    desk.put(lines[:1], 0)
    desk.put([*lines[1:], line(transaction("d"), 3)], 1)
    desk.fold()
    assert set(desk.rows()) == set("abcd")
    state = desk.tables.state("transactions")
    assert state is not None
    assert state.position[TOPIC]["folded"] == 4


def test_bad_records_are_quarantined_without_their_content_and_all_are_counted(desk: Desk) -> None:
    bad = line(transaction("x", amount_minor="4111111111111111", card={"token": "tok-secret"}), 1)
    key = desk.put([line(transaction("a"), 0), bad, b'{"card": "4111111111111111', line(transaction("b"), 3)], 0)
    desk.fold()
    assert set(desk.rows()) == {"a", "b"}
    state = desk.tables.state("transactions")
    assert state is not None
    assert (state.position[TOPIC]["folded"], state.position[TOPIC]["quarantined"]) == (2, 2)
    body = gzip.decompress(desk.objects.get(key.replace("raw/topics", "quarantine"))[0])
    assert b"4111" not in body
    assert b"tok-secret" not in body
    assert [(record["offset"], record["reason"]) for record in map(orjson.loads, body.splitlines())] == [
        (1, "amount_minor is text, not a whole number"),
        (None, "not a line of JSON"),
    ]
    assert desk.statuses.last is not None
    assert desk.statuses.last.counts == {"folded": 2, "quarantined": 2}


def test_an_object_of_refusals_only_moves_the_position(desk: Desk) -> None:
    desk.put([b"{"], 0)
    desk.fold()
    assert desk.lake.newest_offsets()[TOPIC] == 1
    assert desk.lake.rows() == 0


def test_a_damaged_object_does_not_stop_the_lake(desk: Desk) -> None:
    whole = gzip.compress(line(transaction("a"), 0) + b"\n" + line(transaction("b"), 1) + b"\n", compresslevel=0)
    desk.objects.put(object_key(TOPIC, START, 0), whole[:-40])
    desk.fold()
    assert set(desk.rows()) == {"a"}
    state = desk.tables.state("transactions")
    assert state is not None
    assert state.position[TOPIC]["quarantined"] == 1


def test_labels_are_appended_once(desk: Desk) -> None:
    def label(key: str, offset: int) -> bytes:
        body = {"_id": key, "transaction_id": "a", "value": "fraud", "labelled_at": iso(START), "source": "analyst"}
        return line(body, offset)

    desk.put([label("a:analyst:1", 0)], 0, topic="fraud.labels")
    desk.fold()
    desk.put([label("a:analyst:1", 1), label("a:chargeback", 2)], 1, topic="fraud.labels")
    desk.fold()
    labels = desk.lake.read_labels(columns=("label_id", "raw_offset")).to_pylist()
    assert sorted((row["label_id"], row["raw_offset"]) for row in labels) == [("a:analyst:1", 0), ("a:chargeback", 2)]


def test_lake_and_rates_equal_the_source_however_it_was_cut_and_interrupted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curator_rollup, "GROUP_ROWS", 20)
    rng = random.Random(7)
    lines, state = random_events(rng, 120)

    class Crash(Exception):
        pass

    def crash(_table: str) -> None:
        if rng.random() < 0.5:
            raise Crash

    at = 0
    while at < len(lines):
        size = rng.randint(10, 40)
        desk.put(lines[at : at + size], at)
        if rng.random() < 0.3:  # the stream died after storing a first, shorter form of the object
            desk.put(lines[at : at + max(1, size // 2)], at)
            desk.fold()
            desk.put(lines[at : at + size], at)
        at += size
        try:
            desk.curator(after_fold=crash).cycle()
        except Crash:
            pass
    desk.fold()
    rows = desk.rows()
    assert {key: (row["version"], row["label"]) for key, row in rows.items()} == {
        key: (document["version"], document.get("label", {}).get("value")) for key, document in state.items()
    }
    place = desk.tables.state("transactions").position[TOPIC]  # type: ignore[union-attr]
    assert place["folded"] + place["quarantined"] == place["next_offset"] == len(lines)

    frame = desk.rates().table(RatesQuery(START, START + timedelta(days=31), "day", dimensions=("category",))).frame
    expected: dict[tuple[date, str], list[int]] = {}
    for document in state.values():
        day = datetime.fromisoformat(document["event_time"]).date()
        cell = expected.setdefault((day, document["merchant"]["category"]), [0, 0, 0])
        cell[0] += 1
        cell[1] += document["amount_minor"]
        cell[2] += document.get("label", {}).get("value") == "fraud"
    seen = {
        (row.bucket.date(), row.first): [row.transactions, row.amount_minor, row.fraud]
        for row in frame.itertuples()
        if row.transactions
    }
    assert seen == expected


def test_a_crash_between_fold_and_rollup_is_made_up_for(desk: Desk) -> None:
    def crash(_table: str) -> None:
        raise RuntimeError

    desk.put([line(transaction("a"), 0)], 0)
    with pytest.raises(RuntimeError):
        desk.curator(after_fold=crash).cycle()
    assert desk.tables.state("rates_hourly") is None
    assert desk.lake.rows() == 1
    desk.fold()
    assert desk.tables.read("rates_hourly")["transactions"].to_pylist() == [1]
