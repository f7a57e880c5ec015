"""CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import validation
from embedded.aws.paging import select
from embedded.aws.registry import operation
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]


def existing_model(cloud: Cloud, name: str) -> Record:
    record = cloud.store["models"].get(name)
    if record is None:
        raise validation(f'Could not find model "{cloud.config.sagemaker_arn("model", name)}".')
    return record


@operation("sagemaker", "CreateModel")
async def create_model(cloud: Cloud, params: Params) -> Params:
    """One container a model; its artifact is fetched when an endpoint is created, as in the service."""
    name = params["ModelName"]
    if ("PrimaryContainer" in params) == ("Containers" in params):
        raise validation("Provide either PrimaryContainer or Containers, and not both.")
    if len(params.get("Containers", ())) > 1:
        raise validation("Inference pipelines (more than one container) are not offered by the embedded server.")
    container = params.get("PrimaryContainer") or params["Containers"][0]
    if "Image" not in container and "ModelPackageName" not in container:
        raise validation("Provide the Image or the ModelPackageName of the primary container.")
    arn = cloud.config.sagemaker_arn("model", name)
    record = {"EnableNetworkIsolation": False, **params, "ModelArn": arn, "CreationTime": now()}
    try:
        await cloud.store["models"].create(name, record)
    except AlreadyExists:
        raise validation(f'Cannot create already existing model "{arn}".') from None
    return {"ModelArn": arn}


@operation("sagemaker", "DescribeModel")
async def describe_model(cloud: Cloud, params: Params) -> Params:
    return existing_model(cloud, params["ModelName"])


@operation("sagemaker", "ListModels")
async def list_models(cloud: Cloud, params: Params) -> Params:
    page, token = select(
        cloud.store["models"], params, name="ModelName", sort_fields={"Name": "ModelName"}, descending=True
    )
    return {"Models": page, "NextToken": token}


@operation("sagemaker", "DeleteModel")
async def delete_model(cloud: Cloud, params: Params) -> Params:
    """Endpoints that serve the model go on: they hold their own copy of its definition."""
    existing_model(cloud, params["ModelName"])
    await cloud.store["models"].delete(params["ModelName"])
    return {}
