"""A browser for screenshots, benchmarks and end-to-end tests: the system's, else one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No background traffic of the browser's own, and no sandbox where we are root (as in a container).
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=Translate,OptimizationHints",
)


class NoBrowser(Exception):
    """There is no Chromium here and none could be installed; the message says what to install."""


def executable() -> str:
    """The path of a Chromium or Chrome, installing one when there is none (Playwright's own, or Debian's as root)."""
    if found := _installed():
        return found
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False, capture_output=True)
    if found := _installed():
        return found
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"check": False, "capture_output": True, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], **quiet)  # type: ignore[call-overload]
        if found := _installed():
            return found
    raise NoBrowser(
        "No Chromium or Chrome was found and none could be installed: install one "
        "('apt-get install chromium' as root, or 'python -m playwright install chromium')."
    )


def _installed() -> str | None:
    for name in SYSTEM:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = executable()
    flags = [*FLAGS, "--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else list(FLAGS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield started
        finally:
            started.close()


def sign_in(page: Page, url: str, email: str, password: str) -> None:
    """From any page of the desk at `url`, anonymous, to the same page signed in."""
    page.goto(url)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#email").fill(email)
    page.locator("#password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_test_id("stSidebarNav").wait_for(timeout=60_000)
