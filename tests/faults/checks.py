"""What must be true after every kill: nothing lost, nothing doubled, from the front door to the lake."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.adapters.iceberg import IcebergLake
from services.adapters.mongo.client import Db
from services.adapters.s3 import ObjectStore
from services.features import DEMO, event_from_document, label_from_document
from services.lake import Lake
from services.lake_schema import LABELS_TOPIC, RAW_ROOT, TRANSACTIONS_TOPIC
from services.settings import Settings
from tests.faults.load import Load
from tests.faults.stack import wait_for

MINE = {"$regex": "^fault-"}
_SHOWN = 5


@dataclass
class Desk:
    """The stores of one running stack, and the moment from which its changes are looked at."""

    settings: Settings
    db: Db
    start: Any = None
    objects: ObjectStore = field(init=False)
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.objects = ObjectStore(self.settings.bucket, region=self.settings.region)
        self.lake = Lake(IcebergLake(self.settings, patient=True))
        self.start = self.db.client.admin.command("ping")["operationTime"]


def drained(desk: Desk) -> None:
    """Wait until the scorer and the lake have all that is there now."""
    wait_for(
        lambda: desk.db["transactions"].count_documents({"_id": MINE, "score": None}) == 0,
        60,
        lambda: f"scored; {desk.db['transactions'].count_documents({'_id': MINE, 'score': None})} wait",
    )


def nothing_lost_or_doubled(desk: Desk, load: Load) -> None:
    """Everything below; `load` has been finished, the stack's own traffic goes on."""
    drained(desk)
    acknowledged_once(desk, load)
    scored_once(desk)
    labelled_once(desk, load)
    lake_equals_mongodb(desk)
    raw_zone_is_gapless(desk)


def acknowledged_once(desk: Desk, load: Load) -> None:
    stored = Counter(d["_id"] for d in desk.db["transactions"].find({"_id": MINE}, {"_id": 1}))
    assert stored == Counter(load.acknowledged), _difference(stored.keys(), load.acknowledged)


def _inserts(desk: Desk) -> Iterator[tuple[str, dict[str, Any]]]:
    """Our transactions and labels in commit order, from the oplog: an account that none of the workers has written."""
    match = {"$match": {"operationType": "insert", "ns.coll": {"$in": ["transactions", "labels"]},
                        "fullDocument.customer_id": MINE}}  # fmt: skip
    end = desk.db.client.admin.command("ping")["operationTime"]
    with desk.db.watch([match], start_at_operation_time=desk.start, max_await_time_ms=200) as stream:
        while True:
            change = stream.try_next()
            if change is not None and change["clusterTime"] <= end:
                yield change["ns"]["coll"], change["fullDocument"]
            else:
                return


def scored_once(desk: Desk) -> None:
    """Features and entity states are those of a replay that observes each transaction and label once, in order."""
    stored = {d["_id"]: d for d in desk.db["transactions"].find({"_id": MINE})}
    states: dict[str, Any] = {}
    replayed = 0

    def known(keys: Any) -> None:
        for key in keys:
            states.setdefault(key, DEMO.new_state(key))

    for collection, document in _inserts(desk):
        if collection == "labels":
            label = label_from_document(DEMO, document)
            known(DEMO.label_keys(label))
            DEMO.observe_label(label, states)
            continue
        event = event_from_document(DEMO, document)
        known(DEMO.entity_keys(event))
        expected = [None if v != v else v for v in DEMO.step(event, states)]
        found = stored[document["_id"]]
        assert [found["features"][name] for name in DEMO.names] == expected, document["_id"]
        replayed += 1
    assert replayed == len(stored)
    held = {d["_id"]: d["state"] for d in desk.db["entities"].find({"_id": {"$in": list(states)}})}
    assert {key for key in states if held.get(key) != states[key]} == set()
    labels = Counter(d["transaction_id"] for d in desk.db["labels"].find({"transaction_id": MINE}))
    # Inserted, scored, and once more for every verdict and report.
    wrong = {k: d["version"] for k, d in stored.items() if d["version"] != 2 + labels[k]}
    assert wrong == {}, f"changed more or less often than it was scored and labelled: {_some(wrong)}"


def labelled_once(desk: Desk, load: Load) -> None:
    """Every label is there once with its timeline entry; every alert of the desk was opened by one event."""
    labels = {d["_id"]: d["value"] for d in desk.db["labels"].find({"transaction_id": MINE})}
    expected = {key: str(value) for key, value in load.decided.items()} | dict.fromkeys(load.reported, "fraud")
    assert labels == expected
    others = {"transaction_id": MINE, "kind": {"$ne": "alert_opened"}}
    events = Counter(d["_id"] for d in desk.db["case_events"].find(others))
    assert events == Counter(expected.keys())
    audited = Counter(d["object"] for d in desk.db["audit"].find({"action": "decide", "object": MINE}))
    assert audited == Counter(key.partition(":")[0] for key in load.decided)
    alerted = {"_id": MINE, "alert": {"$exists": True}}
    alerts = Counter(d["_id"] for d in desk.db["transactions"].find(alerted, {"_id": 1}))
    opened = Counter(
        d["transaction_id"] for d in desk.db["case_events"].find({"transaction_id": MINE, "kind": "alert_opened"})
    )
    assert opened == alerts
    assert alerts, "the load never raised an alert"


