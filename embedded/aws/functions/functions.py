"""Lambda functions: create, read, list, update code and configuration, delete, invoke."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

import orjson

from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError
from embedded.aws.functions.code import code_folder, remove_other_code, take_code
from embedded.aws.paging import decode_token, encode_token
from embedded.aws.registry import operation
from embedded.aws.store import AlreadyExists, Record, now

Params = dict[str, Any]
_LARGEST_EVENT = 6 * 2**20
_CONFIGURATION = (
    "Role",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "Environment",
    "Runtime",
    "Layers",
    "VpcConfig",
    "DeadLetterConfig",
    "KMSKeyArn",
    "TracingConfig",
    "FileSystemConfigs",
    "EphemeralStorage",
)
_RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)


def _refused(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, fields={"Type": "User"})


def _name(given: str) -> str:
    """Functions are named by name, `account:function:name` or ARN; only version $LATEST exists."""
    parts = given.split(":")
    if "function" in parts[:-1]:
        at = len(parts) - 1 - parts[::-1].index("function")
        name, qualifier = parts[at + 1], parts[at + 2 : at + 3]
    else:
        name, qualifier = parts[0], parts[1:2]
    if qualifier and qualifier[0] != "$LATEST":
        raise AwsError("ResourceNotFoundException", f"Function not found: {given}", 404, fields={"Type": "User"})
    return name


def _existing(cloud: Cloud, params: Params) -> Record:
    name = _name(params["FunctionName"])
    record = cloud.store["functions"].get(name)
    if record is None or params.get("Qualifier", "$LATEST") != "$LATEST":
        message = f"Function not found: {cloud.config.arn('lambda', f'function:{name}')}"
        raise AwsError("ResourceNotFoundException", message, 404, fields={"Type": "User"})
    return record


def _check_configuration(params: Params) -> None:
    variables = params.get("Environment", {}).get("Variables", {})
    reserved = sorted(_RESERVED.intersection(variables))
    if reserved:
        raise _refused(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if sum(len(key) + len(value) for key, value in variables.items()) > 4096:
        raise _refused("Your environment variables exceed the limit of 4 KB.")
    if not params.get("Runtime", "python").startswith("python"):
        raise _refused(f"The runtime {params['Runtime']} is not offered by the embedded server.")
    if params.get("Timeout", 0) > 900:
        raise _refused("Timeout must not be longer than 900 seconds.")


def _moment() -> str:
    return now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _check_revision(record: Record, params: Params) -> None:
    if "RevisionId" in params and params["RevisionId"] != record["RevisionId"]:
        message = "The Revision Id provided does not match the latest Revision Id. Call GetFunction to get it."
        raise AwsError("PreconditionFailedException", message, 412, fields={"Type": "User"})


def start_functions(cloud: Cloud) -> None:
    """After a restart of the server: a warm process for every function."""
    for name, record in cloud.store["functions"].items():
        cloud.pools.use(record, code_folder(cloud.config.state, name, record["CodeSha256"]))


@operation("lambda", "CreateFunction")
async def create_function(cloud: Cloud, params: Params) -> Params:
    name = _name(params["FunctionName"])
    for member in ("Runtime", "Handler"):
        if member not in params:
            raise _refused(f"{member} is mandatory for functions created with deployment packages of type Zip.")
    _check_configuration(params)
    exists = AwsError("ResourceConflictException", f"Function already exist: {name}", 409, fields={"Type": "User"})
    if cloud.store["functions"].get(name) is not None:
        raise exists
    code = await take_code(cloud, name, params["Code"])
    record = {
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "Architectures": params.get("Architectures", ["x86_64"]),
        **{key: params[key] for key in _CONFIGURATION if key in params and key != "Layers"},
        "FunctionName": name,
        "FunctionArn": cloud.config.arn("lambda", f"function:{name}"),
        "CodeSha256": code.sha256,
        "CodeSize": code.size_bytes,
        "LastModified": _moment(),
        "Version": "$LATEST",
        "PackageType": "Zip",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "RevisionId": str(uuid.uuid4()),
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "Tags": params.get("Tags"),
    }
    record = {key: value for key, value in record.items() if value is not None}
    try:
        await cloud.store["functions"].create(name, record)
    except AlreadyExists:
        raise exists from None
    cloud.pools.use(record, code_folder(cloud.config.state, name, code.sha256))
    return record


@operation("lambda", "GetFunction")
async def get_function(cloud: Cloud, params: Params) -> Params:
    record = _existing(cloud, params)
    folder = code_folder(cloud.config.state, record["FunctionName"], record["CodeSha256"])
    return {
        "Configuration": record,
        "Code": {"RepositoryType": "S3", "Location": folder.as_uri()},
        "Tags": record.get("Tags"),
    }


@operation("lambda", "ListFunctions")
async def list_functions(cloud: Cloud, params: Params) -> Params:
    records = sorted(cloud.store["functions"], key=lambda record: str(record["FunctionName"]))
    if "Marker" in params:
        try:
            after = str(decode_token(params["Marker"]))
        except ValueError:
            raise _refused("Invalid Marker") from None
        records = [record for record in records if record["FunctionName"] > after]
    size = min(params.get("MaxItems", 50), 50)
    marker = encode_token(records[size - 1]["FunctionName"]) if len(records) > size else None
    return {"Functions": records[:size], "NextMarker": marker}


@operation("lambda", "UpdateFunctionCode")
async def update_function_code(cloud: Cloud, params: Params) -> Params:
    """Invocations that have begun end on the old code; later ones run the new."""
    former = _existing(cloud, params)
    name = former["FunctionName"]
    _check_revision(former, params)
    code = await take_code(cloud, name, params)
    if params.get("DryRun"):
        return {**former, "CodeSha256": code.sha256, "CodeSize": code.size_bytes}

    def changes(record: Record) -> Record:
        _check_revision(record, params)
        fields = {"CodeSha256": code.sha256, "CodeSize": code.size_bytes}
        return {**fields, "LastModified": _moment(), "RevisionId": str(uuid.uuid4())}

    record = await cloud.store["functions"].update(name, changes)
    cloud.pools.use(record, code_folder(cloud.config.state, name, code.sha256))
    return record


@operation("lambda", "UpdateFunctionConfiguration")
async def update_function_configuration(cloud: Cloud, params: Params) -> Params:
    name = _existing(cloud, params)["FunctionName"]
    _check_configuration(params)

    def changes(record: Record) -> Record:
        _check_revision(record, params)
        fields = {key: params[key] for key in _CONFIGURATION if key in params and key != "Layers"}
        return {**fields, "LastModified": _moment(), "RevisionId": str(uuid.uuid4())}

    record = await cloud.store["functions"].update(name, changes)
    cloud.pools.use(record, code_folder(cloud.config.state, name, record["CodeSha256"]))
    return record


@operation("lambda", "DeleteFunction")
async def delete_function(cloud: Cloud, params: Params) -> Params:
    name = _existing(cloud, params)["FunctionName"]
    await cloud.store["functions"].delete(name)
    cloud.pools.drop(name)
    remove_other_code(cloud.config.state, name, None)
    return {"StatusCode": 204}


def _check_json(payload: bytes) -> None:
    """Lambda parses the event before the handler sees it. Its parser takes what JSON's grammar takes, and no more: long
    integers and halves of surrogate pairs pass, NaN and Infinity do not. orjson refuses all four, and is fast.
    """
    with suppress(orjson.JSONDecodeError):
        orjson.loads(payload)
        return
    try:
        json.loads(payload.decode("utf-8"), parse_constant=_not_json)
    except (ValueError, RecursionError) as exc:
        message = f"Could not parse request body into json: {exc}"
        raise AwsError("InvalidRequestContentException", message, fields={"Type": "User"}) from None


def _not_json(name: str) -> None:
    raise ValueError(f"Non-standard token '{name}'")


@operation("lambda", "Invoke", needs_store=False)
async def invoke(cloud: Cloud, params: Params) -> Params:
    """RequestResponse waits for the handler, Event does not, DryRun only checks. Works without MongoDB."""
    record = _existing(cloud, params)
    payload = params.get("Payload") or b"{}"
    if len(payload) > _LARGEST_EVENT:
        message = f"{len(payload)} byte payload is too large for the Invoke operation (limit {_LARGEST_EVENT} bytes)"
        raise AwsError("RequestTooLargeException", message, 413, fields={"Type": "User"})
    _check_json(payload)
    kind = params.get("InvocationType", "RequestResponse")
    if kind == "DryRun":
        return {"StatusCode": 204}
    pool = cloud.pools.get(record["FunctionName"])
    if pool is None:
        raise AwsError("ServiceException", "The function is being started.", 500)
    if kind == "Event":
        cloud.pools.in_background(pool, payload, params.get("ClientContext"))
        return {"StatusCode": 202}
    outcome = await pool.invoke(payload, params.get("ClientContext"))
    return {
        "StatusCode": 200,
        "FunctionError": outcome.error,
        "ExecutedVersion": "$LATEST",
        "Payload": outcome.payload,
        "LogResult": outcome.log_tail if params.get("LogType") == "Tail" else None,
    }
