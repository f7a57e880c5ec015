"""One deployment, one step at a time: approve, make model and configuration, tell the endpoint, watch it.

Every step finds out first whether it was done already, so being killed between any two statements costs nothing: the
next run looks at SageMaker, not at what it remembers. Names carry version and deployment, so they cannot be mistaken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.access import system
from services.audit import AuditEntry
from services.deployment import (
    CHANGING,
    Deployment,
    DeploymentState,
    DeploymentStore,
    EndpointDescription,
    version_of,
)
from services.errors import Conflict, NotFound, ServiceError, Unavailable
from services.models import ModelVersion
from services.revisions import StaleRevision
from workers.lifecycle_ports import EndpointControl, Serving, Versions

ACTOR = system("lifecycle")
# After the endpoint was told, DescribeEndpoint may show the former state for a moment; longer means it went back.
SETTLE = timedelta(seconds=30)
CLOCK_SKEW = timedelta(seconds=2)


class DeploymentSteps:
    def __init__(
        self,
        *,
        store: DeploymentStore,
        control: EndpointControl,
        models: Versions,
        serving: Serving,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._control, self._models, self._serving = store, control, models, serving
        self._clock = clock

    def step(self, deployment: Deployment) -> Deployment:
        """Do the next thing.

        Raises Unavailable and StaleRevision: call again later, nothing is lost. Every other refusal ends it as failed.
        """
        try:
            if deployment.state is DeploymentState.REQUESTED:
                return self._prepare(deployment)
            return self._drive(deployment)
        except (Unavailable, StaleRevision):
            raise
        except ServiceError as error:
            return self.fail(deployment, error.message)

    def wait(self, deployment: Deployment, note: str) -> Deployment:
        """Say what it is waiting for; written only when that changed."""
        return deployment if deployment.note == note else self._store.save(replace(deployment, note=note))

    def fail(self, deployment: Deployment, reason: str) -> Deployment:
        """End it, saying what serves now."""
        failure = f"{reason.rstrip('.')}. {self._what_serves(deployment)}"
        return self._end(deployment, DeploymentState.FAILED, failure=failure)

    def _prepare(self, deployment: Deployment) -> Deployment:
        model = self._models.get(deployment.model_version)
        why = f"Deployed by {deployment.requested_by} ({deployment.deployment_id}): {deployment.reason}"
        if model.approval_status != "Approved":
            self._control.approve_package(model.package_arn, description=why)
        name = self._ensure_model(model)
        self._ensure_config(deployment.config_name, model_name=name)
        return self._store.save(replace(deployment, state=DeploymentState.UPDATING, note=None))

    def _ensure_model(self, model: ModelVersion) -> str:
        name = f"{self._serving.package_group}-{model.model_version}"
        environment = {
            "FRAUD_DESK_MODEL_VERSION": model.model_version,
            "SAGEMAKER_PROGRAM": "inference.py",
            # The artifact carries its serving code, as it was when it was trained.
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        }
        try:
            self._control.create_model(
                name,
                image=model.image or self._serving.image,
                artifact_uri=model.artifact_uri,
                environment=environment,
                role_arn=self._serving.role_arn,
            )
        except Conflict:
            held = self._control.model_artifact(name)
            if held != model.artifact_uri:
                raise Conflict(
                    f"A model named {name} exists with other contents ({held}); nothing was changed."
                ) from None
        return name

    def _ensure_config(self, config_name: str, *, model_name: str) -> None:
        try:
            self._control.create_endpoint_config(
                config_name, model_name=model_name, instance_type=self._serving.instance_type
            )
        except Conflict:
            held = self._control.endpoint_config_model(config_name)
            if held != model_name:
                raise Conflict(f"The configuration {config_name} exists for another model ({held}).") from None

    def _drive(self, deployment: Deployment) -> Deployment:
        name, ours = deployment.endpoint_name or self._serving.endpoint_name, deployment.config_name
        try:
            endpoint = self._control.describe_endpoint(name)
        except NotFound:
            return self._tell(deployment, lambda: self._control.create_endpoint(name, config_name=ours))
        if deployment.endpoint_name and version_of(endpoint.config_name) is None:
            return self.fail(deployment, f"An endpoint named {name} exists and the desk did not make it: not changed")
        if endpoint.status == "InService" and endpoint.config_name == ours:
            return self._end(deployment, DeploymentState.IN_SERVICE)
        if endpoint.status in CHANGING:
            if deployment.issued_at is None and ours in (endpoint.pending_config, endpoint.config_name):
                deployment = self._store.save(replace(deployment, issued_at=self._clock()))  # told before a crash
            return self.wait(deployment, f"The endpoint is {_words(endpoint.status)}.")
        if endpoint.status == "Failed":
            if endpoint.config_name == ours:
                return self.fail(
                    deployment, f"The endpoint could not be created: {endpoint.failure or 'no reason given'}"
                )
            self._control.delete_endpoint(name)  # the only thing that can be done with an endpoint that never worked
            return self.wait(deployment, "Removing an endpoint that could not be created.")
        if deployment.issued_at is None:
            return self._tell(deployment, lambda: self._control.update_endpoint(name, config_name=ours))
        if self._went_back(deployment.issued_at, endpoint):
            return self.fail(deployment, f"The endpoint did not take it: {endpoint.failure or 'no reason given'}")
        return self.wait(deployment, "Waiting for the endpoint to begin.")

    def _went_back(self, issued_at: datetime, endpoint: EndpointDescription) -> bool:
        told_off = endpoint.failure is not None and endpoint.changed_at >= issued_at - CLOCK_SKEW
        return told_off or self._clock() - issued_at > SETTLE

    def _tell(self, deployment: Deployment, call: Callable[[], None]) -> Deployment:
        try:
            call()
        except Conflict:  # somebody else's change is under way, or ours from before a crash: look again
            return self.wait(deployment, "The endpoint is busy with another change.")
        return self._store.save(replace(deployment, issued_at=self._clock(), note="The endpoint was told."))

    def _end(self, deployment: Deployment, state: DeploymentState, *, failure: str | None = None) -> Deployment:
        now = self._clock()
        audit = AuditEntry(
            entry_id=f"{deployment.deployment_id}:deployment.{state}",
            at=now,
            actor=ACTOR,
            action=f"deployment.{deployment.kind}",
            object=deployment.deployment_id,
            before={"model_version": deployment.former_version},
            after={"model_version": deployment.model_version, "failure": failure},
            outcome=str(state),
        )
        ended = replace(deployment, state=state, finished_at=now, failure=failure, note=None)
        return self._store.save(ended, audit=audit)

    def _what_serves(self, deployment: Deployment) -> str:
        if deployment.endpoint_name:
            return "Live transactions are scored as before."
        try:
            endpoint = self._control.describe_endpoint(self._serving.endpoint_name)
        except NotFound:
            return "No model is in service."
        except ServiceError:
            return "What serves now is not known."
        if endpoint.status in {"Failed", "Creating", "OutOfService", "Deleting"}:
            return "No model is in service."
        version = version_of(endpoint.config_name, self._store.in_service(50))
        return f"{version or endpoint.config_name} is in service."


def _words(status: str) -> str:
    """`RollingBack` -> `rolling back`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in status).strip()
