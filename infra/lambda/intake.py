"""Lambda: the front door. A thin skin over `services.intake` (the deployment package carries `services`).

Event `{"transactions": [...], "source": [...], "reports": [...]}`; each may be absent. `transactions` are the desk's
own records, `source` rows in the columns that its mapping names, whose ids are told. Answer `{"statusCode", "body"}`:
200 all kept, 207 some refused or known, 400 nothing kept, 503 the database did not answer (send the same again).
"""

from __future__ import annotations

import gc
import logging
from typing import Any

from services.adapters.mongo.client import connect
from services.adapters.mongo.intake import MongoIntakeStore
from services.domain.mapping import desk_mapping
from services.domain.transaction_rules import rules_of
from services.errors import Unavailable
from services.intake import Intake, IntakeResult, SourceReader
from services.settings import Settings
from services.worker_status import utc_now

logger = logging.getLogger(__name__)
# Built once per execution environment; MongoClient keeps its pool between invocations.
_settings = Settings.from_environment()
_store = MongoIntakeStore(connect(_settings, app="fraud-desk-intake"))
_mapping = desk_mapping(_settings.mapping)


def _source() -> SourceReader | None:
    if _mapping is None:
        return None
    from services.mapped_rows import SourceRows  # Arrow and NumPy, which a door without a mapping starts without

    return SourceRows(_mapping, _settings.token_key.encode() or None)


_intake = Intake(_store, rules_of(_mapping), _source())

# What was loaded stays for the life of the execution environment: no collection looks through it in mid-event.
gc.freeze()


def handler(event: Any, context: object) -> dict[str, Any]:
    if not isinstance(event, dict) or not {"transactions", "source", "reports"} & event.keys():
        return _answer(400, error="Send an object with `transactions`, `source` and/or `reports`, each a list.")
    for key in ("transactions", "source", "reports"):
        if not isinstance(event.get(key, []), list):
            return _answer(400, error=f"`{key}` must be a list.")
    now = utc_now()
    try:
        results = []
        if "transactions" in event:
            results.append(_intake.submit(event["transactions"], received_at=now))
        if "source" in event:
            results.append(_intake.submit_source(event["source"], received_at=now))
        if "reports" in event:
            results.append(_intake.report(event["reports"], received_at=now))
    except Unavailable as error:
        logger.warning("intake unavailable: %s", error.dependency)
        return _answer(503, error=f"{error.message} Send the same batch again; what was kept will count as known.")
    return _summary(results)


def _summary(results: list[IntakeResult]) -> dict[str, Any]:
    accepted = sum(r.accepted for r in results)
    duplicates = sum(r.duplicates for r in results)
    refused = sum(r.refused for r in results)
    status = 200 if not refused else 207 if accepted or duplicates else 400
    problems = [{"row": p.row, "field": p.field, "message": p.message} for r in results for p in r.problems]
    sentences = [r.sentence for r in results if r.sentence]
    ids = [identifier for r in results for identifier in r.ids]
    return _answer(
        status,
        accepted=accepted,
        duplicates=duplicates,
        refused=refused,
        error=" ".join(sentences) or None,
        problems=problems[:1000],
        **({"ids": ids} if ids else {}),
    )


def _answer(status: int, **body: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"accepted": 0, "duplicates": 0, "refused": 0, "error": None, "problems": []}
    return {"statusCode": status, "body": base | body}