# The lake

_FIELDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "amount_minor": lambda d: d["amount_minor"],
    "customer_id": lambda d: d["customer_id"],
    "score": lambda d: (d.get("score") or {}).get("value"),
    "decision": lambda d: (d.get("score") or {}).get("decision"),
    "model_version": lambda d: (d.get("score") or {}).get("model_version"),
    "scored_at": lambda d: (d.get("score") or {}).get("scored_at"),
    "alert_status": lambda d: (d.get("alert") or {}).get("status"),
    "label": lambda d: (d.get("label") or {}).get("value"),
    "label_source": lambda d: (d.get("label") or {}).get("source"),
    "labelled_at": lambda d: (d.get("label") or {}).get("labelled_at"),
}


def _source(desk: Desk) -> dict[str, dict[str, Any]]:
    wanted = {"version": 1, "amount_minor": 1, "customer_id": 1, "score": 1, "alert": 1, "label": 1}
    return {d["_id"]: d for d in desk.db["transactions"].find({}, wanted)}


def lake_equals_mongodb(desk: Desk) -> None:
    """Within a minute one snapshot of the lake holds what MongoDB held before, row by row, and nothing else.

    Traffic goes on meanwhile, so MongoDB is read before and after: every row of the first reading is in the lake, at
    a version between the two readings, and a row that did not change between them is equal field by field.
    """
    before = _source(desk)
    labels = {d["_id"]: d["value"] for d in desk.db["labels"].find({}, {"value": 1})}
    found: list[str] = []

    def equal() -> bool:
        found[:] = _lake_differences(desk, before, labels)
        return not found

    wait_for(equal, 60, lambda: f"the lake equals MongoDB: {found[:_SHOWN]} ({len(found)} differences)")


def _lake_differences(desk: Desk, before: dict[str, dict[str, Any]], labels: dict[str, str]) -> list[str]:
    columns = ("transaction_id", "version", *_FIELDS)
    rows = desk.lake.read_transactions(columns=columns).to_pylist()
    lake_labels = desk.lake.read_labels(columns=("label_id", "value")).to_pylist()
    after = _source(desk)
    later = {d["_id"] for d in desk.db["labels"].find({}, {"_id": 1})}
    out = [f"{key} doubled" for key, n in Counter(row["transaction_id"] for row in rows).items() if n > 1]
    lake = {row["transaction_id"]: row for row in rows}
    out += [f"{key} is in the lake only" for key in lake.keys() - after.keys()]
    for key, first in before.items():
        row = lake.get(key)
        if row is None:
            out.append(f"{key} lost")
        elif not first["version"] <= row["version"] <= after[key]["version"]:
            out.append(f"{key} version {row['version']}, not {first['version']} to {after[key]['version']}")
        elif first["version"] == after[key]["version"]:
            out += [f"{key} {n}: {row[n]!r}, not {get(first)!r}" for n, get in _FIELDS.items() if row[n] != get(first)]
    out += [f"label {k} doubled" for k, n in Counter(row["label_id"] for row in lake_labels).items() if n > 1]
    known = {row["label_id"]: row["value"] for row in lake_labels}
    out += [f"label {key} is {known.get(key)}, not {value}" for key, value in labels.items() if known.get(key) != value]
    return out + [f"label {key} is in the lake only" for key in known.keys() - later]


def raw_zone_is_gapless(desk: Desk) -> None:
    """Offsets of each topic are 0, 1, 2, ...; objects are named after their first; each version is there once."""
    for topic in (TRANSACTIONS_TOPIC, LABELS_TOPIC):
        expected = 0
        seen: Counter[tuple[str, int]] = Counter()
        infos = sorted(desk.objects.list(f"{RAW_ROOT}/{topic}/"), key=lambda info: info.key.rpartition("+")[2])
        for info in infos:
            lines = [orjson.loads(line) for line in gzip.decompress(desk.objects.get(info.key)[0]).splitlines()]
            assert info.key.endswith(f"+{expected:010d}.json.gz"), f"a gap or an overlap before {info.key}"
            assert [line["offset"] for line in lines] == list(range(expected, expected + len(lines))), info.key
            expected += len(lines)
            seen.update((line["documentKey"]["_id"], line["fullDocument"].get("version", 0)) for line in lines)
        doubled = {key: count for key, count in seen.items() if count > 1 and key[0].startswith("fault-")}
        assert doubled == {}, _some(doubled)


def _some(items: dict[Any, Any]) -> dict[Any, Any]:
    return dict(list(items.items())[:_SHOWN])


def _difference(stored: Any, expected: Any) -> str:
    lost, extra = set(expected) - set(stored), set(stored) - set(expected)
    return f"{len(lost)} lost {sorted(lost)[:_SHOWN]}, {len(extra)} never acknowledged {sorted(extra)[:_SHOWN]}"
