from __future__ import annotations

from datetime import timedelta

import pytest

from services.connectors import Connector, ConnectorState, Pause
from services.deployment import EndpointState
from services.errors import Unavailable
from services.health import Health, HopState, StoreFigures
from services.health_flow import Flow, LakeFigures, Tally, per_second
from services.health_watch import Watch
from services.reconciliation_run import StreamPlace
from services.worker_status import Reporter, Sample, WorkerState, WorkerStatus
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
    """Store, training and endpoint in one; `down` raises for all."""

    def __init__(self, down=None, unscored=0, status="InService", reachable=True):
        self.down, self.unscored, self.status, self.reachable = down, unscored, status, reachable

    def _answer(self, value):
        if self.down:
            raise self.down
        return value

    def figures(self):
        return self._answer(StoreFigures(10, NOW - timedelta(seconds=3), self.unscored))

    def experiments(self, limit=50):
        return self._answer(())

    def current(self):
        return self._answer(EndpointState("e", self.status, "v1", "c", NOW, None, None, self.reachable))


class Lake:
    """10 folded, 2 quarantined of the raw zone, current to 20 s ago."""

    def __init__(self, down=None, seconds_ago=20, **offsets):
        self.down = down
        self.known = LakeFigures(9, NOW - timedelta(seconds=seconds_ago), offsets or {"t": 12}, 10, 2)

    def figures(self):
        if self.down:
            raise self.down
        return self.known


class Controls:
    """Who paused what, and where the stream is."""

    def __init__(self, pauses=None, place=None):
        self.held, self.place = pauses or {}, place

    def pauses(self):
        return self.held

    def stream_place(self):
        return self.place


class Connects:
    def __init__(self, *connectors, configured=True):
        self.connectors, self.configured = connectors, configured

    def list(self):
        return self.connectors


def at_once(look):
    """A watch that has seen what there is now."""
    return Watch(look, every_seconds=0, spawn=lambda work: work())


def health(statuses, probe=None, *, lake=None, controls=None, connectors=None):
    probe = probe or Probe()
    return Health(
        statuses=statuses,
        store=probe,
        lake=lake or Lake(probe.down),
        training=probe,
        endpoint=probe,
        connectors=connectors,
        pauses=controls,
        place=controls,
        clock=lambda: NOW,
        watch=at_once,
    )


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


PAUSED = status(
    "stream", state=WorkerState.WAITING, last_error="Paused by the Kafka Connect API at 11:55.", last_error_at=NOW
)


def test_a_paused_stream_is_told_on_every_screen_with_who_and_why():
    ada = Pause("Ada Novak", NOW - timedelta(minutes=5), "Bucket moves.")
    told = {"stream": Pause("the Kafka Connect API", NOW - timedelta(minutes=5), ""), "fraud-desk-stream": ada}
    h = health(Statuses(PAUSED), controls=Controls(told))
    (warning,) = h.warnings()
    assert warning.sentence == (
        "The stream to S3 is paused since 11:55:00 UTC by Ada Novak (Bucket moves): "
        "fraud rates and training see nothing newer; nothing is lost."
    )
    stream = h.hops()[2]
    assert stream.state is HopState.PAUSED
    assert stream.sentence == "Paused since 11:55:00 UTC by Ada Novak (Bucket moves)."
    assert stream.last_error is None


def test_a_later_pause_that_was_not_asked_for_here_is_not_put_down_to_somebody_here():
    told = {
        "stream": Pause("the Kafka Connect API", NOW - timedelta(minutes=5), ""),
        "fraud-desk-stream": Pause("Ada Novak", NOW - timedelta(days=2), "long ago"),
    }
    (warning,) = health(Statuses(PAUSED), controls=Controls(told)).warnings()
    assert "by the Kafka Connect API:" in warning.sentence


def test_an_endpoint_that_nobody_asks_anything_is_still_missed_when_it_is_gone():
    idle = Statuses(*map(status, NAMES))
    (warning,) = health(idle, Probe(reachable=False)).warnings()
    assert warning.sentence.startswith("SageMaker, which serves the model, does not answer since 12:00:00 UTC: ")
    (warning,) = health(idle, Probe(status="OutOfService")).warnings()
    assert warning.sentence.startswith("The model endpoint is OutOfService since 12:00:00 UTC: new transactions will")
    assert health(idle, Probe(status="NotCreated")).warnings() == ()


def test_a_scorer_that_says_why_it_waits_is_not_said_twice():
    waiting = status("scorer", state=WorkerState.WAITING, last_error="The model endpoint is not reachable.")
    found = health(Statuses(waiting, *map(status, NAMES[1:])), Probe(reachable=False)).warnings()
    assert [warning.key for warning in found] == ["scorer"]


def test_what_a_watch_cannot_see_is_no_warning_and_does_not_hold_anybody_up():
    watch = Watch(Probe(down=Unavailable("down", dependency="x")).current, spawn=lambda work: work())
    assert watch.seen() is None
    looks = []
    lazy = Watch(lambda: looks.append(1), every_seconds=10, monotonic=lambda: 100.0, spawn=lambda work: work())
    for _ in range(3):
        lazy.seen()
    assert looks == [1]
    never_done = Watch(lambda: looks.append(2), spawn=lambda work: None)
    assert (never_done.seen(), never_done.seen(), looks) == (None, None, [1])


