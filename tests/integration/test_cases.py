from __future__ import annotations

import threading

import pytest

from services.access import Actor, Role
from services.adapters.mongo.cases import MongoCaseStore
from services.adapters.mongo.transactions import MongoTransactionStore
from services.cases import Cases
from services.domain.states import AlertStatus, LabelValue
from services.errors import Conflict, Denied, InvalidData, NotFound
from services.transactions import Transactions
from tests.records import NOW, document

ANN = Actor("s-1", "Ann", Role.ANALYST)
BEN = Actor("s-2", "Ben", Role.ANALYST)


@pytest.fixture
def cases(db):
    alert = {"status": "open", "opened_at": NOW, "due_at": NOW, "priority": 1.0, "value_at_risk_minor": 4210}
    db["transactions"].insert_one(document("a", alert=alert))
    return Cases(MongoCaseStore(db))


def written(db):
    return tuple(db[name].count_documents({}) for name in ("labels", "case_events", "audit"))


def test_a_verdict_labels_closes_and_leaves_a_trail(db, cases):
    decided = cases.decide("a", LabelValue.FRAUD, note="stolen", expected_version=1, actor=ANN)
    seen = Transactions(MongoTransactionStore(db)).get("a")
    assert (decided.version, seen.version) == (2, 2)
    assert seen.label.value is LabelValue.FRAUD
    assert seen.label.labelled_by == "Ann"
    assert seen.alert.status is AlertStatus.CLOSED
    assert [(e.kind, e.actor_name, e.detail["note"]) for e in seen.events] == [("decided", "Ann", "stolen")]
    assert [entry.note for entry in seen.labels] == ["stolen"]
    assert written(db) == (1, 1, 1)


def test_sending_a_verdict_again_after_a_lost_reply_doubles_nothing(db, cases):
    first = cases.decide("a", LabelValue.GENUINE, note="", expected_version=1, actor=ANN)
    again = cases.decide("a", LabelValue.GENUINE, note="", expected_version=1, actor=ANN)
    assert first == again
    assert written(db) == (1, 1, 1)


def test_the_second_of_two_people_is_told_who_was_first(db, cases):
    cases.decide("a", LabelValue.FRAUD, note="", expected_version=1, actor=ANN)
    with pytest.raises(Conflict, match=r"Ann decided fraud at \d\d:\d\d:\d\d UTC"):
        cases.decide("a", LabelValue.FRAUD, note="mine", expected_version=1, actor=BEN)
    assert written(db) == (1, 1, 1)


def test_two_at_once_leave_exactly_one_verdict(db, cases):
    outcomes = []

    def decide(actor):
        try:
            outcomes.append(cases.decide("a", LabelValue.FRAUD, note="", expected_version=1, actor=actor))
        except Conflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=decide, args=(actor,)) for actor in (ANN, BEN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(o).__name__ for o in outcomes) == ["Conflict", "Decided"]
    assert written(db) == (1, 1, 1)


def test_a_changed_mind_is_a_second_label(db, cases):
    cases.decide("a", LabelValue.FRAUD, note="", expected_version=1, actor=ANN)
    cases.decide("a", LabelValue.GENUINE, note="called the customer", expected_version=2, actor=ANN)
    assert db["transactions"].find_one({"_id": "a"})["label"]["value"] == "genuine"
    assert written(db) == (2, 2, 2)


def test_a_note_loses_card_numbers_before_it_is_stored(db, cases):
    cases.decide("a", LabelValue.FRAUD, note="said 4111111111111111", expected_version=1, actor=ANN)
    assert db["labels"].find_one()["note"] == "said [card number]"


@pytest.mark.parametrize("role", [Role.MANAGER, Role.ADMIN])
def test_only_analysts_decide(db, cases, role):
    with pytest.raises(Denied):
        cases.decide("a", LabelValue.FRAUD, note="", expected_version=1, actor=Actor("s", "x", role))
    assert written(db) == (0, 0, 0)


def test_refusals_write_nothing(db, cases):
    with pytest.raises(NotFound):
        cases.decide("b", LabelValue.FRAUD, note="", expected_version=1, actor=ANN)
    with pytest.raises(InvalidData):
        cases.decide("a", LabelValue.FRAUD, note="x" * 4001, expected_version=1, actor=ANN)
    assert written(db) == (0, 0, 0)
