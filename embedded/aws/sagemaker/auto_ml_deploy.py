"""Put a search's best candidate behind an endpoint, as ModelDeployConfig asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from embedded.aws.errors import AwsError
from embedded.aws.store import Record

if TYPE_CHECKING:
    from embedded.aws.cloud import Cloud

_POLL_SECONDS = 0.2


class NotDeployed(Exception):
    """The endpoint does not serve the candidate; the text says why."""


async def deploy(cloud: Cloud, name: str, endpoint: str, best: Record, role_arn: str) -> None:
    """Model, configuration and endpoint, each found or made; waits until the endpoint serves. Raises NotDeployed."""
    from embedded.aws.sagemaker.endpoint_configs import create_endpoint_config
    from embedded.aws.sagemaker.endpoints import create_endpoint, update_endpoint
    from embedded.aws.sagemaker.models import create_model

    resource = f"{name}-best"
    model = {
        "ModelName": resource,
        "PrimaryContainer": best["InferenceContainers"][0],
        "ExecutionRoleArn": role_arn,
    }
    variant = {
        "VariantName": "primary",
        "ModelName": resource,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }
    try:
        if cloud.store["models"].get(resource) is None:
            await create_model(cloud, model)
        if cloud.store["endpoint_configs"].get(resource) is None:
            await create_endpoint_config(cloud, {"EndpointConfigName": resource, "ProductionVariants": [variant]})
        held = cloud.store["endpoints"].get(endpoint)
        wanted = {"EndpointName": endpoint, "EndpointConfigName": resource}
        begun: Awaitable[Record] | None = None
        if held is None:
            begun = create_endpoint(cloud, wanted)
        elif resource not in (held["EndpointConfigName"], held.get("pending", {}).get("EndpointConfigName")):
            begun = update_endpoint(cloud, wanted)
        if begun is not None:
            await begun
    except AwsError as exc:
        raise NotDeployed(exc.message) from exc
    await _served(cloud, endpoint, resource)


async def _served(cloud: Cloud, endpoint: str, config: str) -> None:
    while True:
        held = cloud.store["endpoints"].get(endpoint)
        if held is None:
            raise NotDeployed(f"The endpoint {endpoint} was deleted.")
        if held["EndpointStatus"] not in ("Creating", "Updating", "RollingBack"):
            if held["EndpointStatus"] == "InService" and held["EndpointConfigName"] == config:
                return
            raise NotDeployed(str(held.get("FailureReason") or f"The endpoint is {held['EndpointStatus']}."))
        await asyncio.sleep(_POLL_SECONDS)
