"""Which model decides: asking for a version to be deployed or rolled back, and seeing what the endpoint really runs.

This module only requests and reads; `workers.lifecycle` changes the endpoint. Request, thresholds of the version and
audit entry are one database transaction, and at most one deployment is under way. What serves is told by the endpoint
itself (`current`), not by our records: they only say which version a configuration stands for and what is pending.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.access import Actor, Permission, require
from services.audit import AuditEntry
from services.domain.money import mask_card_numbers
from services.domain.thresholds import Thresholds
from services.errors import Conflict, InvalidData, NotFound, Unavailable
from services.models import ModelVersion, thresholds
from services.worker_status import utc_now


class DeploymentKind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class DeploymentState(StrEnum):
    REQUESTED = "requested"
    UPDATING = "updating"
    IN_SERVICE = "in_service"
    FAILED = "failed"


ENDED = frozenset({DeploymentState.IN_SERVICE, DeploymentState.FAILED})
NOT_CREATED = "NotCreated"
UNKNOWN = "Unknown"
CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


@dataclass(frozen=True, slots=True)
class Deployment:
    """One change of an endpoint. `issued_at` is when the endpoint was told; `note` what it is waiting for.

    `endpoint_name` is empty for the desk's own, which scores live transactions; others only answer whoever calls them.
    former_version/former_config are what our records had in service when this was requested (None: nothing).
    """

    deployment_id: str
    model_version: str
    kind: DeploymentKind
    state: DeploymentState
    config_name: str
    requested_by: str
    requested_at: datetime
    reason: str
    former_version: str | None = None
    former_config: str | None = None
    finished_at: datetime | None = None
    failure: str | None = None
    issued_at: datetime | None = None
    note: str | None = None
    requested_by_subject: str = ""
    endpoint_name: str = ""
    revision: int = 1

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class EndpointDescription:
    """DescribeEndpoint. `config_name` is the configuration that serves (not the pending one)."""

    name: str
    status: str
    config_name: str
    changed_at: datetime
    pending_config: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What a person should know of the endpoint now.

    status: SageMaker's word (InService, Updating, ...), NotCreated before the first deployment, Unknown when not
    `reachable`; model_version is then the last one known to serve.
    """

    name: str
    status: str
    model_version: str | None
    config_name: str | None
    changed_at: datetime | None
    pending_version: str | None
    failure: str | None
    reachable: bool


class DeploymentStore(Protocol):
    def insert(self, deployment: Deployment, *, limits: Thresholds, audit: AuditEntry) -> None:
        """All or nothing; thresholds already there for the version stay. Conflict when one is under way."""
        ...

    def save(self, deployment: Deployment, *, audit: AuditEntry | None = None) -> Deployment:
        """Replace revision n by n + 1 and return it; StaleRevision when the stored one is no longer n."""
        ...

    def recent(self, limit: int) -> tuple[Deployment, ...]: ...

    def active(self) -> tuple[Deployment, ...]: ...

    def in_service(self, limit: int, endpoint_name: str = "") -> tuple[Deployment, ...]:
        """Deployments that reached that endpoint (empty: the desk's own), the latest finished first."""
        ...


class Endpoints(Protocol):
    def describe_endpoint(self, name: str) -> EndpointDescription:
        """NotFound, Unavailable."""
        ...


class Versions(Protocol):
    def get(self, version: str) -> ModelVersion: ...


