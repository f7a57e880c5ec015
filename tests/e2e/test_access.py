"""Who is not signed in sees nothing, on a server that has served nobody yet; who lacks the role is refused."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from bench.desk import Desk, free_port
from bench.websocket import reruns
from ui.navigation import SCREENS

PATHS = tuple(screen.path for screen in SCREENS)


class FreshServers:
    """Servers on the desk's state folder that nobody has asked anything yet.

    To start takes longer than to be asked once, so that the next ones start while one is looked at.
    """

    AHEAD = 2

    def __init__(self, state: Path, count: int) -> None:
        self._pool = ThreadPoolExecutor(self.AHEAD)
        self._state, self._left = state, count
        self._coming: deque[Future[Desk]] = deque()
        for _ in range(self.AHEAD):
            self._start_one()

    def _start_one(self) -> None:
        if self._left:
            self._left -= 1
            self._coming.append(self._pool.submit(self._started))

    def _started(self) -> Desk:
        server = Desk.start(self._state, port=free_port())
        try:
            server.wait_answering()
        except BaseException:
            end(server)
            raise
        return server

    def take(self) -> Desk:
        """A server that answers; the caller ends it."""
        coming = self._coming.popleft()
        self._start_one()
        return coming.result()

    def close(self) -> None:
        self._left = 0
        self._pool.shutdown()
        for coming in self._coming:
            if coming.exception() is None:
                end(coming.result())


def end(server: Desk) -> None:
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture(scope="module")
def fresh_servers(desk: Desk, request: pytest.FixtureRequest) -> Iterator[FreshServers]:
    wanted = sum("fresh_servers" in item.fixturenames for item in request.session.items)
    servers = FreshServers(desk.state, wanted)
    yield servers
    servers.close()


@pytest.mark.parametrize("path", PATHS)
def test_the_first_request_of_a_fresh_server_is_an_anonymous_deep_link_and_is_refused(
    fresh_servers: FreshServers, path: str
) -> None:
    """A fresh server a page: until its navigation has run once, Streamlit would serve pages/ without the gate."""
    fresh = fresh_servers.take()
    try:
        (run,) = asyncio.run(reruns(fresh.port, path, count=1))
        said = " ".join(run.texts)
        assert "Review the riskiest card payments first" in said
        assert run.exceptions == 0
        assert not re.search(r"alerts|verdict first|bps|EUR|serves|experiment|tx-", said)
    finally:
        end(fresh)


def test_a_deep_link_survives_signing_in(desk: Desk, chromium: Any) -> None:
    page = chromium.new_context().new_page()
    page.goto(f"{desk.url}/fraud_rates")
    page.get_by_role("button", name="Sign in").click()
    person = desk.people()["manager"]
    page.locator("#email").fill(person["email"])
    page.locator("#password").fill(person["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/fraud_rates"))
    expect(page.get_by_role("heading", name="Where does fraud happen")).to_be_visible(timeout=30_000)
    page.context.close()


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("analyst", "retrain"),
        ("analyst", "deploy"),
        ("manager", "import_data"),
        ("analyst", "kpis"),
        ("manager", "deploy"),
    ],
)
def test_a_role_without_the_permission_is_refused_in_words(desk: Desk, signed_in: Any, role: str, path: str) -> None:
    page = signed_in(role)
    page.goto(f"{desk.url}/{path}")
    expect(page.get_by_text(re.compile("role", re.I)).first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Start training|Deploy v"))).to_have_count(0)


def test_state_secrets_are_readable_by_their_owner_only(desk: Desk) -> None:
    for name in ("people.json", "environment.json", "secrets.json"):
        assert Path(desk.state, name).stat().st_mode & 0o077 == 0
