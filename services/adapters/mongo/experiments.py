"""`experiments` in MongoDB. Satisfies `services.training.ExperimentStore`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from services.adapters.mongo.audit import audit_entry
from services.adapters.mongo.client import Db, Document, in_transaction, translated
from services.audit import AuditEntry
from services.errors import Conflict, NotFound
from services.revisions import StaleRevision
from services.training import Autopilot, Candidate, Experiment, ExperimentState, TimelineEntry

# Only a document that is under way has `slot`; a unique index on it makes "one at a time" hold between processes.
SLOT = "under_way"
_AS_THEY_ARE = (
    "name",
    "requested_by",
    "requested_by_subject",
    "requested_at",
    "window_start",
    "window_end",
    "label_cutoff",
    "method",
    "finished_at",
    "training_job",
    "rows",
    "positives",
    "model_version",
    "package_arn",
    "artifact_uri",
    "failure",
    "note",
    "snapshot_id",
    "labels_snapshot_id",
    "stop_requested_by",
    "revision",
)
# Records of before these existed lack them: then they are what the class has by default.
_LATER = ("target", "endpoint_name", "auto_deploy", "deployment_id", "frozen", "frozen_sha256", "young")


class MongoExperiments:
    """`MongoExperiments(db)`."""

    def __init__(self, db: Db) -> None:
        self._db, self._experiments = db, db["experiments"]

    def insert(self, experiment: Experiment, *, audit: AuditEntry) -> None:
        one_at_a_time(self._db, "experiments")
        try:
            in_transaction(self._db, lambda session: self._insert(_document(experiment), audit, session))
        except DuplicateKeyError as error:
            under_way = next(iter(self.active()), None)
            if under_way is None:
                raise Conflict("Another experiment was under way; it has just ended, so try again.") from error
            raise Conflict(
                f"{under_way.name} ({under_way.experiment_id}) is {under_way.state}, requested by "
                f"{under_way.requested_by} at {under_way.requested_at:%H:%M} UTC; wait for it or stop it."
            ) from error

    def _insert(self, document: Document, audit: AuditEntry, session: ClientSession) -> None:
        self._experiments.insert_one(document, session=session)
        write_audit(self._db, audit, session)

    def save(self, experiment: Experiment, *, audit: AuditEntry | None = None) -> Experiment:
        saved = replace(experiment, revision=experiment.revision + 1)

        def work(session: ClientSession) -> bool:
            key = {"_id": experiment.experiment_id, "revision": experiment.revision}
            done = self._experiments.replace_one(key, _document(saved), session=session).matched_count == 1
            if done and audit is not None:
                write_audit(self._db, audit, session)
            return done

        if not in_transaction(self._db, work):
            raise StaleRevision(f"{experiment.name} was changed meanwhile; nothing was written.")
        return saved

    def get(self, experiment_id: str) -> Experiment:
        with translated():
            found = self._experiments.find_one({"_id": str(experiment_id)})
        if found is None:
            raise NotFound(f"There is no experiment {experiment_id}.")
        return _experiment(found)

    def recent(self, limit: int) -> tuple[Experiment, ...]:
        with translated():
            cursor = self._experiments.find({}).sort([("requested_at", -1), ("_id", -1)]).limit(limit)
            return tuple(_experiment(document) for document in cursor)

    def active(self) -> tuple[Experiment, ...]:
        with translated():
            return tuple(_experiment(document) for document in self._experiments.find({"slot": SLOT}).limit(10))


def one_at_a_time(db: Db, collection: str) -> None:
    """Make sure of the unique index; creating an index that exists is a no-op of one round trip."""
    with translated():
        db[collection].create_index(
            "slot", name="one_at_a_time", unique=True, partialFilterExpression={"slot": {"$exists": True}}
        )


def write_audit(db: Db, audit: AuditEntry, session: ClientSession) -> None:
    """Insert the entry under its own deterministic id, in the caller's transaction."""
    entry = audit_entry(
        at=audit.at,
        actor=audit.actor,
        action=audit.action,
        object_id=audit.object,
        before=dict(audit.before),
        after=dict(audit.after),
        outcome=audit.outcome,
    )
    db["audit"].insert_one(entry | {"_id": audit.entry_id}, session=session)


def _document(experiment: Experiment) -> Document:
    document: Document = {name: getattr(experiment, name) for name in (*_AS_THEY_ARE, *_LATER)}
    document |= {
        "_id": experiment.experiment_id,
        "state": str(experiment.state),
        "timeline": [{"at": e.at, "state": str(e.state), "message": e.message} for e in experiment.timeline],
        "hyperparameters": _pairs(experiment.hyperparameters),
        "metrics": _pairs(experiment.metrics),
        "features": list(experiment.features),
        "flow": list(experiment.flow) if experiment.flow else None,
        "autopilot": asdict(experiment.autopilot) if experiment.autopilot else None,
        "candidates": [asdict(c) | {"metrics": _pairs(c.metrics)} for c in experiment.candidates],
    }
    if not experiment.finished:
        document["slot"] = SLOT
    return document


def _experiment(document: Document) -> Experiment:
    flow = document.get("flow")
    return Experiment(
        experiment_id=document["_id"],
        state=ExperimentState(document["state"]),
        timeline=tuple(TimelineEntry(e["at"], e["state"], e["message"]) for e in document["timeline"]),
        hyperparameters=_mapping(document["hyperparameters"]),
        metrics=_mapping(document["metrics"]),
        features=tuple(document.get("features") or ()),
        flow=(str(flow[0]), int(flow[1])) if flow else None,
        autopilot=Autopilot(**document["autopilot"]) if document.get("autopilot") else None,
        candidates=tuple(
            Candidate(**c | {"metrics": _mapping(c["metrics"])}) for c in document.get("candidates") or ()
        ),
        **{name: document[name] for name in _AS_THEY_ARE},
        **{name: document[name] for name in _LATER if name in document},
    )


def _pairs(mapping: Mapping[str, Any]) -> list[Document]:
    """A list, because metric names such as `validation:aucpr.mean` are no field names."""
    return [{"name": name, "value": value} for name, value in mapping.items()]


def _mapping(pairs: list[Document]) -> dict[str, Any]:
    return {pair["name"]: pair["value"] for pair in pairs}
