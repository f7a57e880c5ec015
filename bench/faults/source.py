"""The one writer of the source, and its own account of what the lake must hold: nothing of the product is asked."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.client_session import ClientSession

from bench.faults.documents import DRIFT, ODD, POISON, Document, flat, flat_label, transaction
from bench.faults.servers import Installation
from services.adapters.mongo import schema

# Of a thousand actions.
_MIX = {
    "insert": 420,
    "update": 320,
    "label": 80,
    "delete": 50,
    "odd": 50,
    "poison": 30,
    "move": 20,
    "drift": 20,
    "repair": 10,
}


class Source:
    """Writes seeded actions, one after the other, so that the order of its record is the order of commits.

    `good` is each document as the lake has to show it: its last state within the contract. `refused` are the ids and
    versions of states outside it. A deleted id may come again; times are corrected now and then, so rows move.
    """

    def __init__(self, installation: Installation, seed: int) -> None:
        self._client: MongoClient[Document] = MongoClient(installation.servers.mongo_uri, tz_aware=True)
        self.db = self._client[installation.database]
        schema.ensure(self.db)
        self._rng = random.Random(seed)
        self._number = 0
        self.documents: dict[str, Document] = {}
        self.good: dict[str, Document] = {}
        self.labels: dict[str, Document] = {}
        self.refused: set[tuple[str, int]] = set()
        self.actions: Counter[str] = Counter()
        self._gone: list[Document] = []
        self._bad: set[str] = set()
        # A drift is only certain to be seen as one once the first copy is over: a copy shows the last state alone.
        self.drifting = threading.Event()
        self._running, self._stop = threading.Event(), threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, per_second: float) -> None:
        self._running.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(1 / per_second,), name="source")
            self._thread.start()

    def pause(self) -> None:
        """Returns when nothing is under way. Raises what made the writer fail."""
        self._running.clear()
        if not self._idle.wait(30):
            raise TimeoutError("the writer does not pause")
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self._stop.set()
        self._running.set()
        if self._thread is not None:
            self._thread.join(30)
        self._client.close()

    def drop(self) -> None:
        self._client.drop_database(self.db.name)

    def _work(self, pause: float) -> None:
        try:
            while True:
                self._running.wait()
                if self._stop.is_set():
                    return
                self._idle.clear()
                while self._running.is_set() and not self._stop.is_set():
                    self.act()
                    time.sleep(pause)
                self._idle.set()
        except BaseException as error:  # told to whoever pauses the writer: a broken oracle is no result
            self._failure = error
            self._idle.set()

    def act(self, kind: str | None = None) -> None:
        """One action by the plan, or of the kind given; an insert where that kind finds nothing to act on."""
        kind = kind or self._rng.choices(list(_MIX), list(_MIX.values()))[0]
        key = self._rng.choice(list(self.good)) if self.good else None
        before = self.actions.total()
        if kind == "poison":
            self.insert_poison(self._rng.choice(list(POISON)))
        elif kind == "odd":
            self.insert_odd(self._rng.choice(list(ODD)))
        elif kind == "repair" and self._bad:
            self._repair(self._rng.choice(sorted(self._bad)))
        elif key is not None and key not in self._bad:
            self._change(kind, key)
        if self.actions.total() == before:
            self.insert()

    def _change(self, kind: str, key: str) -> None:
        if kind == "update":
            self._update(key)
        elif kind == "label":
            self._label(key)
        elif kind == "move":
            self._move(key)
        elif kind == "delete":
            self._delete(key)
        elif kind == "drift" and self.drifting.is_set():
            self.drift(key, self._rng.choice(list(DRIFT)))

    def insert(self) -> str:
        """A new document, or one that was deleted before, with its version going on."""
        if self._gone and self._rng.random() < 0.1:
            document = self._gone.pop()
            document["version"] += 1
            document["event_time"] += timedelta(days=self._rng.choice((0, 0, -3)))
        else:
            document = self._new()
        self._insert(document, "insert")
        return str(document["_id"])

    def insert_odd(self, name: str) -> None:
        document = self._new()
        ODD[name](document)
        self._insert(document, f"odd: {name}")

    def insert_poison(self, name: str) -> None:
        document = self._new()
        POISON[name](document)
        self.db["transactions"].insert_one(document)
        self.refused.add((document["_id"], document["version"]))
        self.actions[f"poison: {name}"] += 1

    def _new(self) -> Document:
        self._number += 1
        return transaction(f"t{self._number:06d}", self._rng, datetime.now(UTC))

    def _insert(self, document: Document, action: str) -> None:
        self.db["transactions"].insert_one(document)
        self.documents[document["_id"]] = document
        self._record(document["_id"], action)

    def _record(self, key: str, action: str) -> None:
        self.good[key] = flat(copy.deepcopy(self.documents[key]))
        self.actions[action] += 1

    def _set(self, key: str, values: Document, session: ClientSession | None = None) -> None:
        """Change the document and our copy of it, one version on."""
        document = self.documents[key]
        update: dict[str, Any] = {"$inc": {"version": 1, "attributes.counter": 1}}
        if values:
            update["$set"] = values
        done = self.db["transactions"].update_one({"_id": key, "version": document["version"]}, update, session=session)
        if done.modified_count != 1:
            raise AssertionError(f"{key} is not what the writer left")
        document.update(values)
        document["version"] += 1
        document["attributes"]["counter"] += 1

    def _update(self, key: str) -> None:
        self._set(key, {"amount_minor": self._rng.randrange(300_000)} if self._rng.random() < 0.5 else {})
        self._record(key, "update")

    def _move(self, key: str) -> None:
        """The time is corrected, and the row belongs to another day."""
        days = self._rng.choice((-40, -2, -1, 1))
        self._set(key, {"event_time": self.documents[key]["event_time"] + timedelta(days=days)})
        self._record(key, "move")

    def _label(self, key: str) -> None:
        """Label and transaction in one database transaction, as the desk writes them."""
        document = self.documents[key]
        at = datetime.now(UTC).replace(microsecond=0)
        value = self._rng.choice(("fraud", "genuine", "inconclusive"))
        label = {
            "_id": f"{key}:analyst:{document['version']}",
            "transaction_id": key,
            "customer_id": document["customer_id"],
            "amount_minor": document["amount_minor"],
            "event_time": document["event_time"],
            "value": value,
            "source": "analyst",
            "labelled_at": at,
            "labelled_by": "Fay Analyst",
        }
        with self._client.start_session() as session, session.start_transaction():
            self.db["labels"].insert_one(label, session=session)
            self._set(key, {"label": {"value": value, "source": "analyst", "labelled_at": at}}, session)
        self.labels[label["_id"]] = flat_label(label)
        self._record(key, "label")

    def _delete(self, key: str) -> None:
        self.db["transactions"].delete_one({"_id": key})
        self._gone.append(self.documents.pop(key))
        del self.good[key]
        self.actions["delete"] += 1

    def drift(self, key: str, name: str) -> None:
        """The document leaves the contract; the lake keeps its last good state."""
        kept = copy.deepcopy(self.documents[key])
        self._set(key, dict(DRIFT[name]))
        self.refused.add((key, self.documents[key]["version"]))
        self.documents[key] |= {name: kept[name] for name in DRIFT[name]}
        self._bad.add(key)
        self.actions[f"drift: {name}"] += 1

    def _repair(self, key: str) -> None:
        document = self.documents[key]
        self._set(key, {"amount_minor": 4_200, "channel": document["channel"]})
        self._bad.discard(key)
        self._record(key, "repair")

    def marks(self) -> tuple[str, str]:
        """Write a last transaction and a last label: once the lake has them, it has all before them."""
        key = self.insert()
        self._label(key)
        return key, next(reversed(self.labels))
