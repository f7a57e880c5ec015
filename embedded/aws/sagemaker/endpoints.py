"""CreateEndpoint, DescribeEndpoint, ListEndpoints, UpdateEndpoint, DeleteEndpoint.

A record holds, beside what is described, `deployed` and `pending`: the resolved definitions of the fleet in service
and of the one on its way, so an endpoint comes back after a restart even when its model was deleted since.
"""

from __future__ import annotations

from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import validation
from embedded.aws.paging import select
from embedded.aws.registry import operation
from embedded.aws.sagemaker.endpoint_configs import existing_config
from embedded.aws.sagemaker.models import existing_model
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]
_DEFAULT_STARTUP_SECONDS = 120


def _existing(cloud: Cloud, name: str) -> Record:
    record = cloud.store["endpoints"].get(name)
    if record is None:
        raise validation(f'Could not find endpoint "{cloud.config.sagemaker_arn("endpoint", name)}".')
    return record


def _container_of(cloud: Cloud, model: Record) -> dict[str, Any]:
    """The container definition with a model package's artifact and environment resolved."""
    container = dict(model.get("PrimaryContainer") or model["Containers"][0])
    if "ModelPackageName" in container:
        package = cloud.store["model_packages"].get(container["ModelPackageName"])
        specified = (package or {}).get("InferenceSpecification", {}).get("Containers")
        if not specified:
            raise validation(f"ModelPackage {container['ModelPackageName']} has no inference specification.")
        own = {**specified[0].get("Environment", {}), **container.get("Environment", {})}
        container = {**specified[0], **container, "Environment": own}
    if "ModelDataUrl" not in container:
        source = container.get("ModelDataSource", {}).get("S3DataSource", {})
        if source.get("CompressionType") == "Gzip":
            container["ModelDataUrl"] = source["S3Uri"]
    return container


def _deployment(cloud: Cloud, params: Params) -> Record:
    """Everything a fleet needs, independent of later changes to configuration and models."""
    _refuse_what_is_not_offered(params.get("DeploymentConfig", {}))
    config = existing_config(cloud, params["EndpointConfigName"])
    variants = []
    for variant in config["ProductionVariants"]:
        container = _container_of(cloud, existing_model(cloud, variant["ModelName"]))
        spec = {
            "VariantName": variant["VariantName"],
            "Weight": variant["InitialVariantWeight"],
            "InstanceCount": variant.get("InitialInstanceCount", 1),
            "Image": container.get("Image", ""),
            "Environment": container.get("Environment", {}),
            "StartupSeconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _DEFAULT_STARTUP_SECONDS),
        }
        if "ModelDataUrl" in container:
            spec["ModelDataUrl"] = container["ModelDataUrl"]
        variants.append(spec)
    deployment = {"EndpointConfigName": params["EndpointConfigName"], "Variants": variants, "StartTime": now()}
    if "DeploymentConfig" in params:
        deployment["DeploymentConfig"] = params["DeploymentConfig"]
    return deployment


def _refuse_what_is_not_offered(policy: Params) -> None:
    """Better refused than silently done otherwise: traffic moves at once here, and there are no alarms."""
    if "RollingUpdatePolicy" in policy:
        raise validation("RollingUpdatePolicy is not offered by the embedded server.")
    routing = policy.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    if routing.get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE":
        raise validation(f"Traffic routing {routing['Type']} is not offered by the embedded server.")
    for alarm in policy.get("AutoRollbackConfiguration", {}).get("Alarms", ()):
        raise validation(f"Could not find alarm {alarm['AlarmName']}.")


def _summaries(deployment: Record) -> list[Record]:
    return [
        {
            "VariantName": spec["VariantName"],
            "DeployedImages": [
                {
                    "SpecifiedImage": spec["Image"],
                    "ResolvedImage": spec["Image"],
                    "ResolutionTime": deployment["StartTime"],
                }
            ],
            "CurrentWeight": spec["Weight"],
            "DesiredWeight": spec["Weight"],
            "CurrentInstanceCount": spec["InstanceCount"],
            "DesiredInstanceCount": spec["InstanceCount"],
        }
        for spec in deployment["Variants"]
    ]


