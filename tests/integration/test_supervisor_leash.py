"""How the screens hold their stack: it comes with them, ends with them, and says why when it cannot come."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedded import launch, processes
from embedded.launch import NotStarted
from embedded.state_folder import PROJECT, StateFolder, StateFolderUnusable

UP = (sys.executable, "-m", "tests.integration.supervised_stack", "up")
HOLDER = """
import sys, time
from embedded import launch
from embedded.state_folder import StateFolder
leash = launch.start(StateFolder.at(sys.argv[1]), up=sys.argv[2:])
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder.at(tmp_path / "state")


def until_ended(folder: StateFolder, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while processes.leftovers(folder) or (lock := folder.try_lock()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lock.close()


def until_ready(folder: StateFolder) -> None:
    deadline = time.monotonic() + 30
    while not json.loads(folder.progress.read_text())["ready"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_environment_is_there_before_anything_is_ready_and_release_ends_all(
    folder: StateFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    leash = launch.start(folder, up=UP)
    assert launch.environment_of(folder)["MONGODB_URI"].startswith("mongodb://127.0.0.1:")
    assert json.loads(folder.progress.read_text())["ready"] is False
    launch.announce(folder)
    launch.announce(folder)
    assert capsys.readouterr().err.count("analyst@fraud-desk.example") == 1
    until_ready(folder)
    second = launch.start(folder, up=UP)
    second.release()
    assert processes.leftovers(folder) != []
    leash.release()
    assert processes.leftovers(folder) == []


def test_the_stack_ends_with_a_holder_that_is_killed(folder: StateFolder) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path), *UP], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    until_ready(folder)
    holder.kill()
    holder.communicate()
    until_ended(folder)


def test_a_missing_mongod_is_told_by_the_page_of_a_desk_that_still_starts(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_DESK_MONGOD", "/nowhere/mongod")
    leash = launch.start(folder, up=UP)
    leash.process.wait(20)
    assert "/nowhere/mongod" in json.loads(folder.progress.read_text())["failed"]
    leash.release()


def test_a_stack_that_cannot_begin_gives_its_reason_and_a_page_to_show_it(folder: StateFolder, tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match="no luck today"):
        launch.start(folder, up=(sys.executable, "-c", "import sys; sys.exit('no luck today')"))
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderUnusable, match="cannot be used"):
        launch.start(StateFolder.at(tmp_path / "file" / "state"), up=UP)
    variables = launch.failed_environment("no luck today")
    progress = json.loads(Path(variables["FRAUD_DESK_SETUP_PROGRESS"]).read_text())
    assert (progress["ready"], progress["failed"]) == (False, "no luck today")
    assert not os.environ.get("FRAUD_DESK_STACK")


def test_screens_that_found_the_stack_take_it_over_when_its_first_holder_ends(folder: StateFolder) -> None:
    first = launch.start(folder, up=UP)
    until_ready(folder)
    second = launch.start(folder, up=UP)
    known = launch.environment_of(folder)
    first.release()
    deadline = time.monotonic() + 40
    while not (processes.leftovers(folder) and json.loads(folder.progress.read_text())["ready"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert launch.environment_of(folder) == known
    second.release()
    assert processes.leftovers(folder) == []
