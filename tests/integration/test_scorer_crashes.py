"""kill -9 of the scorer within a batch, at every step of it: nothing lost, nothing scored twice, every state exact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.adapters.mongo.intake import label_entry
from services.features import DEMO, event_from_document, label_from_document
from services.worker_status import utc_now
from tests.integration.scorer_crashes import ALERT_MINOR, NOWHERE, POINTS
from tests.records import document

ROOT = Path(__file__).parents[2]
ROUND = 24


@contextmanager
def nursery(settings) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        "MONGODB_URI": settings.mongodb_uri,
        "FRAUD_DESK_DATABASE": settings.database,
        "FRAUD_DESK_BUCKET": "none",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.scorer_crashes"],
        env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with process:
            yield process
            process.stdin.close()
    finally:
        process.kill()


def ended(scorers: subprocess.Popen[str], point: str, attempt: int) -> int:
    """The exit code of a scorer that works until `point`."""
    scorers.stdin.write(f"{point} {attempt}\n")
    scorers.stdin.flush()
    return int(scorers.stdout.readline())


def arrive(db, rng: random.Random, number: int) -> list[tuple[str, dict]]:
    """A round of transactions of few customers, verdicts on some of them in between; in commit order."""
    made: list[tuple[str, dict]] = []
    for place in range(ROUND):
        now = utc_now()
        amount = rng.choice((1_000, 2_500, 20_000))
        changes = {"customer_id": f"c-{rng.randrange(3)}", "amount_minor": amount}
        transaction = document(f"t-{number}-{place}", received_at=now, event_time=now, **changes)
        made.append(("transactions", transaction))
        if place % 5 == 4:
            label = {"value": rng.choice(("fraud", "genuine")), "source": "analyst", "labelled_at": now}
            label |= {"labelled_by": "Ada", "label_id": f"{transaction['_id']}:analyst"}
            made.append(("labels", label_entry(transaction, label, note="")))
    for collection, item in made:
        db[collection].insert_one(item)
    return made


def replayed(items: list[tuple[str, dict]]) -> tuple[dict[str, list], dict]:
    """Features by transaction and the states after all of them, one item after another in memory."""
    states: dict = {}
    features: dict[str, list] = {}
    for collection, item in items:
        event = label_from_document(DEMO, item, None) if collection == "labels" else event_from_document(DEMO, item)
        for key in DEMO.entity_keys(event):
            states.setdefault(key, DEMO.new_state(key))
        if collection == "labels":
            DEMO.observe_label(event, states)
        else:
            features[item["_id"]] = [None if v != v else v for v in DEMO.step(event, states)]
    return features, states


def test_killed_at_every_step_of_a_batch_nothing_is_lost_or_scored_twice_and_states_equal_a_replay(db, settings):
    db["thresholds"].insert_one({"_id": "v1", "review": 0.5, "decline": 0.99})
    rng = random.Random(11)
    items: list[tuple[str, dict]] = []
    with nursery(settings) as scorers:
        assert ended(scorers, "open", 0) == 0  # the first ever start: from now on
        for attempt, point in enumerate(POINTS, start=1):
            items += arrive(db, rng, attempt)
            assert ended(scorers, point, attempt) == -signal.SIGKILL, point
        assert ended(scorers, NOWHERE, len(POINTS) + 1) == 0
    features, states = replayed(items)
    stored = {found["_id"]: found for found in db["transactions"].find()}
    assert stored.keys() == features.keys()
    for identifier, found in stored.items():
        assert list(found["features"].values()) == features[identifier]
        assert found["version"] == 2, "written once"
        alerts = found["amount_minor"] >= ALERT_MINOR
        # Whoever scored it, its reasons and its decision are of that same answer.
        assert (int(found["score"]["value"] * 10), found["score"]["decision"]) == (
            (9, "review") if alerts else (1, "approve")
        )
        assert ("alert" in found, bool(found["score"]["reasons"])) == (alerts, alerts)
    assert {found["_id"]: found["state"] for found in db["entities"].find()} == states
    opened = sorted(found["_id"] for found in db["case_events"].find())
    assert opened == sorted(f"{key}:alert" for key, found in stored.items() if "alert" in found)
    # What was committed before a kill keeps its first number; what was not is scored by a later scorer.
    who = {round(found["score"]["value"] * 1000) % 100 for found in stored.values()}
    assert len(POINTS) in who
    assert max(who) == len(POINTS) + 1
