"""What several kinds of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of every whole desk: the fault tests start on what the end-to-end tests have left, as somebody's
    second start does, and alone they begin from nothing. One after the other; each stops what it started.
    """
    return tmp_path_factory.mktemp("desk") / "state"
