"""Deploy: what serves, what would change, who may, with which reason; every failure of the endpoint in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.deployment import DeploymentState, EndpointDescription
from tests.pages.conftest import Open, failed, text_of
from tests.pages.fakes_admin import deployment, equip
from ui import endpoint_view, wiring


@pytest.fixture(autouse=True)
def _admin(desk: Any) -> None:
    equip(desk)


def newest(desk: Any) -> Any:
    return desk.stores.deployments.recent(1)[0]


def test_the_champion_and_the_newest_candidate_stand_side_by_side(open_page: Open) -> None:
    at = open_page("admin", "deploy")
    assert failed(at) == []
    text = text_of(at)
    assert "v7 :gray[:small[serves on]]" in text
    assert "In service" in text
    table = at.dataframe[1].value
    assert list(table.columns) == ["Figure", "v7 (serving)", "v8", "Change"]
    assert table.set_index("Figure").loc["Average precision"].tolist() == ["0.392", "0.398", "+0.006"]
    assert table.set_index("Figure").loc["Review threshold"].tolist() == ["0.615", "0.620", "+0.005"]
    assert "Review threshold 0.615 → 0.620, decline 0.921 → 0.924." in text


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_other_roles_are_refused(open_page: Open, role: str) -> None:
    at = open_page(role, "deploy")
    assert failed(at) == []
    assert "Your role does not open this page" in text_of(at)
    assert not at.dataframe


def test_deploying_keeps_who_and_why_and_shows_its_progress(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "deploy")
    at.text_input(key="deploy-reason").set_value("Better on November").run()
    at.button(key="deploy-go").click().run()
    assert failed(at) == []
    made = newest(desk)
    assert (made.model_version, made.requested_by, made.reason) == ("v8", "Admin Person", "Better on November")
    assert "v7 → v8" in text_of(at)
    assert at.text_input(key="deploy-reason").value == ""
    assert at.text_input(key="deploy-reason").disabled, "one change runs at a time"
    assert at.dataframe[-1].value["State"].tolist()[0] == "Requested"


def test_a_refused_deployment_keeps_the_reason(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "deploy")
    at.text_input(key="deploy-reason").set_value("Better on November").run()
    other = deployment(8, datetime.now(UTC), days_ago=0, deployment_id="dep-x", state=DeploymentState.UPDATING)
    desk.stores.deployments.items.append(other)
    at.button(key="deploy-go").click().run()
    assert failed(at) == []
    assert "v8 is being deployed" in text_of(at)
    assert at.text_input(key="deploy-reason").value == "Better on November"


def test_rolling_back_names_its_target_and_needs_a_reason(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "deploy")
    assert at.button(key="deploy-rollback-confirm").label == "Roll back to v6"
    at.button(key="deploy-rollback-confirm").click().run()
    assert "Say in 3 to 500 characters why" in text_of(at)
    at.text_area(key="deploy-rollback-reason").set_value("Flags too many")
    at.button(key="deploy-rollback-confirm").click().run()
    assert failed(at) == []
    assert (newest(desk).model_version, newest(desk).kind) == ("v6", "rollback")


def test_a_failed_endpoint_says_what_it_means(open_page: Open, desk: Any) -> None:
    desk.stores.endpoints.description = EndpointDescription(
        "fraud-desk", "Failed", "fraud-desk-v7-dep-7", datetime.now(UTC), failure="The container did not pass its ping."
    )
    at = open_page("admin", "deploy")
    assert failed(at) == []
    text = text_of(at)
    assert "The container did not pass its ping." in text
    assert "Transactions wait unscored" in text


def test_an_unreachable_sagemaker_shows_the_last_known_version_and_blocks(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"SageMaker"}
    at = open_page("admin", "deploy")
    assert failed(at) == []
    text = text_of(at)
    assert "Unreachable" in text
    assert "v7 :gray[:small[served last on]]" in text
    assert len(at.dataframe[-1].value) == 3
    assert "deploy-go" not in [b.key for b in at.button]


def test_a_first_deployment_creates_the_endpoint(open_page: Open, desk: Any) -> None:
    desk.stores.endpoints.description = None
    desk.stores.deployments.items.clear()
    at = open_page("admin", "deploy")
    assert failed(at) == []
    assert "Not created" in text_of(at)
    assert "Review from 0.620, decline from 0.924." in text_of(at)
    assert "Nothing has been deployed yet" in text_of(at)


def test_no_model_yet_points_to_retrain(open_page: Open, desk: Any) -> None:
    equip(desk, empty=True)
    at = open_page("admin", "deploy")
    assert failed(at) == []
    assert "No model has been trained yet" in text_of(at)


def test_a_database_that_never_answered_is_named(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page("admin", "deploy")
    assert failed(at) == []
    assert "MongoDB is not reachable" in text_of(at)
    assert not at.dataframe


def test_an_outage_keeps_the_page_and_stops_deploying(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "deploy")
    desk.faults.down = {"MongoDB"}
    for entry in wiring.reads()._entries.values():
        entry.fresh_until = float("-inf")
    at.run()
    assert failed(at) == []
    assert "MongoDB is not reachable since" in text_of(at)
    assert at.text_input(key="deploy-reason").disabled


def test_roll_back_goes_to_the_version_that_served_before() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    done = [deployment(n, now, days_ago=9 - n) for n in (5, 6, 7)]
    assert endpoint_view.roll_back_target(done) == "v6"
    failed_one = replace(done[1], state=DeploymentState.FAILED)
    assert endpoint_view.roll_back_target([done[0], failed_one, done[2]]) == "v5"
    again = replace(done[0], deployment_id="r", finished_at=now + timedelta(days=1))
    assert endpoint_view.roll_back_target([*done, again]) == "v7"
    assert endpoint_view.roll_back_target(done[:1]) is None
