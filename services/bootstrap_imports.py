"""The wiring of imports from the screen: a connection of their own, more patient than a screen's."""

from __future__ import annotations

from services.adapters.mongo import schema
from services.adapters.mongo.client import connect
from services.adapters.mongo.imports import MongoImports
from services.importing_desk import Imports
from services.settings import Settings
from services.worker_status import utc_now

_PATIENT_SECONDS = 20.0


def build(settings: Settings) -> Imports:
    db = connect(settings, timeout_seconds=_PATIENT_SECONDS, app="fraud-desk-import")
    return Imports(
        MongoImports(db),
        clock=utc_now,
        token_key=settings.token_key.encode() or None,
        mapping_file=settings.mapping,
        ensure=lambda: schema.ensure(db),
        on_close=db.client.close,
    )
