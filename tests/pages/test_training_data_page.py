"""Training data: rows are imported, steps are added and undone, flows saved, sets frozen; problems said in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from services.access import system
from services.flow_steps import Flow, Step
from services.training_data import JobState
from services.training_data_jobs import JobNote
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import equip
from ui.training_data_draft import Draft


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


def imported(open_page: Open, desk: Any) -> AppTest:
    at = open_page("admin", "training_data")
    at.segmented_control(key="td-window").set_value("30d")
    at.button(key="td-import").click().run()
    assert desk.training_data.wait(30).state is JobState.DONE
    return at.run()


def with_step(at: AppTest, step: Step) -> AppTest:
    held: Draft = at.session_state["td-draft"]
    at.session_state["td-draft"] = held.add(step)
    return at.run()


def test_an_empty_lake_says_so(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("admin", "training_data")
    assert failed(at) == []
    assert "The lake is empty so far" in text_of(at)


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_other_roles_are_refused(open_page: Open, role: str) -> None:
    at = open_page(role, "training_data")
    assert failed(at) == []
    assert "Your role does not open this page" in text_of(at)


def test_imported_rows_are_profiled_with_every_column(open_page: Open, desk: Any) -> None:
    at = imported(open_page, desk)
    assert failed(at) == []
    profile = at.dataframe(key="td-profile").value
    assert profile["Column"].tolist() == list(desk.training_data.plan.names)
    assert "frauds" in text_of(at)
    assert len(at.get("plotly_chart")) == 2


def test_a_step_is_added_shown_undone_and_redone(open_page: Open, desk: Any) -> None:
    at = imported(open_page, desk)
    at.selectbox(key="td-do").set_value("log").run()
    at.selectbox(key="td-column").set_value("amount_minor").run()
    at.button(key="td-add").click().run()
    assert failed(at) == []
    assert "1. Logarithm: amount_minor" in text_of(at)
    at.segmented_control(key="td-view").set_value("Steps").run()
    assert failed(at) == []
    assert "amount_minor (before)" in at.dataframe[0].value.columns
    at.button(key="td-undo").click().run()
    assert "Logarithm" not in text_of(at)
    at.button(key="td-redo").click().run()
    assert "1. Logarithm: amount_minor" in text_of(at)


def test_a_step_that_cannot_be_run_is_named_and_cannot_be_saved(open_page: Open, desk: Any) -> None:
    at = imported(open_page, desk)
    with_step(at, Step("drop", {"columns": ["amount_minor"]}))
    with_step(at, Step("log", {"column": "amount_minor"}))
    assert failed(at) == []
    assert "There is no column amount_minor at this step." in text_of(at)
    assert at.button(key="td-save").disabled
    with_step(at, Step("expression", {"to": "x", "sql": "read_text('/etc/passwd')"}))
    assert failed(at) == []


def test_a_flow_is_saved_and_a_second_admin_is_told(open_page: Open, desk: Any) -> None:
    at = imported(open_page, desk)
    with_step(at, Step("clip", {"column": "amount_minor", "quantiles": [0.01, 0.99]}))
    at.text_input(key="td-name-new").set_value("Clipped").run()
    at.button(key="td-save").click().run()
    assert failed(at) == []
    held = desk.training_stores["flows"].newest(1)[0]
    assert (held.name, held.version, held.saved_by) == ("Clipped", 1, "Admin Person")
    other = held.flow
    desk.flows.save(
        Flow(other.columns[:3]), name="Clipped", note="", flow_id=held.flow_id, after=1, actor=system("Other Admin")
    )
    with_step(at, Step("log", {"column": "amount_minor"}))
    at.button(key="td-save").click().run()
    assert "nothing of yours was saved" in text_of(at)
    assert len(desk.training_stores["flows"].versions(held.flow_id)) == 2


def test_a_set_is_frozen_with_the_saved_flow_and_listed(open_page: Open, desk: Any) -> None:
    at = imported(open_page, desk)
    at.text_input(key="td-freeze-name").set_value("Spring").run()
    at.button(key="td-freeze").click().run()
    assert failed(at) == []
    assert desk.training_data.wait(30).state is JobState.DONE
    at.run()
    frozen = desk.training_data.frozen()[0]
    assert frozen.name == "Spring"
    manifest = json.loads(desk.training_stores["objects"][f"{frozen.prefix}manifest.json"])
    assert (manifest["rows"], manifest["positives"]) == (frozen.usable, frozen.frauds)
    assert at.dataframe[-1].value["Training set"].tolist() == ["Spring"]
    at.segmented_control(key="td-view").set_value("Drift").run()
    assert failed(at) == []
    assert "none of" in text_of(at)


def test_the_quick_model_tells_what_the_columns_are_worth(open_page: Open, desk: Any) -> None:
    at = imported(open_page, desk)
    at.segmented_control(key="td-view").set_value("Quick model").run()
    assert failed(at) == []
    values = {m.label: m.value for m in at.metric}
    assert float(values["Average precision"]) > 1.5 * float(values["Prevalence"])


def test_s3_that_does_not_answer_is_said_and_nothing_breaks(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"S3"}
    at = open_page("admin", "training_data")
    assert failed(at) == []
    assert "S3 is not reachable" in text_of(at)


def test_a_freeze_whose_process_was_killed_is_named_until_the_next_job(open_page: Open, desk: Any) -> None:
    notes = equip(desk).training_stores["notes"]
    began = datetime.now(UTC) - timedelta(minutes=3)
    notes.put(JobNote("gone", "freeze", "Spring", "Ada *N*", began, began))
    at = open_page("admin", "training_data")
    assert failed(at) == []
    assert [w.value for w in at.warning if "cut off" in w.value] != []
    assert "Spring" in text_of(at)
    assert "start it again" in text_of(at)
