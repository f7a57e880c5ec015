"""ListConnectors, DescribeConnector, PauseConnector, ResumeConnector and the operations these begin."""

from __future__ import annotations

import uuid
from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError
from embedded.aws.kafkaconnect.stream import NAME, Seen
from embedded.aws.paging import decode_token, encode_token
from embedded.aws.registry import operation
from embedded.aws.store import Record, now

Params = dict[str, Any]
_DESCRIPTION = "MongoDB's changes into the raw zone of S3: source and sink in one process on this machine"
_PAUSE, _RESUME = "PAUSE_CONNECTOR", "RESUME_CONNECTOR"
# What a connector must have become for an operation to be over, and the states of the operation.
_ENDS = {
    _PAUSE: ("PAUSED", "PAUSE_IN_PROGRESS", "PAUSE_COMPLETE", "PAUSE_FAILED"),
    _RESUME: ("RUNNING", "RESUME_IN_PROGRESS", "RESUME_COMPLETE", "RESUME_FAILED"),
}


def _summary(cloud: Cloud, seen: Seen) -> Params:
    shown: Params = {
        "connectorArn": cloud.connector.arn,
        "connectorName": NAME,
        "connectorDescription": _DESCRIPTION,
        "connectorState": seen.state,
        "capacity": {"provisionedCapacity": {"mcuCount": 1, "workerCount": 1}},
        "currentVersion": "1",
    }
    if seen.started_at is not None:
        shown["creationTime"] = seen.started_at
    return shown


async def _require(cloud: Cloud, arn: str) -> Seen:
    seen = await cloud.connector.look() if arn == cloud.connector.arn else None
    if seen is None:
        raise AwsError("NotFoundException", f"The connector {arn} does not exist.", 404)
    return seen


@operation("kafkaconnect", "ListConnectors")
async def list_connectors(cloud: Cloud, params: Params) -> Params:
    seen = await cloud.connector.look()
    wanted = NAME.startswith(params.get("connectorNamePrefix", "")) and "nextToken" not in params
    return {"connectors": [_summary(cloud, seen)] if seen is not None and wanted else []}


@operation("kafkaconnect", "DescribeConnector")
async def describe_connector(cloud: Cloud, params: Params) -> Params:
    seen = await _require(cloud, params["connectorArn"])
    shown = _summary(cloud, seen)
    shown["connectorConfiguration"] = {"tasks.max": "1", "topics": "fraud.transactions,fraud.labels"}
    if seen.trace:
        shown["stateDescription"] = {"code": "Worker", "message": seen.trace}
    return shown


@operation("kafkaconnect", "PauseConnector")
async def pause_connector(cloud: Cloud, params: Params) -> Params:
    seen = await _require(cloud, params["connectorArn"])
    if seen.paused:
        raise AwsError("ConflictException", "The connector is paused already.", 409)
    return await _begin(cloud, _PAUSE)


@operation("kafkaconnect", "ResumeConnector")
async def resume_connector(cloud: Cloud, params: Params) -> Params:
    seen = await _require(cloud, params["connectorArn"])
    if not seen.paused:
        raise AwsError("ConflictException", "The connector is not paused.", 409)
    return await _begin(cloud, _RESUME)


async def _begin(cloud: Cloud, kind: str) -> Params:
    """Tell the worker, then keep the operation: one that was told and not kept is only missing in the list."""
    arn = f"{cloud.connector.arn.replace(':connector/', ':connector-operation/')}/{uuid.uuid4()}"
    await cloud.connector.tell(paused=kind == _PAUSE)
    record = {"arn": arn, "type": kind, "state": _ENDS[kind][1], "created_at": now()}
    await cloud.store["connector_operations"].create(arn, record)
    return {"connectorArn": cloud.connector.arn, "connectorOperationArn": arn}


async def _settled(cloud: Cloud, record: Record) -> Record:
    """The operation as it is now: over once the worker has done it, or failed once the opposite was asked for."""
    reached, under_way, complete, failed = _ENDS[record["type"]]
    if record["state"] != under_way:
        return record
    seen = await cloud.connector.look()
    state = under_way
    if seen is not None and seen.paused != (record["type"] == _PAUSE):
        state = failed
    elif seen is not None and seen.state == reached:
        state = complete
    if state == under_way:
        return record
    return await cloud.store["connector_operations"].change(record["arn"], state=state, ended_at=now())


def _operation(record: Record) -> Params:
    shown = {
        "connectorOperationArn": record["arn"],
        "connectorOperationType": record["type"],
        "connectorOperationState": record["state"],
        "creationTime": record["created_at"],
    }
    return shown | ({"endTime": record["ended_at"]} if "ended_at" in record else {})


@operation("kafkaconnect", "ListConnectorOperations")
async def list_connector_operations(cloud: Cloud, params: Params) -> Params:
    """Newest first."""
    await _require(cloud, params["connectorArn"])
    records = sorted(cloud.store["connector_operations"], key=lambda r: (r["created_at"], r["arn"]), reverse=True)
    try:
        first = int(decode_token(params["nextToken"])) if "nextToken" in params else 0
    except (ValueError, TypeError):
        raise AwsError("BadRequestException", "The token provided is not valid.") from None
    size = params.get("maxResults", 100)
    page = [_operation(await _settled(cloud, record)) for record in records[first : first + size]]
    more = first + size < len(records)
    return {"connectorOperations": page} | ({"nextToken": encode_token(first + size)} if more else {})


@operation("kafkaconnect", "DescribeConnectorOperation")
async def describe_connector_operation(cloud: Cloud, params: Params) -> Params:
    arn = params["connectorOperationArn"]
    record = cloud.store["connector_operations"].get(arn)
    if record is None:
        raise AwsError("NotFoundException", f"The connector operation {arn} does not exist.", 404)
    return _operation(await _settled(cloud, record)) | {"connectorArn": cloud.connector.arn}
