"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

from __future__ import annotations

from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import validation
from embedded.aws.paging import select
from embedded.aws.registry import operation
from embedded.aws.sagemaker.models import existing_model
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]


def existing_config(cloud: Cloud, name: str) -> Record:
    record = cloud.store["endpoint_configs"].get(name)
    if record is None:
        arn = cloud.config.sagemaker_arn("endpoint-config", name)
        raise validation(f'Could not find endpoint configuration "{arn}".')
    return record


@operation("sagemaker", "CreateEndpointConfig")
async def create_endpoint_config(cloud: Cloud, params: Params) -> Params:
    """Variants need a model that exists and either instances or serverless settings."""
    name = params["EndpointConfigName"]
    unsupported = [
        key for key in ("AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants") if key in params
    ]
    if unsupported:
        raise validation(f"{', '.join(unsupported)}: not offered by the embedded server.")
    seen: set[str] = set()
    variants = []
    for variant in params["ProductionVariants"]:
        if variant["VariantName"] in seen:
            raise validation(f"Duplicate variant name {variant['VariantName']}.")
        seen.add(variant["VariantName"])
        if "ModelName" not in variant:
            raise validation("Inference components are not offered by the embedded server: give a ModelName.")
        existing_model(cloud, variant["ModelName"])
        if "ServerlessConfig" not in variant and ("InstanceType" not in variant):
            raise validation("Provide an InstanceType or a ServerlessConfig for each production variant.")
        variants.append({"InitialVariantWeight": 1.0, **variant})
    arn = cloud.config.sagemaker_arn("endpoint-config", name)
    record = {
        "EnableNetworkIsolation": False,
        **params,
        "ProductionVariants": variants,
        "EndpointConfigArn": arn,
        "CreationTime": now(),
    }
    try:
        await cloud.store["endpoint_configs"].create(name, record)
    except AlreadyExists:
        raise validation(f'Cannot create already existing endpoint configuration "{arn}".') from None
    return {"EndpointConfigArn": arn}


@operation("sagemaker", "DescribeEndpointConfig")
async def describe_endpoint_config(cloud: Cloud, params: Params) -> Params:
    return existing_config(cloud, params["EndpointConfigName"])


@operation("sagemaker", "ListEndpointConfigs")
async def list_endpoint_configs(cloud: Cloud, params: Params) -> Params:
    page, token = select(
        cloud.store["endpoint_configs"],
        params,
        name="EndpointConfigName",
        sort_fields={"Name": "EndpointConfigName"},
        descending=True,
    )
    return {"EndpointConfigs": page, "NextToken": token}


@operation("sagemaker", "DeleteEndpointConfig")
async def delete_endpoint_config(cloud: Cloud, params: Params) -> Params:
    """Refused while an endpoint uses it, or is about to."""
    name = params["EndpointConfigName"]
    record = existing_config(cloud, name)
    for endpoint in cloud.store["endpoints"]:
        if name in (endpoint["EndpointConfigName"], endpoint.get("pending", {}).get("EndpointConfigName")):
            arn = record["EndpointConfigArn"]
            raise validation(f'Cannot delete the endpoint configuration "{arn}" in use by {endpoint["EndpointName"]}.')
    await cloud.store["endpoint_configs"].delete(name)
    return {}
