"""What `python -m embedded` answers to what it cannot do: a sentence and exit code 2, before anything is started."""

from pathlib import Path

import pytest

from embedded.__main__ import main


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--history", "0"),
        ("--history", "-5"),
        ("--history", "many"),
        ("--history", "1e5"),
        ("--history", "99999999999"),
        ("--rate", "0"),
        ("--rate", "-1"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--rate", "fast"),
        ("--seed", "-1"),
        ("--seed", "2147483648"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["up", "--state", str(tmp_path / "s"), f"{option}={value}"])
    assert ended.value.code == 2
    assert f"argument {option}: '{value}' is not a" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_path_that_can_never_be_a_folder_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for path in ("~no-such-person/state", str(tmp_path / ("a" * 300)), "a\0b"):
        assert main([command, "--state", path]) == 2
        said = capsys.readouterr().err
        assert said.startswith("The state folder ")
        assert said.count("\n") == 1


def test_links_in_a_circle_are_no_state_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert main(["up", "--state", str(tmp_path / "a")]) == 2
    assert "cannot be used" in capsys.readouterr().err


def test_nothing_runs_where_nothing_was_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        assert main(["down", "--state", str(path)]) == 0
        assert main(["status", "--state", str(path), "--json"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert capsys.readouterr().err == ""
