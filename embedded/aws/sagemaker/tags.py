"""AddTags and ListTags, for every SageMaker resource by its ARN.

Tags are a field of the resource's own record: created, changed and deleted with it in one write.
"""

from __future__ import annotations

from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import validation
from embedded.aws.paging import decode_token, encode_token
from embedded.aws.registry import operation
from embedded.aws.store import Record, Table

Params = dict[str, Any]
_MOST_TAGS = 50
_ARN_MEMBERS = {
    "training_jobs": "TrainingJobArn",
    "auto_ml_jobs": "AutoMLJobArn",
    "models": "ModelArn",
    "endpoint_configs": "EndpointConfigArn",
    "endpoints": "EndpointArn",
    "model_package_groups": "ModelPackageGroupArn",
    "model_packages": "ModelPackageArn",
}


def _find(cloud: Cloud, arn: str) -> tuple[Table, str]:
    """The table and key of the resource with this ARN."""
    for name, member in _ARN_MEMBERS.items():
        for key, record in cloud.store[name].items():
            if record[member] == arn:
                return cloud.store[name], key
    raise validation(f"Could not find resource {arn}.")


@operation("sagemaker", "AddTags")
async def add_tags(cloud: Cloud, params: Params) -> Params:
    """A tag of the same key is replaced; the answer is all tags of the resource."""
    arn = params["ResourceArn"]
    table, key = _find(cloud, arn)

    def merged(record: Record) -> Record:
        tags = {tag["Key"]: tag["Value"] for tag in (*record.get("Tags", ()), *params["Tags"])}
        if len(tags) > _MOST_TAGS:
            raise validation(f"The resource {arn} cannot have more than {_MOST_TAGS} tags.")
        return {"Tags": [{"Key": name, "Value": value} for name, value in tags.items()]}

    record = await table.update(key, merged)
    return {"Tags": record["Tags"]}


@operation("sagemaker", "ListTags")
async def list_tags(cloud: Cloud, params: Params) -> Params:
    table, key = _find(cloud, params["ResourceArn"])
    record = table.get(key) or {}
    tags = sorted(record.get("Tags", ()), key=lambda tag: str(tag["Key"]))
    if "NextToken" in params:
        try:
            after = str(decode_token(params["NextToken"]))
        except ValueError:
            raise validation("Invalid NextToken") from None
        tags = [tag for tag in tags if tag["Key"] > after]
    size = params.get("MaxResults", _MOST_TAGS)
    token = encode_token(tags[size - 1]["Key"]) if len(tags) > size else None
    return {"Tags": tags[:size], "NextToken": token}
