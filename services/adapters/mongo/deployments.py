"""`deployments` and `thresholds` in MongoDB. Satisfies `services.deployment.DeploymentStore`."""

from __future__ import annotations

from dataclasses import replace

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from services.adapters.mongo.client import Db, Document, in_transaction, translated
from services.adapters.mongo.experiments import SLOT, one_at_a_time, write_audit
from services.audit import AuditEntry
from services.deployment import Deployment, DeploymentKind, DeploymentState
from services.domain.thresholds import Thresholds
from services.errors import Conflict
from services.revisions import StaleRevision

_AS_THEY_ARE = (
    "model_version",
    "config_name",
    "requested_by",
    "requested_by_subject",
    "requested_at",
    "reason",
    "former_version",
    "former_config",
    "finished_at",
    "failure",
    "issued_at",
    "note",
    "revision",
)
# Records of before these existed lack them: then they are what the class has by default.
_LATER = ("endpoint_name",)


class MongoDeployments:
    """`MongoDeployments(db)`."""

    def __init__(self, db: Db) -> None:
        self._db, self._deployments = db, db["deployments"]

    def insert(self, deployment: Deployment, *, limits: Thresholds, audit: AuditEntry) -> None:
        one_at_a_time(self._db, "deployments")
        threshold = {
            "model_version": limits.model_version,
            "review": limits.review,
            "decline": limits.decline,
            "effective_at": deployment.requested_at,
            "set_by": deployment.requested_by,
            "reason": f"Suggested by the training of {limits.model_version}",
        }

        def work(session: ClientSession) -> None:
            self._deployments.insert_one(_document(deployment), session=session)
            self._db["thresholds"].update_one(
                {"_id": limits.model_version}, {"$setOnInsert": threshold}, upsert=True, session=session
            )
            write_audit(self._db, audit, session)

        try:
            in_transaction(self._db, work)
        except DuplicateKeyError as error:
            under_way = next(iter(self.active()), None)
            if under_way is None:
                raise Conflict("Another deployment was under way; it has just ended, so try again.") from error
            raise Conflict(
                f"{under_way.requested_by} is deploying {under_way.model_version} since "
                f"{under_way.requested_at:%Y-%m-%d %H:%M} UTC; wait until it has ended."
            ) from error

    def save(self, deployment: Deployment, *, audit: AuditEntry | None = None) -> Deployment:
        saved = replace(deployment, revision=deployment.revision + 1)

        def work(session: ClientSession) -> bool:
            key = {"_id": deployment.deployment_id, "revision": deployment.revision}
            done = self._deployments.replace_one(key, _document(saved), session=session).matched_count == 1
            if done and audit is not None:
                write_audit(self._db, audit, session)
            return done

        if not in_transaction(self._db, work):
            raise StaleRevision(f"{deployment.deployment_id} was changed meanwhile; nothing was written.")
        return saved

    def recent(self, limit: int) -> tuple[Deployment, ...]:
        with translated():
            cursor = self._deployments.find({}).sort([("requested_at", -1), ("_id", -1)]).limit(limit)
            return tuple(_deployment(document) for document in cursor)

    def active(self) -> tuple[Deployment, ...]:
        with translated():
            return tuple(_deployment(document) for document in self._deployments.find({"slot": SLOT}).limit(10))

    def in_service(self, limit: int, endpoint_name: str = "") -> tuple[Deployment, ...]:
        # None also finds the records of before there were other endpoints.
        names = [endpoint_name] if endpoint_name else ["", None]
        key = {"state": str(DeploymentState.IN_SERVICE), "endpoint_name": {"$in": names}}
        with translated():
            cursor = self._deployments.find(key).sort([("finished_at", -1), ("_id", -1)]).limit(limit)
            return tuple(_deployment(document) for document in cursor)


def _document(deployment: Deployment) -> Document:
    document: Document = {name: getattr(deployment, name) for name in (*_AS_THEY_ARE, *_LATER)}
    document |= {"_id": deployment.deployment_id, "kind": str(deployment.kind), "state": str(deployment.state)}
    if not deployment.ended:
        document["slot"] = SLOT
    return document


def _deployment(document: Document) -> Deployment:
    return Deployment(
        deployment_id=document["_id"],
        kind=DeploymentKind(document["kind"]),
        state=DeploymentState(document["state"]),
        **{name: document[name] for name in _AS_THEY_ARE},
        **{name: document[name] for name in _LATER if name in document},
    )
