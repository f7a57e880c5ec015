from __future__ import annotations

from datetime import timedelta

from services.deployment import EndpointState
from services.errors import Unavailable
from services.health import Health, HopState, StoreFigures
from services.worker_status import Reporter, WorkerState, WorkerStatus
from tests.records import NOW

NAMES = ("scorer", "stream", "curator", "lifecycle")


def status(name, **changes):
    fields = {
        "name": name,
        "state": WorkerState.RUNNING,
        "pid": 1,
        "started_at": NOW - timedelta(hours=1),
        "heartbeat_at": NOW - timedelta(seconds=1),
        "state_since": NOW - timedelta(minutes=5),
        "lag_seconds": 1.0,
    }
    return WorkerStatus(**(fields | changes))


class Statuses:
    def __init__(self, *statuses, error=None):
        self.held, self.error = {s.name: s for s in statuses}, error

    def all(self):
        if self.error:
            raise self.error
        return tuple(self.held.values())

    def get(self, name):
        return self.held.get(name)

    def put(self, new):
        if self.error:
            raise self.error
        self.held[new.name] = new


class Probe:
    """Store, lake, training and endpoint in one; `down` raises for all."""

    def __init__(self, down=None, unscored=0, status="InService"):
        self.down, self.unscored, self.status = down, unscored, status

    def _answer(self, value):
        if self.down:
            raise self.down
        return value

    def figures(self):
        return self._answer(StoreFigures(10, NOW - timedelta(seconds=3), self.unscored))

    def current_to(self):
        return self._answer(NOW - timedelta(seconds=20))

    def rows(self):
        return self._answer(10)

    def experiments(self, limit=50):
        return self._answer(())

    def current(self):
        return self._answer(EndpointState("e", self.status, "v1", "c", NOW, None, None, True))


def health(statuses, probe=None):
    probe = probe or Probe()
    return Health(statuses=statuses, store=probe, lake=probe, training=probe, endpoint=probe, clock=lambda: NOW)


def test_all_well_warns_of_nothing_and_every_hop_is_ok_or_idle():
    h = health(Statuses(*map(status, NAMES)))
    assert h.warnings() == ()
    assert {hop.key: hop.state for hop in h.hops()} == {
        "intake": HopState.OK,
        "scoring": HopState.OK,
        "stream": HopState.OK,
        "lake": HopState.OK,
        "training": HopState.IDLE,
        "endpoint": HopState.OK,
    }


def test_a_silent_worker_is_said_to_have_stopped_and_when():
    silent = status("scorer", heartbeat_at=NOW - timedelta(seconds=11))
    (warning,) = health(Statuses(silent, *map(status, NAMES[1:]))).warnings()
    assert warning.sentence.startswith("Scoring stopped at 11:59:49 UTC: new transactions arrive but wait unscored")
    assert warning.since == NOW - timedelta(seconds=11)


def test_a_worker_is_not_down_at_exactly_ten_seconds():
    assert health(Statuses(status("scorer", heartbeat_at=NOW - timedelta(seconds=10)))).warnings() == ()


def test_a_waiting_worker_says_why_and_since_when():
    waiting = status("stream", state=WorkerState.WAITING, last_error="S3 is not reachable.", last_error_at=NOW)
    (warning,) = health(Statuses(waiting)).warnings()
    assert "waits since 11:55:00 UTC (S3 is not reachable): fraud rates" in warning.sentence


def test_mongodb_down_is_one_warning_and_hops_still_answer():
    error = Unavailable("MongoDB is not reachable.", dependency="MongoDB")
    h = health(Statuses(error=error), Probe(down=error))
    (warning,) = h.warnings()
    assert warning.key == "mongodb"
    assert warning.sentence.startswith("MongoDB is not reachable since 12:00:00 UTC: ")
    assert {hop.state for hop in h.hops()} == {HopState.DOWN}


def test_a_silent_database_is_not_asked_again_for_every_hop():
    class Counted(Probe):
        def figures(self):
            raise AssertionError("asked although the heartbeats could not be read")

        experiments = figures

    h = health(Statuses(error=Unavailable("MongoDB is not reachable.", dependency="MongoDB")), Counted())
    hops = {hop.key: hop for hop in h.hops()}
    assert {key for key, hop in hops.items() if hop.state is HopState.DOWN} == set(hops) - {"endpoint"}


def test_waiting_transactions_and_lag_are_lagging():
    hops = {hop.key: hop for hop in health(Statuses(*map(status, NAMES)), Probe(unscored=4)).hops()}
    assert hops["scoring"].state is HopState.LAGGING
    assert "4 transactions wait" in hops["scoring"].sentence
    slow = health(Statuses(status("stream", lag_seconds=61.0))).hops()[2]
    assert slow.state is HopState.LAGGING


def test_a_failed_endpoint_is_down_and_one_being_updated_is_not():
    assert health(Statuses(), Probe(status="Failed")).hops()[5].state is HopState.DOWN
    assert health(Statuses(), Probe(status="Updating")).hops()[5].state is HopState.IDLE


def test_reporter_counts_go_on_after_a_restart_and_an_outage_loses_no_counts():
    statuses, moment = Statuses(), [NOW]
    first = Reporter("scorer", statuses, clock=lambda: moment[0])
    first.beat(counts={"scored": 5})
    statuses.error = Unavailable("down", dependency="MongoDB")
    moment[0] += timedelta(seconds=3)
    first.beat(counts={"scored": 2})
    statuses.error = None
    moment[0] += timedelta(seconds=3)
    first.beat(counts={"scored": 1})
    assert statuses.held["scorer"].counts == {"scored": 8}
    Reporter("scorer", statuses, clock=lambda: moment[0]).beat(counts={"scored": 1})
    assert statuses.held["scorer"].counts == {"scored": 9}
