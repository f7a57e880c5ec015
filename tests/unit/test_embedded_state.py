"""What the embedded stack keeps and tells: folder, ports, environment, progress, logs. Files only, no processes."""

import json
import socket
from pathlib import Path

import pytest

from embedded import environment, logs, ports
from embedded.progress import Progress
from embedded.state_folder import StateFolder, read_json, write_json


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder.at(tmp_path / "state")
    made.prepare()
    return made


def variables(folder: StateFolder) -> dict[str, str]:
    chosen = {"mongod": 1, "s3": 2, "aws": 3, "oidc": 4}
    return environment.build(folder, chosen, environment.load_secrets(folder))


def test_two_spellings_of_a_folder_are_one_stack(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert StateFolder.at(tmp_path / "link" / "a" / ".." / "s") == StateFolder.at(tmp_path / "s")


def test_the_folder_and_its_secrets_are_their_owners_alone(folder: StateFolder) -> None:
    environment.load_secrets(folder)
    environment.load_people(folder)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert {folder.secrets.stat().st_mode & 0o777, folder.people.stat().st_mode & 0o777} == {0o600}


def test_one_holder_of_the_lock_at_a_time(folder: StateFolder) -> None:
    first = folder.try_lock()
    assert first is not None
    assert folder.try_lock() is None
    first.close()
    again = folder.try_lock()
    assert again is not None
    again.close()


def test_a_damaged_file_reads_as_absent_and_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    path.write_text('{"a":')
    assert read_json(path) is None


def test_ports_are_kept_while_free_and_all_different() -> None:
    first = ports.choose(["a", "b", "c"])
    assert len(set(first.values())) == 3
    assert ports.choose(["a", "b", "c"], first) == first
    with socket.create_server((ports.LOOPBACK, first["b"])):
        second = ports.choose(["a", "b", "c"], first)
    assert (second["a"], second["c"]) == (first["a"], first["c"])
    assert second["b"] not in first.values()


def test_secrets_and_people_are_made_once(folder: StateFolder) -> None:
    assert environment.load_secrets(folder) == environment.load_secrets(folder)
    people, first = environment.load_people(folder)
    assert first is True
    assert environment.load_people(folder) == (people, False)
    assert [person.role for person in people] == ["analyst", "manager", "admin"]
    assert len({person.password for person in people}) == 3


def test_a_persons_own_settings_win_over_the_stacks(folder: StateFolder) -> None:
    mine = {"FRAUD_DESK_BUCKET": "mine", "FRAUD_DESK_ENDPOINT": ""}
    environment.adopt(mine, variables(folder))
    assert mine["FRAUD_DESK_BUCKET"] == "mine"
    assert mine["FRAUD_DESK_ENDPOINT"] == "fraud-desk"
    assert mine["MONGODB_URI"] == "mongodb://127.0.0.1:1/?replicaSet=rs0"


def test_credentials_of_a_real_account_never_meet_the_embedded_endpoint(folder: StateFolder) -> None:
    shell = {
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SESSION_TOKEN": "t",
        "AWS_PROFILE": "work",
        "AWS_ENDPOINT_URL_STS": "x",
    }
    for seen in (environment.for_children(shell, variables(folder), folder), dict(shell)):
        environment.adopt(seen, variables(folder))
        assert seen["AWS_ACCESS_KEY_ID"].startswith("FD")
        assert not {"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_STS"} & seen.keys()


def test_an_endpoint_of_the_persons_own_keeps_all_of_their_aws_settings(folder: StateFolder) -> None:
    mine = {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_ACCESS_KEY_ID": "mine", "AWS_PROFILE": "work"}
    environment.adopt(mine, variables(folder))
    assert mine["AWS_ENDPOINT_URL"] == "http://minio:9000"
    assert (mine["AWS_ACCESS_KEY_ID"], mine["AWS_PROFILE"]) == ("mine", "work")
    assert "AWS_ENDPOINT_URL_S3" not in mine


def test_loopback_is_never_asked_of_a_proxy() -> None:
    env = {"HTTP_PROXY": "http://proxy:3128", "no_proxy": "intern.test"}
    environment.bypass_proxy(env)
    assert env["no_proxy"] == "intern.test,127.0.0.1,localhost"
    assert env["NO_PROXY"] == "127.0.0.1,localhost"


def test_progress_says_what_runs_how_far_and_how_long(tmp_path: Path) -> None:
    now = [0.0]
    progress = Progress(tmp_path / "p.json", [("a", "A"), ("z", "Z")], clock=lambda: now[0])
    progress.announce("m", "M", before="z")
    progress.running("a")
    now[0] = 2.0
    progress.done("a")
    progress.running("m", detail="half", fraction=1.5)
    written = json.loads((tmp_path / "p.json").read_text())
    assert [(s["key"], s["state"], s["seconds"], s["fraction"]) for s in written["steps"]] == [
        ("a", "done", 2.0, None),
        ("m", "running", 0.0, 1.0),
        ("z", "waiting", None, None),
    ]
    assert (written["ready"], written["failed"], written["first"]) == (False, None, True)
    progress.fail("no more disk")
    failed = json.loads((tmp_path / "p.json").read_text())
    assert ([s["state"] for s in failed["steps"]], failed["failed"]) == (["done", "failed", "waiting"], "no more disk")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("started\nTraceback (most recent call last):\nValueError: no rows\n\n", "ValueError: no rows"),
        (
            '{"s":"E","msg":"Failed to open","attr":{"error":"disk full"}}\n{"s":"I","msg":"bye"}\n',
            "Failed to open: disk full",
        ),
        ('{"s":"I","msg":"Shutting down"}\n', "Shutting down"),
        ("", ""),
    ],
)
def test_last_words_are_the_reason_not_the_goodbye(tmp_path: Path, text: str, words: str) -> None:
    log = tmp_path / "x.log"
    log.write_text("of a former run\n" + text)
    assert logs.last_words(log, since=len("of a former run\n")) == words


def test_a_log_is_cut_in_place_and_its_former_part_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 100)
        assert logs.rotate(log, max_bytes=200) is False
        assert logs.rotate(log, max_bytes=50) is True
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "x.log.1").read_bytes() == b"a" * 100
