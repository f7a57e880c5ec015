"""Whose data an embedded stack holds: decided by the first start, remembered, never mixed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedded import environment, own_data, programs, supervisor
from embedded.seed import functions
from embedded.state_folder import StateFolder
from services.errors import InvalidData
from services.settings import REQUIRED, Settings

MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"
OWN = {"FRAUD_DESK_MAPPING": str(MAPPINGS / "handbook.toml")}


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder.at(tmp_path / "state")
    made.prepare()
    return made


@pytest.fixture
def started(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., programs.Stack]:
    """started(variables) -> the stack that `up` would run with them."""

    def start(variables: dict[str, str]) -> programs.Stack:
        monkeypatch.delenv("FRAUD_DESK_MAPPING", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return supervisor.prepare(folder, programs.Options())[0]

    return start


def names(stack: programs.Stack) -> list[str]:
    return [program.name for program in programs.standard(stack).programs]


def test_a_stack_with_data_of_its_own_simulates_nothing_and_remembers_its_mapping(started: Any, folder: Any) -> None:
    stack = started(OWN)
    assert "traffic" not in names(stack)
    assert "scorer" in names(stack)
    assert programs.standard(stack).seed == programs.python("embedded.seed", "--own-data")
    assert json.loads(folder.environment.read_text())["FRAUD_DESK_MAPPING"] == OWN["FRAUD_DESK_MAPPING"]
    again = started({})
    assert again.own_data
    assert again.environment["FRAUD_DESK_MAPPING"] == OWN["FRAUD_DESK_MAPPING"]


def test_the_demo_has_history_and_traffic_also_with_dimensions_of_its_own(started: Any, tmp_path: Path) -> None:
    file = tmp_path / "dimensions.toml"
    file.write_text('[dimensions]\nchannel = "channel"\n')
    stack = started({"FRAUD_DESK_MAPPING": str(file)})
    assert "traffic" in names(stack)
    assert not stack.own_data
    assert stack.environment["FRAUD_DESK_MAPPING"] == str(file)


@pytest.mark.parametrize(("first", "then"), [({}, OWN), (OWN, {"FRAUD_DESK_MAPPING": "dimensions.toml"})])
def test_a_folder_never_changes_whose_data_it_holds(
    started: Any, folder: StateFolder, tmp_path: Path, monkeypatch: Any, first: Any, then: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dimensions.toml").write_text('[dimensions]\nchannel = "channel"\n')
    started(first)
    before = folder.data.read_text()
    with pytest.raises(own_data.OtherData, match="choose another folder"):
        started(then)
    assert folder.data.read_text() == before


def test_a_folder_of_a_former_version_is_the_demos(folder: StateFolder) -> None:
    folder.seeded.write_text("{}")
    assert own_data.decide(folder, {}) == {"own": False, "mapping": ""}
    with pytest.raises(own_data.OtherData):
        own_data.decide(folder, OWN)


def test_a_mapping_that_cannot_be_read_stops_the_start_with_a_sentence(folder: StateFolder, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"gone\.toml cannot be read"):
        own_data.decide(folder, {"FRAUD_DESK_MAPPING": str(tmp_path / "gone.toml")})


def test_screens_that_find_a_stack_read_by_its_mapping() -> None:
    into = {"FRAUD_DESK_MAPPING": "/mine.toml"}
    environment.adopt(into, {"FRAUD_DESK_MAPPING": "/the-stacks.toml", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert into["FRAUD_DESK_MAPPING"] == "/the-stacks.toml"


@pytest.mark.parametrize(
    ("module", "mapping", "given"),
    [("intake", "sparkov", True), ("intake", "paysim", False), ("intake", None, False), ("score", "sparkov", False)],
)
def test_the_key_of_tokens_goes_to_the_front_door_alone_and_only_where_card_numbers_come_in(
    monkeypatch: pytest.MonkeyPatch, module: str, mapping: str | None, given: bool
) -> None:
    named = dict.fromkeys(REQUIRED, "x") | {"FRAUD_DESK_TOKEN_KEY": "k" * 16}
    named |= {"FRAUD_DESK_MAPPING": str(MAPPINGS / f"{mapping}.toml")} if mapping else {}
    monkeypatch.setattr(os, "environ", named)
    found = functions._variables(module, Settings.from_environment(named))
    assert (found.get("FRAUD_DESK_TOKEN_KEY") == "k" * 16) is given
