"""How every AWS client of the desk is made, and the one translation of AWS's error codes.

Endpoints and credentials come from the standard variables boto3 reads itself (AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID ...), so nothing here knows whether AWS or a server on this machine answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NotConnected

from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable

CONNECT_SECONDS = 1.0
READ_SECONDS = 10.0
ATTEMPTS = 3
# botocore has two roots for "nobody answered": what failed on the way, and what failed to connect at all.
UNREACHABLE = (HTTPClientError, NotConnected)

_NOT_FOUND = {"ResourceNotFound", "ResourceNotFoundException", "NotFoundException", "NoSuchKey", "NoSuchBucket", "404"}
_CONFLICT = {"ResourceInUse", "ConflictException", "ResourceConflictException"}
_TRANSIENT = {
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ResourceLimitExceeded",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalDependencyException",
    "ModelNotReadyException",
    "InternalServerError",
    "InternalError",
    "SlowDown",
    "RequestTimeout",
}
# Request timeout and too many requests, whatever word a server has for them; an answer to HEAD has no words at all.
_AGAIN = {408, 429}
_REFUSED = {
    "ValidationException",
    "ValidationError",
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "BadRequestException",
}
_CREDENTIALS = {
    "AccessDeniedException",
    "AccessDenied",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "ForbiddenException",
    "UnauthorizedException",
}
# SageMaker has one code, ValidationException, for "unknown name", "name taken" and "busy"; only the sentence tells.
_SAYS_NOT_FOUND = re.compile(r"not found|could not find|cannot find|does not exist|non-?existent", re.IGNORECASE)
_SAYS_CONFLICT = re.compile(r"already exist|in-progress|in progress|must be unique|cannot update", re.IGNORECASE)


def client(
    service: str,
    *,
    region: str,
    connect_seconds: float = CONNECT_SECONDS,
    read_seconds: float = READ_SECONDS,
    attempts: int = ATTEMPTS,
    connections: int = 10,
) -> Any:
    """A boto3 client whose every call ends within about attempts x (connect + read) seconds plus back-off."""
    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    return boto3.client(service, region_name=region, config=config)


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", "")) or code_of(error)


def _http_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def service_error(error: ClientError, *, dependency: str) -> ServiceError | None:
    """The desk's error for a vendor's code, or None for a code nobody here understands (a bug, to be raised as is)."""
    code, message = code_of(error), message_of(error)
    if code in _NOT_FOUND or (code in _REFUSED and _SAYS_NOT_FOUND.search(message)):
        return NotFound(f"{_subject(dependency)} does not know it: {message}")
    if code in _CONFLICT or (code in _REFUSED and _SAYS_CONFLICT.search(message)):
        return Conflict(f"{_subject(dependency)} says it exists or is busy: {message}")
    if code in _REFUSED:
        return InvalidData(f"{_subject(dependency)} refused the request: {message}")
    if code in _CREDENTIALS:
        return Unavailable(f"{_subject(dependency)} refused the desk's credentials: {message}", dependency=dependency)
    if code == "ResourceLimitExceeded":
        return Unavailable(f"A quota of {dependency} is used up: {message}", dependency=dependency)
    if code in _TRANSIENT or _http_status(error) in _AGAIN or _http_status(error) >= 500:
        return Unavailable(f"{_subject(dependency)} is busy or failing ({code}).", dependency=dependency)
    return None


def _subject(dependency: str) -> str:
    """The name as a sentence begins with it: "the scoring API" -> "The scoring API"."""
    return dependency[:1].upper() + dependency[1:]


@contextmanager
def translated(dependency: str) -> Iterator[None]:
    """Raise the desk's errors instead of botocore's. What is not understood propagates unchanged."""
    try:
        yield
    except ClientError as error:
        known = service_error(error, dependency=dependency)
        if known is None:
            raise
        raise known from error
    except UNREACHABLE as error:  # refused, reset, timed out, no DNS, not HTTP: nobody usable answered
        raise Unavailable(f"{_subject(dependency)} is not reachable.", dependency=dependency) from error
    except BotoCoreError as error:
        if isinstance(error, IncompleteReadError):  # the answer broke off in the middle
            raise Unavailable(f"{_subject(dependency)} broke off its answer.", dependency=dependency) from error
        if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "NoRegionError"}:
            raise Unavailable(f"{_subject(dependency)} cannot be called: {error}", dependency=dependency) from error
        raise


__all__ = ["client", "code_of", "message_of", "service_error", "translated"]
