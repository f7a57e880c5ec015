"""One real desk for all end-to-end tests: `streamlit run app.py` on a fresh state folder, with a smaller history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from playwright.sync_api import expect

from bench.browser import browser, sign_in
from bench.desk import Desk

HISTORY = "20000"


# Two cores run the browser, the desk and its whole stack: patience costs nothing when all is well.
expect.set_options(timeout=30_000)


@pytest.fixture
def chromium() -> Iterator[Any]:
    """The system's Chromium or Chrome, installed if there is none; never skipped (bench.browser.NoBrowser says why).

    One a test: while a browser is driven its event loop holds the main thread, and other tests need it for theirs.
    """
    with browser() as started:
        yield started


@pytest.fixture(scope="package")
def desk(state_folder: Path) -> Iterator[Desk]:
    """The desk from nothing: set up, trained, deployed, with live traffic."""
    started = Desk.start(state_folder, extra={"FRAUD_DESK_HISTORY": HISTORY, "FRAUD_DESK_RATE": "2"})
    try:
        started.wait_ready(280)
        yield started
    finally:
        started.stop()


@pytest.fixture
def signed_in(desk: Desk, chromium: Any) -> Iterator[Callable[[str], Any]]:
    """signed_in("analyst") -> a page of a browser of their own, on their home screen."""
    contexts = []

    def open_as(role: str, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": 1366, "height": 768}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        person = desk.people()[role]
        sign_in(page, desk.url, person["email"], person["password"])
        return page

    yield open_as
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def stack(desk: Desk) -> Any:
    """The services of the running desk, as its own processes see them."""
    from services import bootstrap
    from services.adapters.mongo.client import connect
    from services.settings import Settings
    from tests.young_desk import review_a_fifth

    patch = pytest.MonkeyPatch()
    patch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the credentials of whoever made a client first
    for name, value in desk.stack_environment().items():
        patch.setenv(name, value)
    settings = Settings.from_environment()
    with closing(connect(settings).client) as client:
        review_a_fifth(client[settings.database])
    built = bootstrap.build(settings)
    yield built
    built.close()
    patch.undo()
