"""Documents of nearly 16 MB: their events are larger than a document may be, and everybody else's changes flow on."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from services.adapters.mongo.client import Db, connect
from services.settings import Settings
from tests.integration.test_stream import committed, events, running, transactions, until

LIMIT = 16 * 1024 * 1024
NEARLY = int(15.9 * 1024 * 1024)
# With an id this long, an event is too large for MongoDB even without the description of the change.
LONG_ID = "k" * 20_000


def small(first: int, count: int, db: Db) -> None:
    db["transactions"].insert_many(transactions(first, count))


def test_large_documents_and_their_changes_pass_whatever_the_size_of_their_events(settings: Settings, db: Db) -> None:
    patient = connect(settings, timeout_seconds=60.0)  # 16 MB take a busy machine longer than a screen would wait
    with closing(patient.client), running(settings):
        begun = {"_id": "stream", "started_at": {"$ne": None}, "copying": None}
        until(lambda: db["positions"].find_one(begun) is not None)
        small(0, 50, patient)
        patient["transactions"].insert_one({"_id": "large", "n": 0, "text": "a" * NEARLY})
        small(50, 50, patient)
        patient["transactions"].replace_one({"_id": "large"}, {"n": 1, "text": "b" * NEARLY})
        patient["transactions"].update_one({"_id": "large"}, {"$set": {"n": 2, "text": "c" * NEARLY}})
        small(100, 50, patient)
        patient["transactions"].insert_one({"_id": LONG_ID, "n": 0, "text": "d" * (LIMIT - 2 * len(LONG_ID))})
        patient["transactions"].update_one({"_id": LONG_ID}, {"$set": {"n": 1}})
        small(150, 50, patient)
        patient["transactions"].delete_one({"_id": "large"})
        until(lambda: committed(db) == 206, 120)
    lines = events(settings)
    assert [line["offset"] for line in lines] == list(range(206))
    ids = [line["documentKey"]["_id"] for line in lines]
    assert [name for name in ids if name.startswith("t")] == [f"t{n:05d}" for n in range(200)]
    assert [_state(line) for line in lines if line["documentKey"]["_id"] == "large"] == [
        ("insert", 0, NEARLY), ("replace", 1, NEARLY), ("update", 2, NEARLY), ("delete", None, 0),
    ]  # fmt: skip
    long = [_state(line) for line in lines if line["documentKey"]["_id"] == LONG_ID]
    assert [operation for operation, _, _ in long] == ["insert", "update"]
    assert long[-1][1:] == (1, LIMIT - 2 * len(LONG_ID))


def _state(line: dict[str, Any]) -> tuple[str, int | None, int]:
    document = line["fullDocument"]
    return line["operationType"], document and document["n"], len(document["text"]) if document else 0
