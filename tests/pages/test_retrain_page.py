"""Retrain: steps lead to the request that was read, progress is followed, results are ranked and compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.access import system
from services.training import Candidate, ExperimentState
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip
from ui import wiring


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


def table(at: Any, column: str) -> Any:
    """The table that has the column."""
    return next(frame.value for frame in at.dataframe if column in frame.value)


def newest(desk: Any) -> Any:
    return desk.stores.experiments.recent(1)[0]


def test_experiments_are_listed_with_result_and_baseline(open_page: Open) -> None:
    at = open_page("admin", "retrain")
    assert failed(at) == []
    listed = at.dataframe(key="retrain-list").value
    assert listed["State"].tolist() == ["Candidate", "Champion", "Candidate", "Candidate", "Failed"]
    assert listed["Model"].tolist()[0] == "v8"
    assert [m.label for m in at.metric] == ["Average precision", "Prevalence", "Rows", "Model"]
    assert "× a blind guess" in text_of(at)
    assert len(at.get("plotly_chart")) == 1


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_other_roles_are_refused(open_page: Open, role: str) -> None:
    at = open_page(role, "retrain")
    assert failed(at) == []
    assert "Your role does not open this page" in text_of(at)
    assert "retrain-view" not in [control.key for control in at.segmented_control]


def new(open_page: Open) -> Any:
    return open_page("admin", "retrain", view="new")


def forward(at: Any, times: int = 1) -> Any:
    for _ in range(times):
        at.button(key="retrain-next").click().run()
        assert failed(at) == []
    return at


def step_of(at: Any) -> int:
    return int(at.segmented_control(key="retrain-step").value)


def test_the_steps_lead_to_the_experiment_that_was_chosen(open_page: Open, desk: Any) -> None:
    at = new(open_page)
    at.text_input(key="retrain_name").set_value("After the holidays")
    forward(at)
    at.segmented_control(key="retrain_preset").set_value("30d").run()
    assert "with a label," in text_of(at)
    forward(at)
    at.number_input(key="retrain_set_max_depth").set_value(7)
    at.selectbox(key="retrain_set_class_weight").set_value("balanced")
    forward(at)
    at.segmented_control(key="retrain_elsewhere").set_value(True).run()
    at.text_input(key="retrain_endpoint").set_value("trial")
    at.toggle(key="retrain_auto_deploy").set_value(True)
    forward(at)
    text = text_of(at)
    assert "XGBoost, Tree depth 7, Weight of frauds: As much as all genuine ones" in text
    assert "Deployed to trial when it is registered; live transactions stay with fraud-desk" in text
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    made = newest(desk)
    assert (made.name, made.requested_by, made.state) == ("After the holidays", "Admin Person", "requested")
    assert (made.window_end - made.window_start).days == 30
    assert dict(made.hyperparameters) == {"max_depth": 7, "class_weight": "balanced"}
    assert (made.endpoint_name, made.auto_deploy) == ("trial", True)
    assert at.query_params["id"] == made.experiment_id
    assert "After the holidays" in text_of(at)


def test_who_takes_the_defaults_needs_two_clicks(open_page: Open, desk: Any) -> None:
    at = new(open_page)
    at.button(key="retrain-review").click().run()
    assert "126" not in text_of(at)
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    assert newest(desk).name.startswith("XGBoost 90 days to")


def test_a_refusal_is_a_sentence_and_the_draft_is_kept(open_page: Open, desk: Any) -> None:
    at = new(open_page)
    at.text_input(key="retrain_name").set_value("Kept")
    at.button(key="retrain-review").click().run()
    desk.faults.down = {"MongoDB"}
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)
    assert "Kept" in text_of(at)


def test_nothing_is_lost_going_back_elsewhere_or_loading_anew(open_page: Open, desk: Any) -> None:
    at = new(open_page)
    at.text_input(key="retrain_name").set_value("Kept")
    forward(at, 2)
    at.number_input(key="retrain_set_eta").set_value(0.1)
    at.button(key="retrain-back").click().run()
    at.segmented_control(key="retrain-step").set_value(2).run()
    assert at.number_input(key="retrain_set_eta").value == 0.1
    again = new(open_page)
    assert failed(again) == []
    assert step_of(again) == 2
    assert again.number_input(key="retrain_set_eta").value == 0.1
    assert "Kept" in text_of(again)
    again.button(key="retrain-clear").click().run()
    assert step_of(again) == 0
    assert again.text_input(key="retrain_name").value == ""


def test_a_problem_is_said_at_its_step_and_keeps_one_there(open_page: Open, desk: Any) -> None:
    at = new(open_page)
    at.text_input(key="retrain_name").set_value("XGBoost 90 days, round 8")
    forward(at)
    assert step_of(at) == 0
    assert "is the name of an experiment of" in text_of(at)
    at.text_input(key="retrain_name").set_value("Another")
    forward(at)
    at.multiselect(key="retrain_left_out").set_value(at.multiselect(key="retrain_left_out").options).run()
    assert "a model needs at least one" in text_of(at)
    at.multiselect(key="retrain_left_out").set_value([]).run()
    at.segmented_control(key="retrain_source").set_value("frozen").run()
    assert "Choose a frozen training set" in text_of(at)
    at.segmented_control(key="retrain-step").set_value(4).run()
    assert at.button(key="retrain-start").disabled
    assert "Step 2, Data, has a problem." in text_of(at)


def test_a_window_without_enough_frauds_is_refused_before_anything_starts(open_page: Open, desk: Any) -> None:
    tables = desk.training_stores["tables"].tables
    tables["labels"] = tables["labels"].slice(0, 3)
    at = new(open_page)
    at.button(key="retrain-review").click().run()
    assert "The window holds 3 known frauds among" in text_of(at)
    assert at.button(key="retrain-start").disabled


def test_a_lake_that_does_not_answer_stops_nobody(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"S3"}
    at = new(open_page)
    at.button(key="retrain-review").click().run()
    assert failed(at) == []
    assert "Cannot be counted now" in text_of(at)
    assert not at.button(key="retrain-start").disabled


def test_a_frozen_set_is_learned_from_as_it_is(open_page: Open, desk: Any) -> None:
    now = desk.training_stores["tables"].now
    selection = desk.training_data.choose(snapshot_id=None, window=(now - timedelta(days=35), now), label_cutoff=now)
    desk.training_data.start_freeze(selection, name="Spring", held=None, actor=system("test"))
    assert desk.training_data.wait(30).failure is None
    held = desk.training_data.frozen()[0]
    at = forward(new(open_page))
    at.segmented_control(key="retrain_source").set_value("frozen").run()
    at.selectbox(key="retrain_frozen").set_value(held.frozen_id).run()
    assert f"{held.usable:,} with a label, {held.frauds:,} of them fraud" in text_of(at)
    at.button(key="retrain-review").click().run()
    assert "Frozen set Spring" in text_of(at)
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    made = newest(desk)
    assert (made.frozen, made.frozen_sha256, made.snapshot_id) == (held.frozen_id, held.sha256, held.snapshot_id)


def test_a_link_brings_a_frozen_set_along(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain", view="new", frozen="set-gone")
    assert failed(at) == []
    assert (step_of(at), at.segmented_control(key="retrain_source").value) == (1, "frozen")
    assert "frozen" not in at.query_params
    assert "Nothing is frozen yet" in text_of(at)


def test_the_address_names_the_experiment_and_an_unknown_one_is_said(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain", id="exp-2026-0005")
    assert "XGBoost 90 days, round 5" in text_of(at)
    at = open_page("admin", "retrain", id="exp-nothing")
    assert failed(at) == []
    assert "There is no experiment exp-nothing" in text_of(at)
    assert len(at.dataframe(key="retrain-list").value) == 5


def test_two_are_compared_by_address_what_differs_first(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain", view="compare", a="exp-2026-0005", b="exp-2026-0008")
    assert failed(at) == []
    told = table(at, "Difference")
    assert told["What"].tolist()[-1] == "Average precision"
    assert told["Difference"].tolist()[-1] == "+0.018"
    assert "Tree depth" not in told["What"].tolist(), "the same in both"
    at.toggle(key="retrain-differs").set_value(False).run()
    assert "Tree depth" in table(at, "Difference")["What"].tolist()
    at = open_page("admin", "retrain", view="compare", a="exp-gone")
    assert "There is no result of exp-gone to compare" in text_of(at)


def test_the_command_that_makes_it_again_is_shown(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain", id="exp-2026-0008")
    assert "python -m services reproduce exp-2026-0008" in [code.value for code in at.code]
    assert "exp-2026-0008" in table(at, "Recorded")["Recorded"].tolist()


def test_a_running_experiment_shows_steps_curves_log_and_stop(open_page: Open, desk: Any) -> None:
    equip(desk, running=True)
    at = open_page("admin", "retrain")
    assert failed(at) == []
    text = text_of(at)
    assert ":material/progress_activity:] Training" in text
    assert "The training job is Training." in text
    assert "validation-aucpr" in at.code[0].value
    at.button(key="retrain-stop-confirm").click().run()
    assert failed(at) == []
    assert newest(desk).stop_requested_by == "Admin Person"


def test_the_model_card_is_shown_and_can_be_taken_along(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain")
    assert failed(at) == []
    assert "# Model card" in text_of(at)
    assert at.get("download_button")


def test_a_card_that_cannot_be_read_leaves_the_rest_standing(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"S3"}
    at = open_page("admin", "retrain")
    assert failed(at) == []
    assert "The model card cannot be read" in text_of(at)
    assert len(at.metric) == 4


def test_a_failure_is_its_sentence(open_page: Open, desk: Any) -> None:
    experiments = desk.stores.experiments
    failed_one = next(e for e in experiments.items.values() if e.state is ExperimentState.FAILED)
    experiments.items = {failed_one.experiment_id: failed_one}
    at = open_page("admin", "retrain")
    assert failed(at) == []
    assert "only genuine transactions" in text_of(at)
    assert "Failed" in text_of(at)


def test_nothing_trained_yet_says_how_to_begin(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("admin", "retrain")
    assert failed(at) == []
    assert "Nothing has been trained yet" in text_of(at)


def test_a_log_that_cannot_be_read_leaves_the_rest_standing(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"SageMaker"}
    at = open_page("admin", "retrain")
    assert failed(at) == []
    assert "The log cannot be read now" in text_of(at)
    assert len(at.metric) == 4


def test_a_database_that_never_answered_is_named(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page("admin", "retrain")
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)
    assert "Nothing has been trained" not in text_of(at)


def test_an_outage_keeps_the_list_with_its_age(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain")
    desk.faults.down = {"MongoDB"}
    wiring.reads()._entries[("training.experiments",)].fresh_until = float("-inf")
    at.run()
    assert failed(at) == []
    assert len(at.dataframe(key="retrain-list").value) == 5
    assert "MongoDB is not reachable since" in text_of(at)


def test_a_search_is_asked_for_with_its_limits_columns_and_deployment(open_page: Open, desk: Any) -> None:
    at = forward(new(open_page))
    first = desk.training_data.plan.features[0].name
    at.multiselect(key="retrain_left_out").set_value([first])
    forward(at)
    at.segmented_control(key="retrain_method").set_value("autopilot").run()
    at.number_input(key="retrain_candidates").set_value(5)
    at.number_input(key="retrain_minutes").set_value(20)
    forward(at)
    at.toggle(key="retrain_auto_deploy").set_value(True)
    forward(at)
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    made = newest(desk)
    assert (made.method, made.auto_deploy, dict(made.hyperparameters)) == ("autopilot", True, {})
    assert (made.autopilot.mode, made.autopilot.max_candidates, made.autopilot.max_runtime_s) == ("ENSEMBLING", 5, 1200)
    flow = desk.flows.get(*made.flow)
    offered = [spec.name for spec in desk.training_data.plan.features]
    assert list(flow.flow.columns) == list(made.features) == offered[1:]


def test_candidates_of_a_search_are_listed_best_first(open_page: Open, desk: Any) -> None:
    experiments = desk.stores.experiments
    one = experiments.recent(1)[0]
    found = (
        Candidate("fd-x-c01", "Completed", {"auc": 0.91, "average_precision": 0.7}),
        Candidate("fd-x-c02", "Failed", failure="AlgorithmError: no memory"),
        Candidate("fd-x-blend", "Completed", {"auc": 0.93, "average_precision": 0.74}, best=True),
    )
    experiments.items[one.experiment_id] = replace(one, method="autopilot", candidates=found)
    at = open_page("admin", "retrain")
    assert failed(at) == []
    listed = next(d.value for d in at.dataframe if "Candidate" in d.value)
    assert listed["Candidate"].tolist() == ["blend (best)", "c01", "c02"]
    assert listed["Why not"].tolist()[2] == "AlgorithmError: no memory"
