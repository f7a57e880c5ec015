"""Installs the two Lambda functions and the model package group, or brings them up to date."""

from __future__ import annotations

import io
import sys
import zipfile
from typing import Any

from embedded.seed.marks import LAMBDA_SOURCES, function_environment
from services.adapters import aws
from services.domain.mapping import desk_mapping
from services.errors import Conflict, NotFound
from services.settings import Settings

_ROLE = "arn:aws:iam::000000000000:role/fraud-desk-lambda"
_TIMEOUT_SECONDS = 30
_WAIT_ATTEMPTS = 60


def install(settings: Settings) -> None:
    """Create or update both functions and wait until they can be invoked; create the package group if absent.

    Raises Unavailable when the functions' service does not answer.
    """
    functions = aws.client("lambda", region=settings.region, read_seconds=30.0)
    for name, module in ((settings.score_function, "score"), (settings.intake_function, "intake")):
        with aws.translated("Lambda"):
            _put(functions, name, module, settings)
    for name in (settings.score_function, settings.intake_function):
        with aws.translated("Lambda"):
            functions.get_waiter("function_active_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 0.25, "MaxAttempts": _WAIT_ATTEMPTS}
            )
            functions.get_waiter("function_updated_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 0.25, "MaxAttempts": _WAIT_ATTEMPTS}
            )
    _package_group(settings)


def _put(functions: Any, name: str, module: str, settings: Settings) -> None:
    configuration = {
        "Runtime": f"python3.{sys.version_info.minor}",
        "Role": _ROLE,
        "Handler": f"{module}.handler",
        "Description": {"score": "Scores rows with the fraud model", "intake": "The front door of Fraud Desk"}[module],
        "Timeout": _TIMEOUT_SECONDS,
        "MemorySize": 512,
        "Environment": {"Variables": _variables(module, settings)},
    }
    code = _package(module)
    try:
        with aws.translated("Lambda"):
            functions.get_function(FunctionName=name)
    except NotFound:
        functions.create_function(FunctionName=name, PackageType="Zip", Code={"ZipFile": code}, **configuration)
        return
    functions.update_function_configuration(FunctionName=name, **configuration)
    functions.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 0.25, "MaxAttempts": _WAIT_ATTEMPTS}
    )
    functions.update_function_code(FunctionName=name, ZipFile=code)


def _variables(module: str, settings: Settings) -> dict[str, str]:
    """The key of the hashes that stand for card numbers goes to the front door alone, and only where some come in."""
    variables = function_environment()
    mapping = desk_mapping(settings.mapping) if module == "intake" else None
    if mapping is not None and mapping.tokenise:
        variables["FRAUD_DESK_TOKEN_KEY"] = settings.token_key
    return variables


def _package(module: str) -> bytes:
    """The function's files (those that begin with its name) as a zip with a fixed date: the same source is the same
    package.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(LAMBDA_SOURCES.glob(f"{module}*.py")):
            entry = zipfile.ZipInfo(source.name, date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, source.read_bytes())
    return buffer.getvalue()


def _package_group(settings: Settings) -> None:
    sagemaker = aws.client("sagemaker", region=settings.region)
    try:
        with aws.translated("SageMaker"):
            sagemaker.create_model_package_group(
                ModelPackageGroupName=settings.model_package_group,
                ModelPackageGroupDescription="Fraud models trained by Fraud Desk",
            )
    except Conflict:
        pass  # it is there already
