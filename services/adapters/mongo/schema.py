"""Collections and indexes of the desk. `ensure` is idempotent and safe to run from several processes at once."""

from __future__ import annotations

from pymongo import ASCENDING as UP
from pymongo import DESCENDING as DOWN
from pymongo import IndexModel
from pymongo.errors import CollectionInvalid

from services.adapters.mongo.client import Db, translated

# The stream reads post-images: without them a replay after a crash would read a later state of the document.
_WITH_IMAGES = ("transactions", "labels")
_PLAIN = (
    "case_events",
    "entities",
    "thresholds",
    "experiments",
    "flows",
    "flow_fits",
    "frozen_sets",
    "training_data_jobs",
    "deployments",
    "audit",
    "workers",
    "positions",
    "imports",
    "scoring_runs",
    "score_writes",
)
COLLECTIONS = (*_WITH_IMAGES, *_PLAIN)

_ALERTED = {"alert.status": {"$exists": True}}
_LABELLED = {"label.value": {"$exists": True}}

# Each index names the question it answers. Sorts end in _id so that a page boundary is never ambiguous.
_INDEXES: dict[str, list[IndexModel]] = {
    "transactions": [
        IndexModel([("event_time", DOWN), ("_id", DOWN)], name="newest"),
        IndexModel([("customer_id", UP), ("event_time", DOWN)], name="customer_history"),
        IndexModel([("card.last4", UP), ("event_time", DOWN)], name="search_last4"),
        IndexModel([("score.value", DOWN), ("_id", DOWN)], name="riskiest"),
        IndexModel([("amount_minor", DOWN), ("_id", DOWN)], name="dearest"),
        IndexModel([("score.scored_at", UP), ("history", UP), ("received_at", UP)], name="waiting_for_a_score"),
        IndexModel(
            [("alert.status", UP), ("score.value", DOWN), ("_id", DOWN)],
            name="alerts_riskiest",
            partialFilterExpression=_ALERTED,
        ),
        IndexModel(
            [("alert.status", UP), ("alert.due_at", UP), ("_id", UP)],
            name="alerts_due",
            partialFilterExpression=_ALERTED,
        ),
        IndexModel([("label.labelled_at", DOWN), ("_id", DOWN)], name="decided", partialFilterExpression=_LABELLED),
    ],
    "labels": [IndexModel([("transaction_id", UP), ("labelled_at", UP)], name="of_transaction")],
    "case_events": [IndexModel([("transaction_id", UP), ("at", UP)], name="of_transaction")],
    "experiments": [IndexModel([("requested_at", DOWN)], name="newest")],
    "deployments": [IndexModel([("requested_at", DOWN)], name="newest")],
    "audit": [IndexModel([("at", DOWN)], name="newest")],
    "scoring_runs": [
        IndexModel([("subject", UP), ("started_at", DOWN), ("_id", DOWN)], name="of_person"),
        IndexModel(
            [("active", UP)], name="one_a_person", unique=True, partialFilterExpression={"active": {"$exists": True}}
        ),
    ],
    "imports": [IndexModel([("fingerprint", UP), ("started_at", DOWN)], name="of_file")],
}


def ensure(db: Db) -> None:
    """Create what is missing. Raises Unavailable when MongoDB does not answer."""
    with translated():
        existing = set(db.list_collection_names())
        for name in COLLECTIONS:
            if name in existing:
                continue
            try:
                if name in _WITH_IMAGES:
                    db.create_collection(name, changeStreamPreAndPostImages={"enabled": True})
                else:
                    db.create_collection(name)
            except CollectionInvalid:
                pass  # another process created it in between
        for name in _WITH_IMAGES:
            if name in existing:
                db.command("collMod", name, changeStreamPreAndPostImages={"enabled": True})
        for name, indexes in _INDEXES.items():
            db[name].create_indexes(indexes)
