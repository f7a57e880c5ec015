"""The model registry: package groups, and packages numbered within their group."""

from __future__ import annotations

import asyncio
from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import validation
from embedded.aws.paging import select
from embedded.aws.registry import operation
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]
_numbering = asyncio.Lock()


def _group_name(given: str) -> str:
    """Groups are named by name or ARN."""
    return given.rpartition("/")[2]


def _group(cloud: Cloud, given: str) -> Record:
    name = _group_name(given)
    record = cloud.store["model_package_groups"].get(name)
    if record is None:
        for candidate in cloud.store["model_package_groups"]:
            if candidate["ModelPackageGroupArn"] == given:
                return candidate
        arn = cloud.config.sagemaker_arn("model-package-group", name)
        raise validation(f"ModelPackageGroup {arn} does not exist.")
    return record


def _package(cloud: Cloud, given: str) -> Record:
    """Packages are named by ARN; one outside a group also by its name."""
    arn = given if given.startswith("arn:") else cloud.config.sagemaker_arn("model-package", given)
    record = cloud.store["model_packages"].get(arn)
    if record is None:
        raise validation(f"ModelPackage {arn} does not exist.")
    return record


@operation("sagemaker", "CreateModelPackageGroup")
async def create_model_package_group(cloud: Cloud, params: Params) -> Params:
    name = params["ModelPackageGroupName"]
    arn = cloud.config.sagemaker_arn("model-package-group", name)
    record = {
        **params,
        "ModelPackageGroupArn": arn,
        "CreationTime": now(),
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
    }
    try:
        await cloud.store["model_package_groups"].create(name, record)
    except AlreadyExists:
        raise validation(f"Model Package Group already exists: {arn}") from None
    return {"ModelPackageGroupArn": arn}


@operation("sagemaker", "DescribeModelPackageGroup")
async def describe_model_package_group(cloud: Cloud, params: Params) -> Params:
    return _group(cloud, params["ModelPackageGroupName"])


@operation("sagemaker", "ListModelPackageGroups")
async def list_model_package_groups(cloud: Cloud, params: Params) -> Params:
    page, token = select(
        cloud.store["model_package_groups"],
        params,
        name="ModelPackageGroupName",
        sort_fields={"Name": "ModelPackageGroupName"},
        descending=True,
    )
    return {"ModelPackageGroupSummaryList": page, "NextToken": token}


@operation("sagemaker", "CreateModelPackage")
async def create_model_package(cloud: Cloud, params: Params) -> Params:
    """In a group the package gets the next version number and waits for approval unless the request says otherwise.

    A ClientToken seen before returns the package it made.
    """
    if ("ModelPackageGroupName" in params) == ("ModelPackageName" in params):
        raise validation("Provide either ModelPackageName or ModelPackageGroupName, and not both.")
    table = cloud.store["model_packages"]
    token = params.get("ClientToken")
    async with _numbering:
        if token is not None:
            for known in table:
                if known.get("ClientToken") == token:
                    return {"ModelPackageArn": known["ModelPackageArn"]}
        at = now()
        record: Record = {
            **params,
            "CreationTime": at,
            "LastModifiedTime": at,
            "CreatedBy": {},
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }
        if "ModelPackageGroupName" in params:
            group = _group(cloud, params["ModelPackageGroupName"])
            name = group["ModelPackageGroupName"]
            versions = [p["ModelPackageVersion"] for p in table if p.get("ModelPackageGroupName") == name]
            number = max(versions, default=0) + 1
            record |= {"ModelPackageGroupName": name, "ModelPackageName": name, "ModelPackageVersion": number}
            record.setdefault("ModelApprovalStatus", "PendingManualApproval")
            arn = cloud.config.sagemaker_arn("model-package", f"{name}/{number}")
        else:
            arn = cloud.config.sagemaker_arn("model-package", params["ModelPackageName"])
        record["ModelPackageArn"] = arn
        try:
            await table.create(arn, record)
        except AlreadyExists:
            raise validation(f"Model Package already exists: {arn}") from None
    return {"ModelPackageArn": arn}


@operation("sagemaker", "DescribeModelPackage")
async def describe_model_package(cloud: Cloud, params: Params) -> Params:
    return _package(cloud, params["ModelPackageName"])


@operation("sagemaker", "ListModelPackages")
async def list_model_packages(cloud: Cloud, params: Params) -> Params:
    """Packages of one group, or those outside groups (the default), or both."""
    kind = params.get("ModelPackageType", "Unversioned")
    approval = params.get("ModelApprovalStatus")
    group: str | None = None
    if "ModelPackageGroupName" in params:
        group = _group(cloud, params["ModelPackageGroupName"])["ModelPackageGroupName"]

    def keep(record: Record) -> bool:
        versioned = "ModelPackageVersion" in record
        if group is not None and record.get("ModelPackageGroupName") != group:
            return False
        if group is None and kind != "Both" and versioned != (kind == "Versioned"):
            return False
        return approval is None or record.get("ModelApprovalStatus") == approval

    records = ({**record, "sort_name": _sort_name(record)} for record in cloud.store["model_packages"])
    fields = {"Name": "sort_name", "CreationTime": "CreationTime"}
    page, token = select(records, params, name="sort_name", sort_fields=fields, descending=True, keep=keep)
    return {"ModelPackageSummaryList": page, "NextToken": token}


def _sort_name(record: Record) -> str:
    """Names with their version as a number of fixed width, so version 10 follows version 9."""
    return f"{record['ModelPackageName']}/{record.get('ModelPackageVersion', 0):09d}"


@operation("sagemaker", "UpdateModelPackage")
async def update_model_package(cloud: Cloud, params: Params) -> Params:
    record = _package(cloud, params["ModelPackageArn"])
    arn = record["ModelPackageArn"]
    if "ModelApprovalStatus" in params and "ModelPackageVersion" not in record:
        raise validation("The approval status can be set for versioned model packages only.")
    properties = {**record.get("CustomerMetadataProperties", {}), **params.get("CustomerMetadataProperties", {})}
    for key in params.get("CustomerMetadataPropertiesToRemove", ()):
        properties.pop(key, None)
    additional = [
        *record.get("AdditionalInferenceSpecifications", ()),
        *params.get("AdditionalInferenceSpecificationsToAdd", ()),
    ]
    replaced = (
        "ModelApprovalStatus",
        "ModelPackageRegistrationType",
        "ApprovalDescription",
        "InferenceSpecification",
        "SourceUri",
        "ModelCard",
        "ModelLifeCycle",
    )
    await cloud.store["model_packages"].change(
        arn,
        **{key: params[key] for key in replaced if key in params},
        CustomerMetadataProperties=properties or None,
        AdditionalInferenceSpecifications=additional or None,
        LastModifiedTime=now(),
        LastModifiedBy={},
    )
    return {"ModelPackageArn": arn}