@operation("sagemaker", "CreateEndpoint")
async def create_endpoint(cloud: Cloud, params: Params) -> Params:
    name = params["EndpointName"]
    arn = cloud.config.sagemaker_arn("endpoint", name)
    at = now()
    record = {
        "EndpointName": name,
        "EndpointArn": arn,
        "EndpointConfigName": params["EndpointConfigName"],
        "EndpointStatus": "Creating",
        "CreationTime": at,
        "LastModifiedTime": at,
        "pending": _deployment(cloud, params),
        **({"Tags": params["Tags"]} if "Tags" in params else {}),
    }
    try:
        await cloud.store["endpoints"].create(name, record)
    except AlreadyExists:
        raise validation(f'Cannot create already existing endpoint "{arn}".') from None
    cloud.fleets.begin(name)
    return {"EndpointArn": arn}


@operation("sagemaker", "DescribeEndpoint")
async def describe_endpoint(cloud: Cloud, params: Params) -> Params:
    record = _existing(cloud, params["EndpointName"])
    described = dict(record)
    if "deployed" in record:
        described["ProductionVariants"] = _summaries(record["deployed"])
    if "pending" in record and record["EndpointStatus"] == "Updating":
        pending = record["pending"]
        described["PendingDeploymentSummary"] = {
            "EndpointConfigName": pending["EndpointConfigName"],
            "ProductionVariants": _summaries(pending),
            "StartTime": pending["StartTime"],
        }
    return described


@operation("sagemaker", "ListEndpoints")
async def list_endpoints(cloud: Cloud, params: Params) -> Params:
    status = params.get("StatusEquals")
    page, token = select(
        cloud.store["endpoints"],
        params,
        name="EndpointName",
        sort_fields={"Name": "EndpointName", "Status": "EndpointStatus"},
        descending=True,
        keep=lambda record: status is None or record["EndpointStatus"] == status,
    )
    return {"Endpoints": page, "NextToken": token}


@operation("sagemaker", "UpdateEndpoint")
async def update_endpoint(cloud: Cloud, params: Params) -> Params:
    """Possible in service only. The endpoint serves its old configuration until the new one is healthy."""
    name = params["EndpointName"]
    record = _existing(cloud, name)
    request = dict(params)
    if params.get("RetainDeploymentConfig") and "LastDeploymentConfig" in record:
        request.setdefault("DeploymentConfig", record["LastDeploymentConfig"])
    pending = _deployment(cloud, request)

    def updating(current: Record) -> Record:
        if current["EndpointStatus"] != "InService":
            raise validation(f'Cannot update in-progress endpoint "{current["EndpointArn"]}".')
        changes = {"EndpointStatus": "Updating", "pending": pending, "LastModifiedTime": now()}
        return {**changes, "FailureReason": None}

    await cloud.store["endpoints"].update(name, updating)
    cloud.fleets.begin(name)
    return {"EndpointArn": record["EndpointArn"]}


@operation("sagemaker", "DeleteEndpoint")
async def delete_endpoint(cloud: Cloud, params: Params) -> Params:
    """Requests in flight end first. Deleting what is being deleted is no error and changes nothing."""
    name = params["EndpointName"]
    if _existing(cloud, name)["EndpointStatus"] == "Deleting":
        return {}

    def deleting(current: Record) -> Record:
        if current["EndpointStatus"] in ("Updating", "RollingBack"):
            raise validation(f'Cannot delete in-progress endpoint "{current["EndpointArn"]}".')
        return {"EndpointStatus": "Deleting", "LastModifiedTime": now()}

    await cloud.store["endpoints"].update(name, deleting)
    await cloud.fleets.delete_now(name)
    return {}
