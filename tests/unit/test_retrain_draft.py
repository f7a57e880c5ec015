"""A draft becomes the request that was meant, says what is wrong at its step, and what it will take."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from services.cost_estimate import Estimate, Price
from services.hyperparameters import wrong_hyperparameter
from services.training import Experiment, ExperimentState, check
from tests.pages.fakes_admin import experiment
from tests.unit.lifecycle_fakes import NOW
from ui import retrain_board, retrain_compare, retrain_draft, retrain_record, retrain_settings, retrain_summary
from ui.retrain_draft import DATA, ENDPOINT, FLOW, METHOD, NAME, REVIEW, Draft
from ui.retrain_request import WINDOWS
from ui.retrain_view import rows

FEATURES = ("amount", "count", "gap")


def wanted(draft: Draft, past: tuple[Experiment, ...] = ()) -> Any:
    return retrain_draft.request(draft, past, features=FEATURES, now=NOW)


def wrong(draft: Draft, past: tuple[Experiment, ...] = (), *, counted: str | None = None) -> dict[int, list[str]]:
    found = retrain_draft.problems(draft, wanted(draft, past), past, now=NOW, features_version="1", counted=counted)
    return {step: sentences for step, sentences in found.items() if sentences}


@pytest.mark.parametrize("preset", WINDOWS)
def test_a_draft_that_nobody_touched_can_be_started(preset: str) -> None:
    draft = Draft(preset=preset)
    assert wrong(draft) == {}
    assert check(wanted(draft), now=NOW) == ()
    assert wanted(draft).hyperparameters == {}, "usual values are not sent"


def test_only_what_differs_from_the_usual_is_sent() -> None:
    assert wanted(Draft(settings={"eta": 0.2, "max_depth": 5, "calibration": "none"})).hyperparameters == {
        "max_depth": 5, "calibration": "none",
    }  # fmt: skip
    assert [wrong_hyperparameter(key, value) for key, value in retrain_settings.USUAL.items()] == [
        None for _ in retrain_settings.USUAL
    ]


def test_the_usual_settings_are_those_of_the_training_code() -> None:
    from model.training_options import DEFAULTS

    assert {key: DEFAULTS[key] for key in retrain_settings.USUAL} == dict(retrain_settings.USUAL)


def test_a_search_takes_its_limits_and_no_settings() -> None:
    made = wanted(Draft(method="autopilot", settings={"eta": 0.1}, candidates=5, minutes=20))
    assert (made.hyperparameters, made.autopilot.max_candidates, made.autopilot.max_runtime_s) == ({}, 5, 1200)


def test_a_proposed_name_is_never_taken() -> None:
    first = retrain_draft.proposed_name(Draft(), (), now=NOW)
    assert first == "XGBoost 90 days to 22 Nov"
    past = tuple(replace(experiment(n, NOW), name=name) for n, name in ((5, first.upper()), (6, f"{first} (2)")))
    assert retrain_draft.proposed_name(Draft(), past, now=NOW) == f"{first} (3)"


@pytest.mark.parametrize(
    ("draft", "step", "sentence"),
    [
        (Draft(name="XGBoost 90 days, ROUND 8"), NAME, "is the name of an experiment of"),
        (Draft(name="a\nb"), NAME, "printable characters"),
        (
            Draft(preset="custom", days=(date(2026, 11, 1),), cutoff=date(2026, 10, 1)),
            DATA,
            "The label cut-off",
        ),
        (Draft(source=FLOW), DATA, "Choose a saved flow"),
        (Draft(left_out=FEATURES), DATA, "a model needs at least one"),
        (Draft(settings={"max_depth": 99}), METHOD, "max_depth must be a number from 1 to 16"),
        (Draft(method="autopilot", candidates=1), METHOD, "Try 2 to 50 candidates"),
        (Draft(elsewhere=True), ENDPOINT, "Name the other endpoint"),
        (Draft(elsewhere=True, endpoint="-x"), ENDPOINT, "it begins and ends with no hyphen"),
    ],
)
def test_what_is_wrong_is_said_at_its_step(draft: Draft, step: int, sentence: str) -> None:
    found = wrong(draft, (experiment(8, NOW),))
    assert list(found) == [step]
    assert sentence in found[step][0]
    assert retrain_draft.first_wrong(found) == step
    assert retrain_draft.first_wrong({step: []}, upto=REVIEW) is None


def test_what_the_lake_says_belongs_to_the_data() -> None:
    assert wrong(Draft(), counted="The window holds no transactions.") == {DATA: ["The window holds no transactions."]}


@pytest.mark.parametrize(
    ("price", "seconds", "said"),
    [
        (None, 60, "Not known: nobody set the price of a training instance (FRAUD_DESK_TRAINING_PRICE)"),
        (Price(0), 60, "On this machine: no charge"),
        (Price(0.23, "EUR"), None, "Not known before a first run; €0.23 an instance-hour"),
        (Price(3.6, "EUR"), 5, "About less than €0.01 at €3.60 an instance-hour"),
        (Price(3.6), 500, "About $0.50 at $3.60 an instance-hour"),
    ],
)
def test_cost_is_told_only_with_a_price(price: Price | None, seconds: float | None, said: str) -> None:
    assert retrain_summary.cost(Estimate(seconds, 10, 1, None, seconds), price, searches=False) == said


def test_a_comparison_puts_what_differs_first_and_subtracts_the_first() -> None:
    a, b = (experiment(n, NOW, days_ago=days) for n, days in ((5, 12.0), (8, 1.0)))
    b = replace(b, hyperparameters={"max_depth": 6}, frozen="set-1", metrics={"average_precision": 0.5, "auc": 0.9})
    known = retrain_compare.sides((b, a, experiment(4, NOW, state=ExperimentState.FAILED)))
    assert list(known) == [b.experiment_id, a.experiment_id], "what was never measured cannot be compared"
    lines = retrain_compare.lines(known[a.experiment_id], known[b.experiment_id])
    assert [line.group for line in lines] == sorted((line.group for line in lines), key=("Settings Data Result").index)
    assert (lines[0].fact, lines[0].a, lines[0].b) == ("Tree depth", "3", "6")
    assert not any(line.differs for line in lines if line.group == "Settings" and line.fact != "Tree depth")
    told = {line.fact: line for line in lines}
    assert told["Frozen set"].b == "set-1"
    assert told["Rows with a label"].change == "+27,000"
    assert (told["Average precision"].a, told["Average precision"].change) == ("0.380", "+0.120")
    assert (told["AUC"].a, told["AUC"].change) == ("–", "")


def test_the_leaderboard_marks_the_champion_and_is_a_file() -> None:
    one = replace(experiment(8, NOW), name="=1+1", metrics={"average_precision": 0.5, "calibration_error": 0.01})
    board = rows((one, experiment(7, NOW)), champion="v8")
    assert [row["State"] for row in board] == ["Champion", "Candidate"]
    assert "CP@100" not in board[0], "nobody measured it"
    text = retrain_board.as_csv(board)
    assert text.splitlines()[0].startswith("Experiment,Model,State,AP,AUC,")
    assert text.splitlines()[1].startswith("'=1+1,v8,Champion,0.5,,")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"state": ExperimentState.TRAINING}, "It can be made again once"),
        ({"artifact_uri": None}, "It left no model"),
    ],
)
def test_a_record_says_whether_it_can_be_made_again(changes: dict[str, Any], why: str | None) -> None:
    one = replace(experiment(8, NOW - timedelta(days=1)), **changes)
    assert (retrain_record.why_not(one) or "").startswith(why or "")
    assert (retrain_record.why_not(one) is None) == (why is None)
