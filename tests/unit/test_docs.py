"""The documents say what the code has: variables (both ways), modules, collections, columns, services; links work."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import get_type_hints

import pyarrow as pa
import pytest

from services import bootstrap, lake_schema
from services.adapters.mongo import schema

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("app.py", "pages", "ui", "services", "workers", "model", "embedded", "bench", "infra")
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
CONTRACTS = (ROOT / "docs" / "contracts.md").read_text()
VARIABLE = re.compile(r"\bFRAUD_DESK_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")


def variables_of_the_code() -> set[str]:
    files = [file for name in PRODUCT for file in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*"))]
    text = "\n".join(file.read_text() for file in files if file.suffix in (".py", ".toml", ".yaml"))
    return set(VARIABLE.findall(text))


def variables_of(*documents: str) -> set[str]:
    return set(VARIABLE.findall("\n".join((ROOT / document).read_text() for document in documents)))


def test_every_variable_the_code_reads_is_in_the_readme_or_the_operations_guide() -> None:
    assert variables_of_the_code() - variables_of("README.md", "docs/operations.md") == set()


def test_every_variable_a_document_names_is_read_by_the_code() -> None:
    named = variables_of(*(str(document.relative_to(ROOT)) for document in DOCUMENTS))
    assert named - variables_of_the_code() == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere_and_modules_exist(document: Path) -> None:
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []
    modules = set(re.findall(r"python -m ((?:services|workers|embedded|bench)(?:\.\w+)*)", text))
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()
    paths = set(re.findall(r"`((?:pages|ui|services|workers|model|embedded|bench|infra|mappings)/[\w./-]*)`", text))
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_the_contracts_name_every_collection() -> None:
    assert {name for name in schema.COLLECTIONS if f"`{name}`" not in CONTRACTS} == set()


@pytest.mark.parametrize("table", [lake_schema.TRANSACTIONS, lake_schema.LABELS], ids=["transactions", "labels"])
def test_the_contracts_name_every_column_of_the_lake(table: pa.Schema) -> None:
    lake = CONTRACTS.partition("Lake table")[2].partition("## Features")[0]
    assert {name for name in table.names if not re.search(rf"\b{name}\b", lake)} == set()


def test_the_contracts_name_every_service() -> None:
    names = {field.name for field in dataclasses.fields(bootstrap.Services)}
    assert {name for name in names if not re.search(rf"\b{name}\b", CONTRACTS)} == set()


def test_every_call_in_the_contracts_is_there() -> None:
    kinds = {name: kind for name, kind in get_type_hints(bootstrap.Services).items() if isinstance(kind, type)}
    calls = re.findall(rf"\b({'|'.join(kinds)})\.([a-z_]+)\(", CONTRACTS.partition("## Services")[2])
    assert len(calls) > 50
    assert [f"{name}.{call}" for name, call in calls if not hasattr(kinds[name], call)] == []
