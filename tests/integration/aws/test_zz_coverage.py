"""Runs last: every operation the server offers must have been called with success and its answer checked."""

from __future__ import annotations

import pytest

import embedded.aws.app  # noqa: F401 - registers the operations
from embedded.aws.registry import OPERATIONS
from tests.integration.aws.answers import EXERCISED


def test_every_operation_was_exercised_and_its_answer_checked(request: pytest.FixtureRequest) -> None:
    modules = {item.module.__name__.rpartition(".")[2] for item in request.session.items}
    needed = {"test_auto_ml", "test_endpoints", "test_functions", "test_registry", "test_training_jobs"}
    if not needed <= modules:
        pytest.skip("needs the whole folder")
    assert sorted(set(OPERATIONS) - EXERCISED) == []
