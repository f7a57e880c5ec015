"""The command line of the embedded stack, as a person and as a fault use it. Real stores, a worker of a few lines."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from embedded import processes
from embedded.state_folder import PROJECT, StateFolder, write_json

PROGRAM = [sys.executable, "-m", "tests.integration.supervised_stack"]


class Stack:
    """Starts `up` as often as asked, and ends what is left of it when the test is over."""

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder
        self.ups: list[subprocess.Popen[str]] = []

    def up(self, *options: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PROGRAM, "up", "--state", str(self.folder.path), *options],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.ups.append(process)
        return process

    def ready(self, *options: str) -> dict[str, Any]:
        process = self.up(*options)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return json.loads(line)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*PROGRAM, *arguments, "--state", str(self.folder.path)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)

    def status(self) -> dict[str, Any]:
        return json.loads(self.call("status", "--json").stdout)

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def close(self) -> None:
        self.call("down")
        for process in self.ups:
            process.kill()
            process.communicate()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(StateFolder.at(tmp_path / "state"))
    yield made
    made.close()


def until(true: Callable[[], Any], within_s: float = 15.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def keep(summary: dict[str, Any]) -> None:
    """Write a document that must not be lost."""
    with MongoClient(summary["mongodb_uri"], serverSelectionTimeoutMS=5000) as client:
        client.test.kept.insert_one({"_id": 1})


def kept(summary: dict[str, Any]) -> bool:
    with MongoClient(summary["mongodb_uri"], serverSelectionTimeoutMS=5000) as client:
        return client.test.kept.count_documents({}) == 1


def test_up_status_and_down(stack: Stack) -> None:
    up = stack.up()
    until(stack.folder.environment.exists, within_s=2.0)
    assert up.stdout is not None
    summary = json.loads(up.stdout.readline())
    assert set(summary) == {"mongodb_uri", "s3_endpoint", "aws_endpoint", "oidc_issuer", "bucket", "endpoint_name"}

    found = stack.status()
    assert found["ready"] is True
    assert [(p["name"], p["state"], p["restarts"]) for p in found["processes"]] == [
        ("mongod", "running", 0),
        ("s3", "running", 0),
        ("worker", "running", 0),
    ]
    assert (found["transactions"], found["scored"], found["labelled"]) == (0, 0, 0)
    assert (found["lake_rows"], found["endpoint"]) == (None, None)

    progress = json.loads(stack.folder.progress.read_text())
    assert progress["ready"] is True
    assert [step["key"] for step in progress["steps"]] == ["stores", "services", "workers", "history", "live"]
    for secret in (stack.folder.people, stack.folder.secrets, stack.folder.environment, stack.folder.control):
        assert secret.stat().st_mode & 0o777 == 0o600

    assert stack.call("down").returncode == 0
    rest, said = up.communicate(timeout=10)
    assert (up.returncode, rest) == (0, "")
    people = json.loads(stack.folder.people.read_text())["people"]
    assert all(said.count(person["password"]) == 1 for person in people)
    assert processes.leftovers(stack.folder) == []
    assert stack.call("down").returncode == 0
    assert stack.status()["ready"] is False


def test_a_second_up_finds_the_first_and_leaving_it_ends_nothing(stack: Stack) -> None:
    summary = stack.ready()
    before = stack.pids()
    assert stack.ready() == summary
    second = stack.ups[1]
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=10) == 0
    assert stack.pids() == before
    third = stack.up()
    until(lambda: third.stdout and third.stdout.readline())
    stack.call("down")
    assert third.wait(timeout=10) == 0


def test_up_after_kill_9_of_everything_keeps_data_addresses_and_sign_ins(stack: Stack) -> None:
    summary = stack.ready()
    keep(summary)
    people = stack.folder.people.read_text()
    for pid in (stack.ups[0].pid, *stack.pids().values()):
        os.kill(pid, signal.SIGKILL)
    assert stack.ready() == summary
    assert kept(summary)
    assert stack.folder.people.read_text() == people
    assert people.splitlines()[3] not in stack.ups[0].communicate()[1]
    assert (stack.folder.path / "seeded.times").read_text() == "xx"


def test_the_processes_end_with_a_killed_supervisor_and_up_cleans_up_one_that_cannot(stack: Stack) -> None:
    stack.ready()
    pids = stack.pids()
    os.kill(pids["worker"], signal.SIGSTOP)
    # Until it has really stopped, the SIGTERM of its parent's death can still overtake the SIGSTOP.
    until(lambda: Path(f"/proc/{pids['worker']}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    stack.ups[0].kill()
    until(lambda: processes.leftovers(stack.folder) == [pids["worker"]])
    stack.ready()
    assert processes.identify(pids["worker"]) is None


@pytest.mark.parametrize("name", ["mongod", "s3", "worker"])
def test_a_killed_process_is_started_again(stack: Stack, name: str) -> None:
    summary = stack.ready()
    keep(summary)
    before = stack.pids()
    os.kill(before[name], signal.SIGKILL)
    until(lambda: stack.pids()[name] not in (None, before[name]))
    until(lambda: stack.status()["ready"])
    (again,) = [p for p in stack.status()["processes"] if p["name"] == name]
    assert (again["restarts"], again["last_error"]) == (1, "killed by SIGKILL")
    assert kept(summary)


def test_without_restart_the_dead_stay_dead_until_the_next_up(stack: Stack) -> None:
    summary = stack.ready("--no-restart")
    os.kill(stack.pids()["s3"], signal.SIGKILL)
    until(lambda: [p["state"] for p in stack.status()["processes"]] == ["running", "failed", "running"])
    assert stack.status()["ready"] is False
    assert stack.ready() == summary
    assert stack.status()["ready"] is True


def test_ports_that_somebody_took_are_replaced_and_the_data_stays(stack: Stack) -> None:
    first = stack.ready()
    keep(first)
    stack.call("down")
    ports = json.loads(stack.folder.ports.read_text())
    with socket.socket() as mongod, socket.socket() as s3:
        for taken, port in ((mongod, ports["mongod"]), (s3, ports["s3"])):
            # Connections of a moment ago may linger on the port: they must not keep us off, but we keep others off.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        second = stack.ready()
        assert second["mongodb_uri"] != first["mongodb_uri"]
        assert second["s3_endpoint"] != first["s3_endpoint"]
        assert second["oidc_issuer"] == first["oidc_issuer"]
        assert kept(second)


def test_a_strangers_process_with_a_number_we_once_used_is_left_alone(stack: Stack) -> None:
    stack.folder.prepare()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        who = processes.identify(stranger.pid)
        assert who is not None
        ours = {"pid": stranger.pid, "started": who.started, "command": ["mongod", "--port", "1"]}
        earlier = {"pid": stranger.pid, "started": "12", "command": ["sleep", "60"]}
        write_json(stack.folder.children, [ours, earlier])
        assert processes.leftovers(stack.folder) == []
        stack.ready()
        assert stranger.poll() is None
        stack.call("down")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_stack_ends_when_whoever_holds_its_leash_is_gone(stack: Stack) -> None:
    ours, theirs = socket.socketpair()
    up = stack.up("--leash", str(theirs.fileno()), pass_fds=(theirs.fileno(),))
    theirs.close()
    assert ours.recv(64) == b"environment\n"
    assert stack.folder.environment.exists()
    until(lambda: json.loads(stack.folder.progress.read_text())["ready"])
    ours.close()
    assert up.wait(timeout=15) == 0
    assert processes.leftovers(stack.folder) == []


def test_a_set_up_that_fails_says_why_and_the_next_up_tries_again(stack: Stack) -> None:
    stack.folder.prepare()
    (stack.folder.path / "no-seed").touch()
    up = stack.up()
    out, said = up.communicate(timeout=30)
    assert (up.returncode, out) == (1, "")
    assert "there is no history to seed" in said.splitlines()[-1]
    progress = json.loads(stack.folder.progress.read_text())
    assert (progress["ready"], "there is no history to seed" in progress["failed"]) == (False, True)
    (stack.folder.path / "no-seed").unlink()
    stack.ready()


def test_a_process_that_crashes_again_and_again_is_given_up_with_its_last_words(stack: Stack) -> None:
    stack.folder.prepare()
    (stack.folder.path / "crash").touch()
    os.environ["FRAUD_DESK_TEST_BACKOFF"] = "0.05"
    try:
        up = stack.up()
        _, said = up.communicate(timeout=60)
    finally:
        del os.environ["FRAUD_DESK_TEST_BACKOFF"]
    assert up.returncode == 1
    assert "The worker does not start: exit code 1: the worker has no bread" in said.splitlines()[-1]


def test_a_state_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stack = Stack(StateFolder.at(tmp_path / "file" / "state"))
    failed = stack.call("up")
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr.count("\n") == 1
    assert "cannot be used (Not a directory)" in failed.stderr


def test_a_missing_mongod_is_one_sentence(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_DESK_MONGOD", "/nowhere/mongod")
    failed = stack.call("up")
    assert failed.returncode == 2
    assert "FRAUD_DESK_MONGOD is /nowhere/mongod" in failed.stderr.splitlines()[-1]
    assert "FRAUD_DESK_MONGOD" in json.loads(stack.folder.progress.read_text())["failed"]
