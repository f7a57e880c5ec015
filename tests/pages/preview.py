"""Look at the screens without a stack: the in-memory desk behind the real entry script.

    PREVIEW_ROLE=analyst streamlit run tests/pages/preview.py --server.port 8599

PREVIEW_ROLE may also be anonymous. A new risky transaction arrives every few seconds. This lives under tests/ because
nothing in the product can be switched to anything but its real services.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("MONGODB_URI", "mongodb://127.0.0.1:1")
os.environ.setdefault("FRAUD_DESK_BUCKET", "preview")

import streamlit as st  # noqa: E402

from services.access import Actor, Role  # noqa: E402
from tests.pages import fakes, fakes_admin  # noqa: E402
from ui import session, wiring  # noqa: E402

role = os.environ.get("PREVIEW_ROLE", "analyst")
services = fakes_admin.equip(fakes.desk())


def _keep_arriving() -> None:
    while True:
        time.sleep(float(os.environ.get("PREVIEW_SECONDS", "6")))
        services.store.arrive()
        flag = Path(os.environ.get("PREVIEW_DOWN_FILE", "/nonexistent"))
        services.faults.down = {"MongoDB"} if flag.exists() else set()


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    person: session.Session = session.SignedOut(None)
    if role != "anonymous":
        person = session.SignedIn(Actor("preview", "Ada Lovelace", Role(role)), "ada@example.org")
    wiring.services = lambda: services
    session.current = lambda: person
    threading.Thread(target=_keep_arriving, daemon=True).start()
    yield


app = st.App(ROOT / "ui" / "main.py", lifespan=lifespan)
