"""The one error type handlers raise; the gateway turns it into the answer an SDK of that service expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    """A refusal with the code, HTTP status and message of the real service.

    `fields` are further members of a modelled error (for example OriginalStatusCode of ModelError).
    """

    def __init__(self, code: str, message: str, status: int = 400, *, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = dict(fields or {})


def validation(message: str) -> AwsError:
    """SageMaker's answer to nearly everything that is wrong with a request."""
    return AwsError("ValidationException", message)


def unavailable(message: str) -> AwsError:
    """The service cannot do this now; SDKs retry it with backoff."""
    return AwsError("ServiceUnavailable", message, 503)
