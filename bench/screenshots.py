"""Every screen in light and dark, signed in as each role, from a running desk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.browser import browser, sign_in
from bench.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

VIEW: ViewportSize = {"width": 1366, "height": 768}
# role -> the screens in its navigation; the transaction screen is opened from an alert.
SCREENS = {
    "analyst": ("queue", "transaction", "live_scoring"),
    "manager": ("queue", "kpis", "fraud_rates", "loop_health"),
    "admin": (
        "queue",
        "live_scoring",
        "kpis",
        "fraud_rates",
        "loop_health",
        "import_data",
        "training_data",
        "retrain",
        "backtest",
        "deploy",
    ),
}
# What stays on a finished page: no skeletons, no running script.
_BUSY = '[data-testid="stSkeleton"], [data-testid="stStatusWidget"], [data-stale="true"]'


class NoFolder(Exception):
    """The message says why there is no place for the pictures."""


def take(out: str, state: str | None = None) -> Iterator[Path]:
    """Start a desk (or use the one of `state`), take every picture, yield its path as it is written."""
    folder = folder_for(out)
    own = tempfile.mkdtemp(prefix="fraud-desk-pictures-") if state is None else None
    desk = Desk.start(Path(state or f"{own}/state"))
    try:
        with browser() as chromium:
            desk.wait_answering()
            if own:
                yield from _starting(chromium, desk, folder)
            desk.wait_ready()
            risky = _riskiest(desk)
            for scheme in ("light", "dark"):
                yield from _anonymous(chromium, desk, folder, scheme)
                for role, screens in SCREENS.items():
                    context = chromium.new_context(viewport=VIEW, color_scheme=scheme)
                    page = context.new_page()
                    person = desk.people()[role]
                    sign_in(page, desk.url, person["email"], person["password"])
                    for screen in screens:
                        query = f"?id={risky}" if screen == "transaction" else ""
                        yield picture(page, f"{desk.url}/{screen}{query}", folder / f"{role}-{screen}-{scheme}.png")
                    context.close()
    finally:
        desk.stop()
        if own:
            shutil.rmtree(own, ignore_errors=True)


def folder_for(out: str) -> Path:
    """The folder of the pictures, made if need be. Raises NoFolder for a place where none can be."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file of that name is there" if isinstance(error, FileExistsError) else error.strerror
        raise NoFolder(f"No picture was taken: {out} cannot be a folder ({reason}); give another --out.") from error
    return folder


def picture(page: Page, url: str, path: Path, *, full_page: bool = False) -> Path:
    page.goto(url)
    settle(page)
    page.screenshot(path=path, full_page=full_page)
    return path


def settle(page: Page, seconds: float = 45) -> None:
    """Wait until the page has content and nothing on it is loading."""
    # The first container may be an invisible one (a bound value, a style): it is there, which is what counts.
    first = page.locator('[data-testid="stMain"] [data-testid="stElementContainer"]').first
    first.wait_for(state="attached", timeout=seconds * 1000)
    page.wait_for_timeout(800)
    page.wait_for_function(f"document.querySelectorAll('{_BUSY}').length === 0", timeout=seconds * 1000)
    page.wait_for_timeout(400)


def _starting(chromium: object, desk: Desk, folder: Path) -> Iterator[Path]:
    for scheme in ("light", "dark"):
        page = chromium.new_context(viewport=VIEW, color_scheme=scheme).new_page()  # type: ignore[attr-defined]
        page.goto(desk.url)
        page.wait_for_timeout(4000)
        path = folder / f"anonymous-starting-{scheme}.png"
        page.screenshot(path=path)
        page.context.close()
        yield path


def _anonymous(chromium: object, desk: Desk, folder: Path, scheme: str) -> Iterator[Path]:
    page = chromium.new_context(viewport=VIEW, color_scheme=scheme).new_page()  # type: ignore[attr-defined]
    yield picture(page, desk.url, folder / f"anonymous-landing-{scheme}.png")
    page.get_by_role("button", name="Sign in").click()
    page.locator("#email").wait_for()
    path = folder / f"anonymous-sign-in-{scheme}.png"
    page.screenshot(path=path)
    page.context.close()
    yield path


def _riskiest(desk: Desk) -> str:
    """The id of the riskiest open alert, read as the desk reads it."""
    from services import bootstrap
    from services.settings import Settings
    from services.transactions import QueueFilter, QueueView, Sort

    services = bootstrap.build(Settings.from_environment(desk.stack_environment()))
    try:
        for view in (QueueView.OPEN_ALERTS, QueueView.ALL):
            rows = services.transactions.page(QueueFilter(view=view), sort=Sort.RISK, limit=1).rows
            if rows:
                return rows[0].transaction_id
    finally:
        services.close()
    raise RuntimeError("The desk has no scored transaction to show.")
