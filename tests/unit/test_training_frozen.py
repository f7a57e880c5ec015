"""An experiment on a frozen set learns from exactly the frozen rows, or says in a sentence why it does not."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.access import Actor as Person
from services.access import Role
from services.errors import InvalidData, NotFound
from services.flow_steps import Flow, Step
from services.training import Experiment, ExperimentState, Training, TrainingRequest
from services.training_build import build_for
from services.training_frozen import take_frozen
from tests.pages.fakes import Faults
from tests.pages.fakes_training_data import training_desk
from tests.unit.lifecycle_fakes import Clock, MemoryExperiments
from tests.unit.test_training import Logs

ADMIN = Person("u-1", "Ada", Role.ADMIN)


@pytest.fixture(scope="module")
def desk() -> Any:
    """A lake in memory with one set frozen through a flow."""
    held = SimpleNamespace(**training_desk(Faults()))
    stores, now = held.training_stores, held.training_stores["tables"].now
    names = ("amount_minor", *[name for name in held.training_data.plan.names if name != "amount_minor"][:4])
    flow = held.flows.save(
        Flow(names, (Step("impute", {"column": names[1], "with": "median"}),)), name="F", note="", actor=ADMIN
    )
    selection = held.training_data.choose(snapshot_id=None, window=(now - timedelta(days=35), now), label_cutoff=now)
    held.training_data.start_freeze(selection, name="Spring", held=flow, actor=ADMIN)
    job = held.training_data.wait(30)
    assert job.failure is None
    return SimpleNamespace(**vars(held), now=now, made=stores["frozen"].recent(1)[0])


def asked(desk: Any) -> Experiment:
    """The experiment of a request that names the set, and hours that are not the set's."""
    store = MemoryExperiments()
    training = Training(
        store=store, logs=Logs(), clock=Clock(desk.now), token=lambda: "ab12", frozen=desk.training_stores["frozen"]
    )
    day = timedelta(days=1)
    request = TrainingRequest("On spring", desk.now - 2 * day, desk.now - day, desk.now, frozen=desk.made.frozen_id)
    return store.get(training.start(request, actor=ADMIN))


def getter(objects: dict[str, bytes]) -> Callable[[str], bytes]:
    def get(key: str) -> bytes:
        if key not in objects:
            raise NotFound(key)
        return objects[key]

    return get


def test_the_record_carries_the_sets_window_labels_flow_snapshots_and_sum(desk: Any) -> None:
    made, experiment = desk.made, asked(desk)
    assert (experiment.window_start, experiment.window_end, experiment.label_cutoff) == (
        made.window_start, made.window_end, made.label_cutoff,
    )  # fmt: skip
    assert (experiment.frozen, experiment.frozen_sha256, experiment.flow) == (made.frozen_id, made.sha256, made.flow)
    assert (experiment.snapshot_id, experiment.labels_snapshot_id) == (made.snapshot_id, made.labels_snapshot_id)


def test_the_job_gets_the_frozen_bytes_and_scoring_the_frozen_flow(desk: Any) -> None:
    experiment, objects = asked(desk), desk.training_stores["objects"]
    put: dict[str, bytes] = {}
    manifest = take_frozen(experiment, desk.made, getter(objects), put.__setitem__, desk.training_stores["flows"])
    prefix = f"training/{experiment.experiment_id}/"
    assert list(put)[-1] == prefix + "manifest.json", "a set is whole once its manifest is there"
    assert (manifest["rows"], manifest["positives"]) == (desk.made.usable, desk.made.frauds)
    assert (manifest["frozen"], manifest["frozen_sha256"]) == (desk.made.frozen_id, desk.made.sha256)
    assert manifest["snapshot_id"] == experiment.snapshot_id, "else the builder would build it anew"
    files = [name for name in put if name != prefix + "manifest.json"]
    assert {prefix + "flow.json", prefix + "young/part-00000.parquet"} < set(files)
    assert all(put[name] == objects[desk.made.prefix + name.removeprefix(prefix)] for name in files)
    fitted = desk.training_stores["flows"].fits[experiment.experiment_id]
    assert fitted.as_json() == json.loads(put[prefix + "flow.json"])


@pytest.mark.parametrize("name", ["manifest.json", "train/part-00000.parquet", "flow.json"])
def test_a_file_that_was_changed_or_lost_trains_nothing(desk: Any, name: str) -> None:
    experiment, flows = asked(desk), desk.training_stores["flows"]
    changed = dict(desk.training_stores["objects"])
    changed[desk.made.prefix + name] += b" "
    put: dict[str, bytes] = {}
    with pytest.raises(InvalidData, match=f"The file {name} of the frozen training set Spring is not what was frozen"):
        take_frozen(experiment, desk.made, getter(changed), put.__setitem__, flows)
    del changed[desk.made.prefix + name]
    with pytest.raises(NotFound, match=f"Spring has lost its file {name}; freeze it again"):
        take_frozen(experiment, desk.made, getter(changed), put.__setitem__, flows)
    assert f"training/{experiment.experiment_id}/manifest.json" not in put


