"""One run at a time, for those who may, cancelled or broken off without losing what was compared."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest

from services.access import Actor, Role
from services.domain.states import RunState
from services.errors import Conflict, Denied, InvalidData, Unavailable
from services.reconciliation import MOST_DIFFERENCES, Reconciliation
from services.reconciliation_compare import LAKE_SCHEMA, MONGO_SCHEMA
from services.reconciliation_run import Gone, Rows, StreamPlace
from tests.records import NOW

DAY = date(2026, 3, 1)
ADMIN = Actor("a", "Ada Novak", Role.ADMIN)


def rows(schema, count, day=DAY, **changes):
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    made = {"event_time": at, "amount_minor": 100, "version": 1, "received_at": at, "cluster_time": NOW - timedelta(60)}
    made |= changes
    values = [{name: made.get(name) for name in schema.names} | {"transaction_id": f"{day}-{n}"} for n in range(count)]
    return pa.Table.from_pylist(values, schema=schema)


class Desk:
    """MongoDB and the lake: `mongo` and `lake` give the rows of a day."""

    def __init__(self, mongo, lake, *, copying=False, empty=False):
        self.mongo, self.lake_rows, self.copying, self.empty = mongo, lake, copying, empty
        self.asked = []

    def count(self, start, end):
        return 1

    def read(self, *arguments, **options):
        if "columns" in options:
            return self.lake_rows(options["start"].date())
        start, _, at = arguments
        self.asked.append(at)
        return Rows(self.mongo(start.date(), at), ())

    def latest(self, ids):
        return MONGO_SCHEMA.empty_table()

    def stream_place(self):
        return StreamPlace({}, NOW, self.copying)

    def state(self, name):
        if self.empty:
            return None
        place = {"cluster_time": NOW.isoformat(), "next_offset": 5}
        return SimpleNamespace(snapshot_id=7, position={"fraud.transactions": place})


def equal_desk(**options):
    return Desk(lambda day, at: rows(MONGO_SCHEMA, 3, day), lambda day: rows(LAKE_SCHEMA, 3, day), **options)


def ran(desk, days=1):
    service = Reconciliation(desk, desk, clock=lambda: NOW)
    service.start(DAY, DAY + timedelta(days=days - 1), actor=ADMIN)
    return service.wait(20)


def test_equal_days_are_equal_and_mongodb_is_read_a_second_before_the_lakes_newest_change():
    desk = equal_desk()
    run = ran(desk, days=3)
    assert (run.state, run.fraction, run.snapshot_id, run.lake_to) == (RunState.DONE, 1.0, 7, NOW)
    assert [(day.mongo.rows, day.mongo.amount_minor, day.equal) for day in run.days] == [(3, 300, True)] * 3
    assert desk.asked == [NOW - timedelta(seconds=1)] * 3


def test_only_who_operates_the_loop_may_start_or_cancel_and_days_must_make_a_range():
    service = Reconciliation(equal_desk(), equal_desk(), clock=lambda: NOW)
    manager = Actor("m", "Marc", Role.MANAGER)
    with pytest.raises(Denied):
        service.start(DAY, DAY, actor=manager)
    with pytest.raises(Denied):
        service.cancel(actor=manager)
    for last in (DAY - timedelta(days=1), DAY + timedelta(days=400)):
        with pytest.raises(InvalidData):
            service.start(DAY, last, actor=ADMIN)
    assert service.latest() is None


def test_a_second_run_is_refused_while_one_is_under_way_and_a_cancelled_one_keeps_its_days():
    second_day, go = threading.Event(), threading.Event()

    def mongo(day, at):
        if day > DAY:
            second_day.set()
            assert go.wait(20)
        return rows(MONGO_SCHEMA, 3, day)

    desk = Desk(mongo, lambda day: rows(LAKE_SCHEMA, 3, day))
    service = Reconciliation(desk, desk, clock=lambda: NOW)
    service.start(DAY, DAY + timedelta(days=5), actor=ADMIN)
    assert second_day.wait(20)
    with pytest.raises(Conflict, match="Ada Novak started a reconciliation"):
        service.start(DAY, DAY, actor=ADMIN)
    assert service.latest().fraction == pytest.approx(1 / 6)
    service.cancel(actor=ADMIN)
    go.set()
    run = service.wait(20)
    assert (run.state, len(run.days), run.finished_at) == (RunState.CANCELLED, 1, NOW)
    service.start(DAY, DAY, actor=ADMIN)
    assert service.wait(20).state is RunState.DONE


def test_a_database_that_goes_away_ends_the_run_with_a_sentence_and_keeps_the_days_done():
    def mongo(day, at):
        if day > DAY:
            raise Unavailable("MongoDB is not reachable.", dependency="MongoDB")
        return rows(MONGO_SCHEMA, 3, day)

    run = ran(Desk(mongo, lambda day: rows(LAKE_SCHEMA, 3, day)), days=3)
    assert (run.state, len(run.days)) == (RunState.FAILED, 1)
    assert run.failure == "MongoDB is not reachable. What was compared until then is kept."


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"empty": True}, "The lake is empty"), ({"copying": True}, "The stream is copying everything")],
    ids=["empty", "copying"],
)
def test_what_cannot_be_compared_yet_is_said(options, sentence):
    run = ran(equal_desk(**options))
    assert run.state is RunState.FAILED
    assert run.failure.startswith(sentence)


def test_a_moment_mongodb_forgot_is_compared_with_now_and_said():
    def mongo(day, at):
        if at is not None:
            raise Gone("forgotten")
        return rows(MONGO_SCHEMA, 3, day, version=2)

    run = ran(Desk(mongo, lambda day: rows(LAKE_SCHEMA, 3, day)))
    assert (run.state, run.exact, run.under_way, run.differences) == (RunState.DONE, False, 3, ())


def test_no_more_than_the_limit_is_listed_and_all_are_counted():
    each = MOST_DIFFERENCES // 2 + 50
    desk = Desk(lambda day, at: rows(MONGO_SCHEMA, each, day), lambda day: LAKE_SCHEMA.empty_table())
    run = ran(desk, days=3)
    assert (run.differing, len(run.differences)) == (3 * each, MOST_DIFFERENCES)
    assert {d.field for d in run.differences} == {"row"}


def test_an_order_changes_no_checksum_and_a_double_does():
    def reversed_rows(day):
        return rows(LAKE_SCHEMA, 3, day).take([2, 1, 0])

    day = ran(Desk(lambda day, at: rows(MONGO_SCHEMA, 3, day), reversed_rows)).days[0]
    assert day.mongo.hex == day.lake.hex
    doubled = ran(
        Desk(lambda day, at: rows(MONGO_SCHEMA, 3, day), lambda day: rows(LAKE_SCHEMA, 3, day).take([0, 0, 1, 2, 0]))
    )
    assert doubled.days[0].mongo.hex != doubled.days[0].lake.hex
    assert [(d.field, d.lake) for d in doubled.differences] == [("row", "3 times")]


def test_what_breaks_unexpectedly_ends_the_run_too():
    def mongo(day, at):
        raise ZeroDivisionError

    run = ran(Desk(mongo, lambda day: rows(LAKE_SCHEMA, 3, day)))
    assert (run.state, run.failure) == (RunState.FAILED, "A fault of the desk ended it; its log has the details.")


def test_an_empty_day_is_equal():
    run = ran(Desk(lambda day, at: MONGO_SCHEMA.empty_table(), lambda day: LAKE_SCHEMA.empty_table()))
    assert run.days[0].equal
    assert run.days[0].mongo.hex == "0" * 16
