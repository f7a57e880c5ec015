from __future__ import annotations

import math

import pytest

from services.adapters.mongo.intake import MongoIntakeStore
from services.intake import Intake
from tests.records import NOW, record


@pytest.fixture
def intake(db):
    return Intake(MongoIntakeStore(db))


def test_good_records_of_a_bad_batch_are_kept_whole(db, intake):
    batch = [
        record("good-1"),
        record("nan", amount_minor=math.nan),
        record("future", event_time="2030-01-01T00:00:00Z"),
        record("huge", attributes={"x": "y" * 1_000_000}),
        record("keys") | {"$set": {"a": 1}},
        record("good-2", amount_minor=0),
        "not an object",
        record("none", customer_id=None),
    ]
    result = intake.submit(batch, received_at=NOW)
    assert (result.accepted, result.duplicates, result.refused) == (2, 0, 6)
    assert {p.row for p in result.problems} == {1, 2, 3, 4, 6, 7}
    assert "6 of 8 refused" in result.sentence
    assert "2 kept" in result.sentence
    assert {d["_id"] for d in db["transactions"].find()} == {"good-1", "good-2"}
    assert all(d["version"] == 1 and d["received_at"] == NOW for d in db["transactions"].find())


def test_sending_again_changes_nothing(db, intake):
    intake.submit([record("a"), record("b")], received_at=NOW)
    before = list(db["transactions"].find().sort("_id"))
    result = intake.submit([record("a"), record("b"), record("c")], received_at=NOW)
    assert (result.accepted, result.duplicates, result.refused) == (1, 2, 0)
    assert list(db["transactions"].find({"_id": {"$ne": "c"}}).sort("_id")) == before
    assert "2 already known" in result.sentence


def test_the_same_id_with_another_amount_is_refused_and_the_first_kept(db, intake):
    intake.submit([record("a", amount_minor=100)], received_at=NOW)
    result = intake.submit([record("a", amount_minor=999)], received_at=NOW)
    assert (result.accepted, result.duplicates, result.refused) == (0, 0, 1)
    assert db["transactions"].find_one({"_id": "a"})["amount_minor"] == 100


def test_an_id_twice_in_one_batch(db, intake):
    result = intake.submit([record("a"), record("a"), record("a", amount_minor=7)], received_at=NOW)
    assert (result.accepted, result.duplicates, result.refused) == (1, 1, 1)
    assert db["transactions"].count_documents({}) == 1


def test_an_oversized_batch_is_refused_whole(db, intake):
    result = intake.submit([record(f"t-{i}") for i in range(1001)], received_at=NOW)
    assert (result.accepted, result.refused) == (0, 1001)
    assert db["transactions"].count_documents({}) == 0


def test_a_report_labels_once_and_an_unknown_one_is_named(db, intake):
    intake.submit([record("a")], received_at=NOW)
    report = {"transaction_id": "a", "value": "fraud", "source": "chargeback", "reported_at": "2026-06-01T10:00:00Z"}
    first = intake.report([report, report | {"transaction_id": "nope"}], received_at=NOW)
    second = intake.report([report], received_at=NOW)
    assert (first.accepted, first.refused) == (1, 1)
    assert "'nope' is not known here" in first.sentence
    assert (second.accepted, second.duplicates) == (0, 1)
    stored = db["transactions"].find_one({"_id": "a"})
    assert stored["label"]["value"] == "fraud"
    assert stored["version"] == 2
    assert db["labels"].count_documents({}) == 1
    assert db["labels"].find_one()["terminal_id"] == "term-1"
    assert db["case_events"].find_one()["kind"] == "chargeback"


def test_bad_reports_list_every_problem(intake):
    bad = {"transaction_id": "", "value": "genuine", "source": "rumour", "reported_at": "2030-01-01T00:00:00Z", "x": 1}
    result = intake.report([bad], received_at=NOW)
    assert {p.field for p in result.problems} == {"transaction_id", "value", "source", "reported_at", "x"}


def test_a_report_from_a_clock_that_runs_ahead_is_dated_now(db, intake):
    intake.submit([record("a")], received_at=NOW)
    report = {"transaction_id": "a", "source": "customer"}
    assert intake.report([report | {"reported_at": "2026-06-01T12:04:00Z"}], received_at=NOW).accepted == 1
    assert db["labels"].find_one({"_id": "a:customer"})["labelled_at"] == NOW


@pytest.mark.parametrize("moment", ["2026-06-01T12:06:00Z", "0001-01-01T00:00:00Z", "2026-06-01T10:00:00", None, 5])
def test_reports_from_the_future_or_before_the_desk_are_refused(intake, moment):
    bad = {"transaction_id": "\ud800", "source": "customer", "reported_at": moment, "4111111111111111": 1}
    result = intake.report([bad], received_at=NOW)
    assert [p.field for p in result.problems] == ["[card number]", "transaction_id", "reported_at"]