def test_the_set_made_again_from_its_snapshots_has_the_same_bytes(desk: Any) -> None:
    experiment, objects = asked(desk), desk.training_stores["objects"]
    again: dict[str, bytes] = {}
    lake = desk.training_data._lake
    build_for(experiment, lake, again.__setitem__, flows=desk.training_stores["flows"])
    assert again == {key: body for key, body in objects.items() if key.startswith(desk.made.prefix)}


def test_young_rows_are_counted_apart_and_no_part_of_what_is_looked_at(desk: Any) -> None:
    made, data = desk.made, desk.training_data
    rows = pq.read_table(io.BytesIO(desk.training_stores["objects"][made.prefix + "rows.parquet"])).to_pylist()
    splits = Counter(row["split"] for row in rows)
    assert (made.train, made.validation, made.young) == (splits["train"], splits["validation"], splits["young"])
    assert made.young > 0
    assert made.usable == made.train + made.validation + made.young
    key = data.start_import(
        data.choose(snapshot_id=None, window=(made.window_start, made.window_end), label_cutoff=made.label_cutoff),
        actor=ADMIN,
    )
    assert data.wait(30).failure is None
    seen = data.imported(key)
    assert (seen.usable, seen.young, seen.table.num_rows, seen.sampled) == (
        made.usable, made.young, made.usable - made.young, False,
    )  # fmt: skip
    youngest = max(row["event_time"] for row in rows if row["split"] in ("train", "validation"))
    assert seen.event_ms.max() == youngest.timestamp() * 1000


def test_a_flow_that_leaves_nothing_to_learn_from_is_said_before_a_job_starts(desk: Any) -> None:
    flows = desk.flows
    still = Flow(("amount_minor",), (Step("clip", {"column": "amount_minor", "low": 1e9, "high": 2e9}),))
    held = flows.save(still, name="Still", note="", actor=ADMIN)
    experiment = replace(asked(desk), frozen=None, flow=(held.flow_id, held.version))
    with pytest.raises(InvalidData, match="Every feature is the same in all transactions to train on"):
        build_for(experiment, desk.training_data._lake, {}.__setitem__, flows=desk.training_stores["flows"])


def test_a_set_of_other_features_is_refused_before_there_is_an_experiment(desk: Any) -> None:
    store, request = MemoryExperiments(), TrainingRequest("Old", desk.now, desk.now, desk.now)
    request = replace(request, frozen=desk.made.frozen_id)
    for version, taken in (("features-9", False), (desk.made.features_version, True)):
        training = Training(
            store=store, logs=Logs(), clock=Clock(desk.now), frozen=desk.training_stores["frozen"],
            features_version=version,
        )  # fmt: skip
        if taken:
            training.start(request, actor=ADMIN)
            continue
        said = r"^Spring was frozen with other features \(version .*, now features-9\): .* Freeze the rows again\.$"
        with pytest.raises(InvalidData, match=said) as refused:
            training.start(request, actor=ADMIN)
        assert [problem.field for problem in refused.value.problems] == ["frozen"]
        assert not store.held
    assert len(store.held) == 1


def test_a_name_is_given_once_but_again_after_a_failure(desk: Any) -> None:
    store = MemoryExperiments()
    training = Training(store=store, logs=Logs(), clock=Clock(desk.now))
    request = TrainingRequest("Weekly", desk.now - timedelta(days=9), desk.now, desk.now)
    first = store.held[training.start(request, actor=ADMIN)]
    store.held[first.experiment_id] = replace(first, state=ExperimentState.FAILED)
    second = store.held[training.start(replace(request, name=" weekly "), actor=ADMIN)]
    store.held[second.experiment_id] = replace(second, state=ExperimentState.CANDIDATE)
    with pytest.raises(InvalidData, match=r"weekly is the name of an experiment of .* UTC; choose another"):
        training.start(request, actor=ADMIN)


def test_an_unknown_set_is_said(desk: Any) -> None:
    training = Training(store=MemoryExperiments(), logs=Logs(), clock=lambda: datetime.now(UTC))
    with pytest.raises(NotFound, match="There is no frozen training set set-9"):
        training.start(TrainingRequest("x", desk.now, desk.now, desk.now, frozen="set-9"), actor=ADMIN)