@pytest.mark.parametrize(
    ("states", "state", "sentence"),
    [
        (("RUNNING", "RUNNING"), HopState.OK, "2 connectors run."),
        (("RUNNING", "FAILED"), HopState.DOWN, "c1 is failed."),
        (("PAUSED", "RUNNING"), HopState.PAUSED, "c0 is paused."),
        (("CREATING",), HopState.IDLE, "c0 is creating."),
        ((), HopState.DOWN, "No connector with the configured name exists."),
    ],
    ids=["all run", "one failed", "one paused", "made now", "none"],
)
def test_where_no_stream_runs_the_managed_connectors_are_the_stream(states, state, sentence):
    connectors = [Connector(f"c{n}", f"arn{n}", ConnectorState(word)) for n, word in enumerate(states)]
    others = Statuses(*(status(name) for name in NAMES if name != "stream"))
    h = health(others, connectors=Connects(*connectors))
    hop = h.hops()[2]
    assert (hop.state, hop.sentence) == (state, sentence)
    warned = [warning.key for warning in h.warnings()]
    assert warned == (["connectors"] if state in (HopState.DOWN, HopState.PAUSED) and connectors else [])


def test_the_lake_counts_what_waits_between_raw_zone_and_tables():
    place = Controls(place=StreamPlace({"t": 15}, NOW, copying=False))
    hops = {hop.key: hop for hop in health(Statuses(*map(status, NAMES)), controls=place).hops()}
    assert hops["lake"].flow == Flow(taken=15, handed=10, quarantined=2, waiting=3)
    assert (hops["lake"].lag_events, hops["lake"].lag_seconds) == (3, 20.0)
    assert hops["stream"].flow == Flow(handed=15)
    late = health(Statuses(*map(status, NAMES)), controls=place, lake=Lake(seconds_ago=91, t=12)).hops()[3]
    assert (late.state, late.sentence) == (HopState.LAGGING, "Current to 11:58:29 UTC. 3 events wait.")


def test_a_lake_with_nothing_waiting_is_not_behind_however_old_its_newest_change():
    place = Controls(place=StreamPlace({"t": 12}, NOW, copying=False))
    hop = health(Statuses(*map(status, NAMES)), controls=place, lake=Lake(seconds_ago=9_000, t=12)).hops()[3]
    assert (hop.state, hop.lag_seconds, hop.lag_events) == (HopState.OK, 0.0, 0)


def test_where_the_stream_is_cannot_be_known_nothing_is_made_up():
    hop = health(Statuses(*map(status, NAMES))).hops()[3]
    assert (hop.flow.taken, hop.flow.waiting, hop.lag_events) == (None, None, None)


def test_a_first_copy_is_told():
    place = Controls(place=StreamPlace({}, NOW, copying=True))
    hop = health(Statuses(*map(status, NAMES)), controls=place).hops()[2]
    assert (hop.state, hop.sentence) == (HopState.LAGGING, "Copying every document; changes follow.")


def test_a_rate_is_of_the_last_five_minutes_and_none_before_ten_seconds():
    def at(seconds, count):
        return Sample(NOW - timedelta(seconds=seconds), {"scored": count, "other": 7})

    now = {"heartbeat_at": NOW, "counts": {"scored": 700, "other": 9}}
    known = status("scorer", recent=(at(600, 0), at(300, 100), at(60, 640)), **now)
    assert per_second(known, ("scored",)) == 2.0
    assert per_second(status("scorer", recent=(at(9, 0),), **now), ("scored",)) is None
    assert per_second(status("scorer", recent=(at(20, 900),), **now), ("scored",)) == 0.0


def test_a_count_nobody_reports_has_a_rate_after_some_looks():
    tally = Tally()
    seen = [tally.per_second(n * 3, NOW + timedelta(seconds=n)) for n in range(400)]
    assert seen[:10] == [None] * 10
    assert seen[10] == 3.0
    assert seen[-1] == 3.0


def test_a_reporter_keeps_samples_of_some_minutes_of_its_run():
    statuses, moment = Statuses(), [NOW]

    def beats(count):
        reporter = Reporter("scorer", statuses, clock=lambda: moment[0])
        for _ in range(count):
            reporter.beat(counts={"scored": 4})
            moment[0] += timedelta(seconds=2)
        return statuses.held["scorer"]

    assert per_second(beats(100), ("scored",)) == pytest.approx(2.0)
    moment[0] += timedelta(minutes=3)  # stopped meanwhile: that is no slow scoring
    last = beats(400)
    assert 18 <= len(last.recent) <= 23
    assert per_second(last, ("scored",)) == pytest.approx(2.0)


def test_what_stands_still_falls_behind_by_the_clock():
    assert health(Statuses(PAUSED)).hops()[2].lag_seconds == 1.0 + 300.0
    silent = status("stream", heartbeat_at=NOW - timedelta(seconds=40))
    assert health(Statuses(silent)).hops()[2].lag_seconds == 1.0 + 40.0
    assert health(Statuses(status("stream"))).hops()[2].lag_seconds == 1.0


def test_by_way_of_kafka_both_processes_are_the_stream():
    both = Statuses(*map(status, NAMES), status("sink", lag_seconds=2.0))
    hop = health(both).hops()[2]
    assert (hop.key, hop.state, hop.lag_seconds) == ("stream", HopState.OK, 3.0)
    silent = status("sink", heartbeat_at=NOW - timedelta(seconds=30))
    broken = health(Statuses(*map(status, NAMES), silent))
    assert broken.hops()[2].sentence.startswith("The way from Kafka to S3 stopped at 11:59:30 UTC")
    assert [warning.key for warning in broken.warnings()] == ["sink"]


def test_a_pause_that_is_over_is_no_last_error():
    resumed = status("stream", last_error="Paused by the Kafka Connect API at 11:55.", last_error_at=NOW)
    assert health(Statuses(resumed)).hops()[2].last_error is None
