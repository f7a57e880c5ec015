"""One stack, one desk in front of it, one person of each role signed in, for every kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from bench.browser import browser, sign_in
from bench.desk import Desk as Screens
from services.adapters.mongo.cases import MongoCaseStore
from services.adapters.mongo.client import connect
from services.adapters.mongo.intake import MongoIntakeStore
from services.adapters.mongo.transactions import MongoTransactionStore
from services.cases import Cases
from services.intake import Intake
from services.settings import Settings
from services.transactions import Transactions
from tests.faults.checks import Desk
from tests.faults.load import Load
from tests.faults.stack import Stack
from tests.faults.viewer import Viewer
from tests.young_desk import review_a_fifth

# Enough of it that the later part of the first training window has frauds whatever the day.
HISTORY, RATE, SEED = 20_000, 2.0, 20260601


@pytest.fixture(scope="package")
def stack(state_folder: Path) -> Iterator[Stack]:
    started = Stack(state_folder, history=HISTORY, rate=RATE)
    try:
        started.up()
        yield started
    finally:
        started.down()


@pytest.fixture(scope="package")
def screens(stack: Stack) -> Iterator[Screens]:
    started = Screens.start(stack.state)
    try:
        started.wait_ready(60)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="package")
def settings(stack: Stack) -> Iterator[Settings]:
    """The stack's environment is this process's while the tests run."""
    patch = pytest.MonkeyPatch()
    patch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the credentials of whoever made a client first
    for name, value in stack.environment().items():
        patch.setenv(name, value)
    yield Settings.from_environment()
    patch.undo()


@pytest.fixture(scope="package")
def desk(settings: Settings, screens: Screens) -> Iterator[Desk]:
    """After the screens, and so closed before them: with them the stack may end, and to leave a dead one takes 20 s."""
    db = connect(settings, timeout_seconds=20)
    yield Desk(settings, db)
    db.client.close()


@pytest.fixture(scope="package")
def load(settings: Settings, desk: Desk) -> Iterator[Load]:
    db = connect(settings)
    review_a_fifth(db)
    transactions, cases = Transactions(MongoTransactionStore(db)), Cases(MongoCaseStore(db))
    intake = Intake(MongoIntakeStore(db))
    yield Load(transactions, cases, intake, region=settings.region, function=settings.intake_function, seed=SEED)
    db.client.close()


@pytest.fixture(scope="package")
def cookies(screens: Screens) -> dict[str, dict[str, str]]:
    """What the browser of each role holds after signing in."""
    out = {}
    with browser() as chromium:
        for role, person in screens.people().items():
            context = chromium.new_context()
            sign_in(context.new_page(), screens.url, person["email"], person["password"])
            out[role] = {str(c["name"]): str(c["value"]) for c in context.cookies()}
            context.close()
    return out


@pytest.fixture
def open_page(screens: Screens, cookies: dict[str, dict[str, str]]) -> Iterator[Callable[[str, str], Viewer]]:
    """open_page("analyst", "queue"): the page in a session of its own, looked at once."""
    opened: list[Viewer] = []

    def open_as(role: str, page: str) -> Viewer:
        viewer = Viewer(screens.port, page, cookies[role])
        opened.append(viewer)
        viewer.look()
        return viewer

    yield open_as
    for viewer in opened:
        viewer.close()
