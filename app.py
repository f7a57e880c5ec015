"""`streamlit run app.py` starts the desk.

An ASGI launcher, not a page: with a script as entry point Streamlit would serve the files of pages/ by itself, past the
sign-in, until the script's navigation has run once. The script is ui/main.py, beside which there is no such folder.

With MONGODB_URI unset the services come along: `embedded` starts them as supervised children, or finds them running,
and what it says in environment.json becomes this process's environment before anything reads it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from streamlit import config

from services.errors import ServiceError
from ui.middleware import Edge
from ui.startup import is_ready

MIN_COOKIE_SECRET = 32
SIGN_IN = ("FRAUD_DESK_OIDC_METADATA_URL", "FRAUD_DESK_OIDC_CLIENT_ID", "FRAUD_DESK_OIDC_CLIENT_SECRET",
           "FRAUD_DESK_COOKIE_SECRET")  # fmt: skip
# Streamlit puts the port that it really listens on in the place of {port}.
PUBLIC_URL = os.environ.get("FRAUD_DESK_PUBLIC_URL", "http://127.0.0.1:{port}").rstrip("/")


def start_services() -> Any:
    """Bring the embedded stack to life unless the person has a database; returns what keeps it alive, or None."""
    if os.environ.get("MONGODB_URI"):
        return None
    from embedded import launch
    from embedded.environment import adopt
    from embedded.state_folder import StateFolder

    try:
        folder = StateFolder.at()
        leash = launch.start(folder)
    except ServiceError as error:
        print(error.message, file=sys.stderr, flush=True)
        os.environ.update(launch.failed_environment(error.message))
        return None
    adopt(os.environ, launch.environment_of(folder))
    launch.announce(folder)
    return leash


def sign_in_settings() -> dict[str, Any]:
    """Streamlit's [auth] section from our variables; empty where an operator keeps it in secrets.toml."""
    metadata = os.environ.get("FRAUD_DESK_OIDC_METADATA_URL")
    if not metadata:
        return {}
    return {
        "auth": {
            "redirect_uri": f"{PUBLIC_URL}/oauth2callback",
            "cookie_secret": os.environ.get("FRAUD_DESK_COOKIE_SECRET", ""),
            "client_id": os.environ.get("FRAUD_DESK_OIDC_CLIENT_ID", ""),
            "client_secret": os.environ.get("FRAUD_DESK_OIDC_CLIENT_SECRET", ""),
            "server_metadata_url": metadata,
        }
    }


def missing_for_sign_in(secrets: dict[str, Any]) -> list[str]:
    """The identity provider's variables that are not set; none where an operator keeps them in secrets.toml."""
    if not secrets:
        if "FRAUD_DESK_SETUP_PROGRESS" in os.environ:
            return []  # the embedded stack could not be started: nobody signs in, the page says why
        with suppress(FileNotFoundError):
            if "auth" in st.secrets:
                return []
    return [name for name in SIGN_IN if not os.environ.get(name)]


def refuse_unsafe(secrets: dict[str, Any]) -> None:
    """End with a sentence rather than serve with a protection switched off."""
    problems = [
        f"{option} must not be switched off"
        for option in ("server.enableXsrfProtection", "server.enableCORS")
        if not config.get_option(option)
    ]
    if str(config.get_option("client.showErrorDetails")).lower() not in ("none", "false"):
        problems.append('client.showErrorDetails must be "none"')
    if missing := missing_for_sign_in(secrets):
        problems.append(f"nobody could sign in: set {', '.join(missing)}")
    elif secrets and len(secrets["auth"]["cookie_secret"]) < MIN_COOKIE_SECRET:
        problems.append(f"FRAUD_DESK_COOKIE_SECRET must have at least {MIN_COOKIE_SECRET} characters")
    if problems:
        sys.exit(f"Fraud Desk does not start: {'; '.join(problems)}.")


async def warm_up() -> None:
    """At once what needs nobody, and once the stack is set up what needs it."""
    # Imported in the thread: it brings half of the product along, which must not keep the first page waiting.
    warm = await asyncio.to_thread(importlib.import_module, "ui.warm")
    await asyncio.to_thread(warm.modules_and_clients)
    while not ready():
        await asyncio.sleep(0.5)
    await asyncio.to_thread(warm.first_answers)


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    warming = asyncio.create_task(warm_up())
    try:
        yield
    finally:
        warming.cancel()
        await asyncio.wait([warming])
        if services is not None:
            await asyncio.to_thread(services.release)


def ready() -> bool:
    """Whether people can work: nothing to set up here, or it is set up."""
    progress = os.environ.get("FRAUD_DESK_SETUP_PROGRESS")
    return progress is None or is_ready(Path(progress))


async def readyz(request: Request) -> JSONResponse:
    """For load balancers: 200 once people can sign in, 503 while the first start is under way."""
    answer = ready()
    return JSONResponse({"ready": answer}, status_code=200 if answer else 503)


services = start_services()
settings = sign_in_settings()
refuse_unsafe(settings)
app = st.App(
    "ui/main.py",
    secrets=settings,
    lifespan=lifespan,
    middleware=[Middleware(Edge, public_url=PUBLIC_URL)],
    routes=[Route("/readyz", readyz)],
)
