"""Pages run whole, from the entry script, over an in-memory desk put in at the one seam: `wiring.services`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from tests.pages import fakes
from ui import wiring

MAIN = Path(__file__).resolve().parents[2] / "ui" / "main.py"
Open = Callable[..., AppTest]


@pytest.fixture(scope="session", autouse=True)
def _packages_are_looked_through_once() -> Iterator[None]:
    """AppTest looks through every installed package for components before each page: nine tenths of a test's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The services of one test; nothing cached survives into the next."""
    monkeypatch.setenv("MONGODB_URI", "mongodb://127.0.0.1:1")
    monkeypatch.setenv("FRAUD_DESK_BUCKET", "test")
    monkeypatch.delenv("FRAUD_DESK_SETUP_PROGRESS", raising=False)
    st.cache_resource.clear()
    made = fakes.desk()
    monkeypatch.setattr(wiring, "services", lambda: made)
    monkeypatch.setattr(wiring, "BACK_OFF_SECONDS", 0.0)
    yield made
    st.cache_resource.clear()


def claims(role: str | None, *, expires_in: float = 3600.0) -> dict[str, Any]:
    """What st.user holds for somebody with this role; None for somebody who has not signed in."""
    if role is None:
        return {"is_logged_in": False}
    return {
        "is_logged_in": True,
        "sub": f"s-{role}",
        "name": f"{role.title()} Person",
        "email": f"{role}@example.org",
        "exp": int(time.time() + expires_in),
        "fraud_desk_role": role,
    }


@pytest.fixture
def open_page(desk: Any) -> Open:
    """open_page(role, path, **query): the page at that address, as this role sees it."""

    def opened(role: str | None, path: str, *, user: dict[str, Any] | None = None, **query: str) -> AppTest:
        at = AppTest.from_file(str(MAIN), default_timeout=20)
        at.user = claims(role) if user is None else user
        at.query_params.update(query)
        at._page_hash = calc_hash(path)
        return at.run()

    return opened


def text_of(at: AppTest) -> str:
    """Everything readable on the screen, for asking whether a sentence is there."""
    kinds = ("title", "markdown", "caption", "warning", "error", "info", "text", "subheader", "header")
    parts = [str(element.value) for kind in kinds for element in getattr(at, kind)]
    return "\n".join(parts).replace("\\", "")


def failed(at: AppTest) -> list[str]:
    """Uncaught exceptions and the sentences of bugs: empty on a healthy screen."""
    return [str(e.value) for e in at.exception] + [e.value for e in at.error if "reference" in str(e.value)]
