"""Stream and curator against faults of a lake of their own: these run before the stack of the other fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest


@pytest.fixture(autouse=True, scope="package")
def _own_credentials() -> Iterator[None]:
    """boto3's default session remembers the credentials of whoever made a client first."""
    patch = pytest.MonkeyPatch()
    patch.setattr(boto3, "DEFAULT_SESSION", None)
    yield
    patch.undo()
