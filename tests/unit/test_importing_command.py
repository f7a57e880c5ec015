"""The import command where there is nothing to import into or from: one sentence, and what was kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.__main__ import main
from services.domain.mapping import read_mapping
from services.importing_command import other_mapping
from tests import column_sets

HANDBOOK = str(Path(__file__).parents[2] / "mappings" / "handbook.toml")


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50")
    monkeypatch.setenv("FRAUD_DESK_BUCKET", "unused")


def said(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_mapping_that_is_not_there_is_a_sentence(capsys):
    assert main(["import", "any.csv", "--mapping", "/nowhere/gone.toml"]) == 1
    assert said(capsys) == "The mapping gone.toml cannot be read (No such file or directory).\n"


def test_a_date_that_is_none_is_refused_before_anything(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["import", "any.csv", "--mapping", HANDBOOK, "--score-since", "soon"])
    assert ended.value.code == 2
    assert "'soon' is no date" in said(capsys)


def test_a_short_key_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("FRAUD_DESK_TOKEN_KEY", "short")
    assert main(["import", "any.csv", "--mapping", HANDBOOK]) == 2
    assert "FRAUD_DESK_TOKEN_KEY must have at least 16 characters" in said(capsys)


def test_a_file_of_other_columns_than_the_desks_is_noticed(tmp_path):
    paysim, handbook = column_sets.mapping("paysim"), column_sets.ROOT / "mappings" / "handbook.toml"
    assert "works by the demo's columns, not by PaySim" in other_mapping(paysim, None)
    assert "works by the mapping Fraud Detection Handbook" in other_mapping(paysim, handbook)
    assert other_mapping(read_mapping(handbook), handbook) is None
