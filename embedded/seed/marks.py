"""What the set-up remembers of itself in the collection `setup`: the plan, and which phases are done.

Imports nothing heavy: a desk that is set up must notice it at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import ReturnDocument

from services.adapters.mongo.client import Db

PROJECT = Path(__file__).resolve().parents[2]
LAMBDA_SOURCES = PROJECT / "infra" / "lambda"
# What a function needs to know of the installation. Region and credentials are the function's own: Lambda sets them.
_PASSED = (
    *("MONGODB_URI", "FRAUD_DESK_", "AWS_ENDPOINT_URL", "AWS_REQUEST_CHECKSUM", "AWS_RESPONSE_CHECKSUM"),
    *("NO_PROXY", "no_proxy"),
)
# The sign-in's secrets and the supervisor's own variables are none of a function's business.
_KEPT_BACK = ("SECRET", "TOKEN_KEY", "OIDC", "STATE", "STACK", "SETUP")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made. Fixed by the first run; later runs finish this one, whatever they were called with."""

    history: int
    seed: int
    until: datetime


class Marks:
    def __init__(self, db: Db) -> None:
        self.db = db
        self._setup = db["setup"]

    def plan(self, *, history: int, seed: int) -> Plan:
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        wanted = {"history": history, "seed": seed, "until": now}
        found = self._setup.find_one_and_update(
            {"_id": "plan"}, {"$setOnInsert": wanted}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert found is not None, "an upsert answers with the document"
        return Plan(found["history"], found["seed"], found["until"])

    def world(self) -> tuple[int, int] | None:
        """(transactions of history, seed) of the world that was set up, or None where none was."""
        found = self._setup.find_one({"_id": "plan"})
        return (found["history"], found["seed"]) if found else None

    def done(self, phase: str) -> bool:
        return self._setup.find_one({"_id": f"phase:{phase}", "done_at": {"$exists": True}}) is not None

    def finish(self, phase: str, *, seconds: float, **detail: Any) -> None:
        values = {"done_at": datetime.now(UTC), "seconds": round(seconds, 2), "detail": detail}
        self._setup.update_one({"_id": f"phase:{phase}"}, {"$set": values}, upsert=True)

    def detail(self, phase: str) -> Mapping[str, Any]:
        found = self._setup.find_one({"_id": f"phase:{phase}"}) or {}
        detail: Mapping[str, Any] = found.get("detail", {})
        return detail


def function_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables a function gets. PYTHONPATH: the functions are thin skins over `services` of this project."""
    source = os.environ if env is None else env
    kept = {
        name: value
        for name, value in source.items()
        if name.startswith(_PASSED) and not any(word in name for word in _KEPT_BACK)
    }
    return kept | {"PYTHONPATH": str(PROJECT)}


def functions_fingerprint() -> str:
    """Changes whenever the functions' code or environment does, for instance after an upgrade or on other ports."""
    digest = hashlib.sha256()
    for source in sorted(LAMBDA_SOURCES.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for name, value in sorted(function_environment().items()):
        digest.update(f"{name}={value}\0".encode())
    return digest.hexdigest()
