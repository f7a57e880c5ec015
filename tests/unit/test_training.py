from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.access import Actor, Role
from services.errors import Conflict, Denied, InvalidData, NotFound
from services.training import ExperimentState, Training, TrainingRequest
from tests.unit.lifecycle_fakes import NOW, Clock, MemoryExperiments

ADMIN = Actor("u-1", "Ada", Role.ADMIN)
WEEKS = TrainingRequest(
    "Six weeks", NOW - timedelta(days=49), NOW - timedelta(days=7), NOW, hyperparameters={"eta": 0.1}
)


class Logs:
    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent

    def tail(self, job: str, *, lines: int) -> tuple[str, ...]:
        if self.silent:
            raise NotFound(job)
        return (f"{job}: last {lines}",)


def desk(store: MemoryExperiments, **more: object) -> Training:
    return Training(store=store, logs=Logs(), clock=Clock(), token=lambda: "ab12", **more)  # type: ignore[arg-type]


def test_a_request_is_recorded_with_its_audit_entry_under_a_short_readable_id() -> None:
    store = MemoryExperiments()
    experiment_id = desk(store).start(WEEKS, actor=ADMIN)
    assert experiment_id == "exp-20261122-1415-ab12"
    assert len(f"fraud-desk-{experiment_id}") <= 63
    held = store.get(experiment_id)
    assert (held.state, held.requested_by, held.name) == (ExperimentState.REQUESTED, "Ada", "Six weeks")
    assert [(a.action, a.object, a.outcome) for a in store.audit] == [("training.start", experiment_id, "requested")]


@pytest.mark.parametrize("role", [Role.ANALYST, Role.MANAGER])
def test_only_an_admin_may_train_or_stop(role: Role) -> None:
    store = MemoryExperiments()
    actor = Actor("u-2", "Bo", role)
    experiment_id = desk(store).start(WEEKS, actor=ADMIN)
    with pytest.raises(Denied):
        desk(MemoryExperiments()).start(WEEKS, actor=actor)
    with pytest.raises(Denied):
        desk(store).stop(experiment_id, actor=actor)
    assert store.get(experiment_id).stop_requested_by is None


def test_everything_wrong_with_a_request_is_said_at_once() -> None:
    wrong = TrainingRequest(
        name=" ",
        window_start=NOW,
        window_end=NOW - timedelta(days=1),
        label_cutoff=NOW - timedelta(days=2),
        method="magic",
        hyperparameters={"eta": 7, "max_depth": 2.5, "depth": 1},
    )
    store = MemoryExperiments()
    with pytest.raises(InvalidData) as refused:
        desk(store).start(wrong, actor=ADMIN)
    assert {p.field for p in refused.value.problems} == {
        "name",
        "window_start",
        "label_cutoff",
        "method",
        "hyperparameters.eta",
        "hyperparameters.max_depth",
        "hyperparameters.depth",
    }
    assert store.held == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"window_end": NOW + timedelta(seconds=1), "label_cutoff": NOW + timedelta(seconds=1)}, "window_end"),
        ({"label_cutoff": NOW + timedelta(seconds=1)}, "label_cutoff"),
        ({"window_start": datetime(2026, 1, 1)}, "window_start"),
        ({"hyperparameters": {"eta": float("nan")}}, "hyperparameters.eta"),
        ({"hyperparameters": {"max_depth": True}}, "hyperparameters.max_depth"),
    ],
)
def test_a_window_in_the_future_without_a_zone_or_a_value_out_of_range_is_refused(
    changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        desk(MemoryExperiments()).start(replace(WEEKS, **changes), actor=ADMIN)  # type: ignore[arg-type]
    assert field in {p.field for p in refused.value.problems}


def test_the_window_may_end_now_with_the_cutoff_at_its_end() -> None:
    store = MemoryExperiments()
    desk(store).start(replace(WEEKS, window_end=NOW, label_cutoff=NOW), actor=ADMIN)
    assert len(store.held) == 1


def test_a_second_request_names_the_one_under_way() -> None:
    store = MemoryExperiments()
    desk(store).start(WEEKS, actor=ADMIN)
    with pytest.raises(Conflict, match="Six weeks"):
        desk(store).start(replace(WEEKS, name="Other"), actor=ADMIN)
    assert len(store.audit) == 1


def test_stopping_twice_is_one_request_and_one_audit_entry() -> None:
    store = MemoryExperiments()
    training = desk(store)
    experiment_id = training.start(WEEKS, actor=ADMIN)
    training.stop(experiment_id, actor=ADMIN)
    training.stop(experiment_id, actor=ADMIN)
    assert store.get(experiment_id).stop_requested_by == "Ada"
    assert [a.action for a in store.audit] == ["training.start", "training.stop"]


def test_stop_is_kept_when_the_worker_moves_the_experiment_at_the_same_time() -> None:
    class Racing(MemoryExperiments):
        raced = False

        def get(self, experiment_id: str):  # type: ignore[no-untyped-def]
            read = super().get(experiment_id)
            if not self.raced:
                self.raced = True
                self.save(replace(read, state=ExperimentState.PREPARING))
            return read

    store = Racing()
    training = desk(store)
    experiment_id = training.start(WEEKS, actor=ADMIN)
    training.stop(experiment_id, actor=ADMIN)
    held = store.get(experiment_id)
    assert (held.state, held.stop_requested_by) == (ExperimentState.PREPARING, "Ada")


@pytest.mark.parametrize("state", [ExperimentState.CANDIDATE, ExperimentState.FAILED, ExperimentState.REGISTERING])
def test_what_is_trained_or_ended_cannot_be_stopped(state: ExperimentState) -> None:
    store = MemoryExperiments()
    training = desk(store)
    experiment_id = training.start(WEEKS, actor=ADMIN)
    store.held[experiment_id] = replace(store.held[experiment_id], state=state)
    with pytest.raises(Conflict):
        training.stop(experiment_id, actor=ADMIN)


def test_the_log_is_empty_before_there_is_a_job_and_while_it_is_silent() -> None:
    store = MemoryExperiments()
    experiment_id = desk(store).start(WEEKS, actor=ADMIN)
    assert desk(store).log_tail(experiment_id) == ()
    store.held[experiment_id] = replace(store.held[experiment_id], training_job="fraud-desk-x")
    assert Training(store=store, logs=Logs(silent=True)).log_tail(experiment_id) == ()
    assert desk(store).log_tail(experiment_id, lines=5) == ("fraud-desk-x: last 5",)


def test_a_card_number_in_the_name_is_kept_nowhere() -> None:
    store = MemoryExperiments()
    experiment_id = desk(store).start(replace(WEEKS, name="after 4111111111111111"), actor=ADMIN)
    assert store.get(experiment_id).name == "after [card number]"
    assert "4111" not in repr(store.audit)
