"""`flows` (append-only versions), `flow_fits` (one an experiment) and `frozen_sets` in MongoDB.

Satisfies `services.flows.FlowStore`, `services.flow_scoring.FlowSource` and `services.frozen_sets.FrozenStore`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from services.adapters.mongo.client import Db, Document, in_transaction, translated
from services.adapters.mongo.experiments import write_audit
from services.audit import AuditEntry
from services.errors import Conflict, NotFound
from services.flow_steps import as_json, read_flow
from services.flows import FitOrigin, FlowVersion
from services.frozen_sets import FrozenSet

if TYPE_CHECKING:
    from services.flow_engine import FittedFlow


class MongoFlows:
    """`MongoFlows(db)`. Flows are stored as JSON text: names of columns are no field names."""

    def __init__(self, db: Db) -> None:
        self._db, self._flows, self._fits = db, db["flows"], db["flow_fits"]
        self._of_version: dict[str, FittedFlow | None] = {}

    def add(self, made: FlowVersion, *, audit: AuditEntry) -> None:
        """The id of a version is its place in line: of two who save the same one, the second finds it taken."""
        if made.version > 1:
            self.get(made.flow_id, made.version - 1)

        def work(session: ClientSession) -> None:
            self._flows.insert_one(_flow_document(made), session=session)
            write_audit(self._db, audit, session)

        try:
            in_transaction(self._db, work)
        except DuplicateKeyError as error:
            held = self.get(made.flow_id, made.version)
            raise Conflict(
                f"{held.saved_by} saved version {held.version} of {held.name} at {held.saved_at:%H:%M} UTC; nothing of "
                "yours was saved. Load it, or save yours as a new flow."
            ) from error

    def get(self, flow_id: str, version: int | None = None) -> FlowVersion:
        with translated():
            wanted: Document = {"flow_id": flow_id} | ({} if version is None else {"version": version})
            found = self._flows.find_one(wanted, sort=[("version", -1)])
        if found is None:
            raise NotFound(f"There is no flow {flow_id}{'' if version is None else f' version {version}'}.")
        return _flow(found)

    def newest(self, limit: int) -> tuple[FlowVersion, ...]:
        pipeline: list[Document] = [
            {"$sort": {"version": -1}},
            {"$group": {"_id": "$flow_id", "held": {"$first": "$$ROOT"}}},
            {"$sort": {"held.saved_at": -1, "_id": 1}},
            {"$limit": limit},
        ]
        with translated():
            return tuple(_flow(item["held"]) for item in self._flows.aggregate(pipeline))

    def versions(self, flow_id: str) -> tuple[FlowVersion, ...]:
        with translated():
            return tuple(_flow(item) for item in self._flows.find({"flow_id": flow_id}).sort("version", -1))

    def keep_fit(self, origin: FitOrigin, fitted: FittedFlow) -> None:
        document = {**asdict(origin), "fitted": json.dumps(fitted.as_json())}
        with translated():
            self._fits.replace_one({"_id": origin.experiment_id}, document, upsert=True)

    def of_model(self, model_version: str) -> FittedFlow | None:
        """The flow that a version of the registry was trained with; None where it takes the plan's features.

        A version's flow never changes, so it is read once.
        """
        if model_version not in self._of_version:
            with translated():
                experiments = self._db["experiments"].find({"model_version": model_version}, {"_id": 1})
                made_by = [experiment["_id"] for experiment in experiments]
                found = self._fits.find_one({"_id": {"$in": made_by}}) if made_by else None
            self._of_version[model_version] = _fitted(found) if found else None
        return self._of_version[model_version]

    def recent_versions(self) -> tuple[str, ...]:
        """Versions that were deployed or are being deployed, the last asked for first."""
        with translated():
            cursor = self._db["deployments"].find({}, {"model_version": 1}).sort([("requested_at", -1)]).limit(3)
            return tuple(str(document["model_version"]) for document in cursor)


class MongoFrozenSets:
    """`MongoFrozenSets(db)`."""

    def __init__(self, db: Db) -> None:
        self._db, self._sets = db, db["frozen_sets"]

    def add(self, made: FrozenSet, *, audit: AuditEntry) -> None:
        def work(session: ClientSession) -> None:
            self._sets.insert_one({"_id": made.frozen_id, **asdict(made)}, session=session)
            write_audit(self._db, audit, session)

        try:
            in_transaction(self._db, work)
        except DuplicateKeyError as error:
            if self.get(made.frozen_id).sha256 != made.sha256:
                raise Conflict(
                    f"There is already another training set {made.frozen_id}; nothing was frozen."
                ) from error

    def get(self, frozen_id: str) -> FrozenSet:
        with translated():
            found = self._sets.find_one({"_id": frozen_id})
        if found is None:
            raise NotFound(f"There is no frozen training set {frozen_id}.")
        return _frozen(found)

    def recent(self, limit: int) -> tuple[FrozenSet, ...]:
        with translated():
            cursor = self._sets.find({}).sort([("frozen_at", -1), ("_id", -1)]).limit(limit)
            return tuple(_frozen(document) for document in cursor)


def _fitted(document: Document) -> FittedFlow:
    from services.flow_engine import from_json  # with DuckDB, which nobody needs before there is a flow

    return from_json(json.loads(document["fitted"]))


def _key(flow_id: str, version: int) -> str:
    return f"{flow_id}:{version}"


def _flow_document(made: FlowVersion) -> Document:
    return {
        "_id": _key(made.flow_id, made.version),
        "flow_id": made.flow_id,
        "version": made.version,
        "name": made.name,
        "note": made.note,
        "flow": json.dumps(as_json(made.flow)),
        "saved_by": made.saved_by,
        "saved_at": made.saved_at,
    }


def _flow(document: Document) -> FlowVersion:
    held: dict[str, Any] = {name: value for name, value in document.items() if name not in ("_id", "flow")}
    return FlowVersion(flow=read_flow(document["flow"]), **held)


def _frozen(document: Document) -> FrozenSet:
    held = {name: value for name, value in document.items() if name != "_id"}
    return FrozenSet(**{**held, "features": tuple(document["features"])})
