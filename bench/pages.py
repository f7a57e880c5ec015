"""Rerun time of every page over the websocket, beside a minimal page served by the same Streamlit in the same run.

Goal: p95 of each page at most 100 ms, with the stack's live traffic running on the same machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.browser import browser, sign_in
from bench.desk import ROOT, Desk, clean_environment, free_port
from bench.report import Figure, figure, median, percentile
from bench.screenshots import _riskiest
from bench.websocket import reruns

GOAL_MS = 100.0
RERUNS = 40
WARM_UP = 5
# A person does not press keys back to back; a short pause also lets background refreshes happen as they do in use.
THINK_SECONDS = 0.15
PAGES = {
    "queue": "analyst",
    "transaction": "analyst",
    "live_scoring": "analyst",
    "kpis": "manager",
    "fraud_rates": "manager",
    "import_data": "admin",
    "training_data": "admin",
    "retrain": "admin",
    "backtest": "admin",
    "deploy": "admin",
    "loop_health": "admin",
}
_MINIMAL = """
import gc, contextlib
import streamlit as st
@contextlib.asynccontextmanager
async def lifespan(app):
    gc.collect(); gc.freeze()
    yield {}
app = st.App("page.py", lifespan=lifespan)
"""


def run() -> list[Figure]:
    """BENCH_STATE names a state folder to use; without it a new desk is set up first and removed afterwards."""
    kept = os.environ.get("BENCH_STATE")
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-pages-"))
    desk = Desk.start(Path(kept) if kept else folder / "state")
    try:
        desk.wait_ready()
        with _minimal_page(folder) as minimal_port:
            return _measure(desk, minimal_port)
    finally:
        desk.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(desk: Desk, minimal_port: int) -> list[Figure]:
    cookies = _cookies(desk)
    risky = _riskiest(desk)
    figures = []
    for page, role in PAGES.items():
        query = f"id={risky}" if page == "transaction" else ""
        # The minimal page is measured around each page, so that both see the same state of the machine.
        plain = _times(minimal_port, "")
        times = _times(desk.port, page, query=query, cookies=cookies[role])
        plain += _times(minimal_port, "")
        ours = percentile(times, 0.95)
        figures.append(
            figure(
                f"{page} rerun p95 (p50 {median(times):.0f} ms)",
                ours,
                "ms",
                peer="minimal page p95",
                peer_value=percentile(plain, 0.95),
                goal=f"<= {GOAL_MS:.0f} ms",
                holds=ours <= GOAL_MS,
            )
        )
    return figures


def _times(port: int, page: str, *, query: str = "", cookies: dict[str, str] | None = None) -> list[float]:
    done = asyncio.run(
        reruns(port, page, count=RERUNS + WARM_UP, query=query, cookies=cookies, think_seconds=THINK_SECONDS)
    )
    broken = sum(one.exceptions for one in done)
    if broken:
        raise RuntimeError(f"The page {page} showed {broken} exceptions.")
    return [one.ms for one in done[WARM_UP:]]


def _cookies(desk: Desk) -> dict[str, dict[str, str]]:
    """The browser's cookies after signing in as each role."""
    out = {}
    with browser() as chromium:
        for role, person in desk.people().items():
            context = chromium.new_context()
            page = context.new_page()
            sign_in(page, desk.url, person["email"], person["password"])
            out[role] = {str(c["name"]): str(c["value"]) for c in context.cookies()}
            context.close()
    return out


@contextmanager
def _minimal_page(folder: Path) -> Iterator[int]:
    (folder / "app.py").write_text(_MINIMAL)
    (folder / "page.py").write_text("import streamlit as st\nst.write('hello')\n")
    (folder / ".streamlit").mkdir(exist_ok=True)
    shutil.copy(ROOT / ".streamlit" / "config.toml", folder / ".streamlit" / "config.toml")
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)
