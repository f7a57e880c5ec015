"""AddTags and ListTags, for every SageMaker resource by its ARN."""

from __future__ import annotations

from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import validation
from embedded.aws.paging import decode_token, encode_token
from embedded.aws.registry import operation
from embedded.aws.store import AlreadyExists

Params = dict[str, Any]
_MOST_TAGS = 50
_ARN_MEMBERS = {
    "training_jobs": "TrainingJobArn",
    "models": "ModelArn",
    "endpoint_configs": "EndpointConfigArn",
    "endpoints": "EndpointArn",
    "model_package_groups": "ModelPackageGroupArn",
    "model_packages": "ModelPackageArn",
}


async def keep_tags(cloud: Cloud, arn: str, params: Params) -> None:
    """Store the Tags of a Create request; nothing when there are none."""
    if params.get("Tags"):
        await _merge(cloud, arn, params["Tags"])


async def drop_tags(cloud: Cloud, arn: str) -> None:
    await cloud.store["tags"].delete(arn)


async def _merge(cloud: Cloud, arn: str, tags: list[dict[str, str]]) -> list[dict[str, str]]:
    table = cloud.store["tags"]
    former = table.get(arn)
    merged = {tag["Key"]: tag["Value"] for tag in (*(former["Tags"] if former else ()), *tags)}
    if len(merged) > _MOST_TAGS:
        raise validation(f"The resource {arn} cannot have more than {_MOST_TAGS} tags.")
    result = [{"Key": key, "Value": value} for key, value in merged.items()]
    try:
        await table.create(arn, {"Tags": result})
    except AlreadyExists:
        await table.change(arn, Tags=result)
    return result


def _require(cloud: Cloud, arn: str) -> None:
    for name, member in _ARN_MEMBERS.items():
        if any(record[member] == arn for record in cloud.store[name]):
            return
    raise validation(f"Could not find resource {arn}.")


@operation("sagemaker", "AddTags")
async def add_tags(cloud: Cloud, params: Params) -> Params:
    """A tag of the same key is replaced; the answer is all tags of the resource."""
    arn = params["ResourceArn"]
    _require(cloud, arn)
    return {"Tags": await _merge(cloud, arn, params["Tags"])}


@operation("sagemaker", "ListTags")
async def list_tags(cloud: Cloud, params: Params) -> Params:
    arn = params["ResourceArn"]
    _require(cloud, arn)
    record = cloud.store["tags"].get(arn)
    tags = sorted(record["Tags"] if record else (), key=lambda tag: tag["Key"])
    if "NextToken" in params:
        try:
            after = str(decode_token(params["NextToken"]))
        except ValueError:
            raise validation("Invalid NextToken") from None
        tags = [tag for tag in tags if tag["Key"] > after]
    size = params.get("MaxResults", _MOST_TAGS)
    token = encode_token(tags[size - 1]["Key"]) if len(tags) > size else None
    return {"Tags": tags[:size], "NextToken": token}