class DeploymentService:
    """`DeploymentService(store=MongoDeployments(db), endpoints=SageMaker(..), models=Models(..), endpoint_name=n)`."""

    def __init__(
        self,
        *,
        store: DeploymentStore,
        endpoints: Endpoints,
        models: Versions,
        endpoint_name: str,
        features_version: str = "",
        clock: Callable[[], datetime] = utc_now,
        token: Callable[[], str] = lambda: secrets.token_hex(2),
    ) -> None:
        """`features_version` is what this desk computes; a model of other features cannot score its transactions."""
        self._features_version = features_version
        self._store, self._endpoints, self._models, self._name = store, endpoints, models, endpoint_name
        self._clock, self._token = clock, token

    def deploy(self, model_version: str, *, reason: str, actor: Actor, endpoint_name: str = "") -> str:
        """Ask for a registered version to serve; returns the deployment's id.

        Another endpoint than the desk's is made or changed beside it; live transactions go on being scored by the
        desk's. Raises NotFound (no such version), Conflict (one under way, or it already serves), InvalidData (no
        reason, or a version without usable thresholds), Denied.
        """
        require(actor, Permission.DEPLOY)
        other = "" if endpoint_name == self._name else endpoint_name
        serving = next(iter(self._store.in_service(1, other)), None)
        if serving is not None and serving.model_version == model_version:
            where = f" on {other}" if other else ""
            raise Conflict(f"{model_version} is already in service{where}, since {_when(serving.finished_at)}.")
        return self._request(
            model_version, DeploymentKind.DEPLOY, serving, None, reason=reason, actor=actor, endpoint_name=other
        )

    def roll_back(self, *, reason: str, actor: Actor) -> str:
        """Ask for the version before the one in service, with its own configuration; returns the deployment's id.

        Rolling back twice returns to where it began: it undoes the last change. Raises Conflict when there is nothing
        to go back to or a deployment is under way; InvalidData; Denied.
        """
        require(actor, Permission.DEPLOY)
        served = self._store.in_service(50)
        if not served:
            raise Conflict("Nothing has been deployed yet, so there is nothing to roll back to.")
        former = next((d for d in served if d.model_version != served[0].model_version), None)
        if former is None:
            raise Conflict(f"{served[0].model_version} is the first version in service; there is none before it.")
        return self._request(
            former.model_version, DeploymentKind.ROLLBACK, served[0], former.config_name, reason=reason, actor=actor
        )

    def _request(
        self,
        version: str,
        kind: DeploymentKind,
        serving: Deployment | None,
        config_name: str | None,
        *,
        reason: str,
        actor: Actor,
        endpoint_name: str = "",
    ) -> str:
        reason = mask_card_numbers(reason.strip())
        if not 3 <= len(reason) <= 500:
            raise InvalidData("Say in 3 to 500 characters why.")
        model = self._models.get(version)
        review, decline = thresholds(model)
        if not endpoint_name:
            self._check_features(model)
        now = self._clock()
        deployment_id = f"dep-{now:%Y%m%d-%H%M}-{self._token()}"
        deployment = Deployment(
            deployment_id=deployment_id,
            model_version=version,
            kind=kind,
            state=DeploymentState.REQUESTED,
            config_name=config_name or f"fraud-desk-{version}-{deployment_id}",
            requested_by=actor.name,
            requested_by_subject=actor.subject,
            requested_at=now,
            reason=reason,
            former_version=serving.model_version if serving else None,
            former_config=serving.config_name if serving else None,
            endpoint_name=endpoint_name,
        )
        audit = AuditEntry(
            entry_id=f"{deployment_id}:deployment.{kind}",
            at=now,
            actor=actor,
            action=f"deployment.{kind}",
            object=deployment_id,
            before={"model_version": deployment.former_version},
            after={
                "model_version": version,
                "reason": reason,
                "review": review,
                "decline": decline,
                "endpoint_name": endpoint_name or self._name,
            },
            outcome="requested",
        )
        self._store.insert(deployment, limits=Thresholds(version, review, decline), audit=audit)
        return deployment_id

    def _check_features(self, model: ModelVersion) -> None:
        ours, theirs = self._features_version, model.features_version
        if ours and theirs and ours != theirs:
            raise InvalidData(
                f"{model.model_version} takes features of version {theirs} and this desk computes version {ours}: it "
                "could score nothing. What serves stays in service; train a model on today's features."
            )

    def history(self, limit: int = 20) -> tuple[Deployment, ...]:
        """Newest first."""
        return self._store.recent(min(max(limit, 1), 200))

    def current(self) -> EndpointState:
        """The desk's own endpoint as it is; a silent one is an answer. Raises Unavailable only for our own records."""
        recent = tuple(d for d in self._store.recent(50) if not d.endpoint_name)
        served = self._store.in_service(50)
        pending = next((d.model_version for d in recent if not d.ended), None)
        failure = recent[0].failure if recent and recent[0].state is DeploymentState.FAILED else None
        last = served[0] if served else None
        try:
            endpoint = self._endpoints.describe_endpoint(self._name)
        except NotFound:
            return EndpointState(self._name, NOT_CREATED, None, None, None, pending, failure, reachable=True)
        except Unavailable as error:
            return EndpointState(
                self._name,
                UNKNOWN,
                last.model_version if last else None,
                last.config_name if last else None,
                last.finished_at if last else None,
                pending,
                error.message,
                reachable=False,
            )
        serves = endpoint.status not in {"Creating", "Failed", "Deleting", "OutOfService"}
        return EndpointState(
            self._name,
            endpoint.status,
            version_of(endpoint.config_name, (*recent, *served)) if serves else None,
            endpoint.config_name,
            endpoint.changed_at,
            pending,
            failure or endpoint.failure,
            reachable=True,
        )


def version_of(config_name: str, known: tuple[Deployment, ...] = ()) -> str | None:
    """The version a configuration serves: from our records, else from its name, else None (not made by the desk)."""
    for deployment in known:
        if deployment.config_name == config_name:
            return deployment.model_version
    found = re.fullmatch(r"fraud-desk-(v\d+)-dep-[\w-]+", config_name)
    return found[1] if found else None


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "an unknown time"
