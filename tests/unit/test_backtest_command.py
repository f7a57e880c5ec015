"""`python -m services backtest` from a CSV to JSON, as somebody types it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.__main__ import main
from tests.unit import small_portfolio

DATES = ["--from", "2024-02-12", "--to", "2024-02-18", "--train-days", "21"]


def write(folder: Path, made: dict[str, list[object]]) -> list[str]:
    """The arguments for a CSV of these columns and its mapping."""
    data, mapping = folder / "payments.csv", folder / "map.toml"
    with data.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(made)
        writer.writerows(zip(*made.values(), strict=True))
    mapping.write_text(small_portfolio.MAPPING)
    return ["backtest", str(data), "--mapping", str(mapping), *DATES]


def test_a_file_is_backtested_and_told_as_json(tmp_path: Path) -> None:
    arguments = write(tmp_path, small_portfolio.columns())
    done = subprocess.run(
        [sys.executable, "-m", "services", *arguments, "--json", "--progress", "--label-days", "1", "--threads", "1"],
        capture_output=True,
        text=True,
        timeout=240,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["mean"].keys() == told["spread"].keys() == {"auc", "ap", "cp100", "value_detection_rate"}
    assert told["request"]["label_days"] == 1.0
    assert told["folds"][0]["test_to"] == "2024-02-18"
    assert {segment["dimension"] for segment in told["segments"]} == {"Amount", "Kind of shop"}
    steps = [json.loads(line) for line in done.stderr.splitlines()]
    assert steps[0] == {"step": "Reading the transactions", "share": 0.0}
    assert steps[-1]["share"] == 1.0


def test_a_leak_prints_the_figures_and_ends_with_another_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = small_portfolio.columns()
    made["kind"] = ["paid back" if fraud else "kept" for fraud in made["fraud"]]
    assert main([*write(tmp_path, made), "--threads", "1"]) == 3
    out, err = capsys.readouterr()
    assert "mean" in out
    assert "Not believable (columns): The column kind alone finds frauds" in err


def test_what_cannot_be_tested_is_one_sentence_and_nothing_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write(tmp_path, small_portfolio.columns(days=20, a_day=5))
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "the transactions are of 2024-01-01" in err
