"""Retrain: the request that is sent is the one that was read, progress is followed, a stop is confirmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.training import Candidate, ExperimentState
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip
from ui import wiring


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


def newest(desk: Any) -> Any:
    return desk.stores.experiments.recent(1)[0]


def test_experiments_are_listed_with_result_and_baseline(open_page: Open) -> None:
    at = open_page("admin", "retrain")
    assert failed(at) == []
    listed = at.dataframe(key="retrain-list").value
    assert listed["State"].tolist() == ["Candidate", "Candidate", "Candidate", "Candidate", "Failed"]
    assert listed["Model"].tolist()[0] == "v8"
    assert [m.label for m in at.metric] == ["Average precision", "Prevalence", "Rows", "Model"]
    assert "× a blind guess" in text_of(at)
    assert len(at.get("plotly_chart")) == 1


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_other_roles_are_refused(open_page: Open, role: str) -> None:
    at = open_page(role, "retrain")
    assert failed(at) == []
    assert "Your role does not open this page" in text_of(at)
    assert not at.button(key="retrain-start") if "retrain-start" in [b.key for b in at.button] else True


def test_starting_sends_what_the_form_shows_and_follows_it(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain")
    at.segmented_control(key="retrain_window").set_value("30d")
    at.text_input(key="retrain_name").set_value("After the holidays")
    at.number_input(key="retrain_max_depth").set_value(7)
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    made = newest(desk)
    assert (made.name, made.requested_by, made.state) == ("After the holidays", "Admin Person", "requested")
    assert (made.window_end - made.window_start).days == 30
    assert dict(made.hyperparameters) == {"max_depth": 7}
    assert "After the holidays" in text_of(at)
    assert at.button(key="retrain-start").disabled, "one experiment runs at a time"


def test_a_name_left_empty_takes_the_proposed_one(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain")
    at.button(key="retrain-start").click().run()
    assert newest(desk).name.startswith("XGBoost 90 days to")


def test_a_refusal_is_a_sentence_and_the_form_keeps_its_text(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "retrain")
    at.text_input(key="retrain_name").set_value("Kept")
    desk.faults.down = {"MongoDB"}
    at.button(key="retrain-start").click().run()
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)
    assert at.text_input(key="retrain_name").value == "Kept"


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
    assert not at.button(key="retrain-start").disabled


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
    at = open_page("admin", "retrain")
    at.segmented_control(key="retrain_method").set_value("autopilot").run()
    at.number_input(key="retrain_candidates").set_value(5)
    at.number_input(key="retrain_minutes").set_value(20)
    first = at.multiselect(key="retrain_left_out").options[0]
    at.multiselect(key="retrain_left_out").select(first)
    at.toggle(key="retrain_auto_deploy").set_value(True)
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
