"""Deploying the model of an experiment that asked for it: an ordinary deployment with its reason and audit entry."""

from __future__ import annotations

from services.access import system
from services.deployment import DeploymentService, DeploymentStore
from services.training import Experiment

ACTOR = system("lifecycle")
_LOOK_BACK = 200


class Deployer:
    """`Deployer(service=DeploymentService(..), store=MongoDeployments(db), desk="fraud-desk")`.

    `desk` is the name of the desk's own endpoint. Satisfies `lifecycle_ports.AutoDeploy`.
    """

    def __init__(self, *, service: DeploymentService, store: DeploymentStore, desk: str) -> None:
        self._service, self._store, self._desk = service, store, desk

    def ensure(self, experiment: Experiment) -> str | None:
        """A deployment of this experiment from before a crash is known by its reason, which names the experiment."""
        version = experiment.model_version
        assert version is not None, "only a registered model is deployed"
        asked = f"Asked for with the experiment {experiment.experiment_id}"
        for made in self._store.recent(_LOOK_BACK):
            if made.model_version == version and made.reason.startswith(asked):
                return made.deployment_id
        other = "" if experiment.endpoint_name == self._desk else experiment.endpoint_name
        serving = next(iter(self._store.in_service(1, other)), None)
        if serving is not None and serving.model_version == version:
            return None
        reason = f"{asked} by {experiment.requested_by}: {experiment.name}"[:500]
        return self._service.deploy(version, reason=reason, actor=ACTOR, endpoint_name=other)
