"""The model endpoint's runtime. Satisfies `services.endpoint.Runtime`."""

from __future__ import annotations

from botocore.exceptions import ClientError

from services.adapters import aws
from services.endpoint import DEPENDENCY, NOT_SCORED
from services.errors import InvalidData, NotFound, Unavailable

JSON = "application/json"
# Statuses of the container that speak of its load, not of the rows.
_BUSY = {408, 429}


class SageMakerRuntime:
    """`SageMakerRuntime(region=settings.region)`; a caller with a deadline passes a shorter read_seconds."""

    def __init__(
        self,
        *,
        region: str,
        connect_seconds: float = aws.CONNECT_SECONDS,
        read_seconds: float = aws.READ_SECONDS,
        attempts: int = 2,
        connections: int = 20,
    ) -> None:
        self._client = aws.client(
            "sagemaker-runtime",
            region=region,
            connect_seconds=connect_seconds,
            read_seconds=read_seconds,
            attempts=attempts,
            connections=connections,
        )

    def invoke(self, endpoint: str, body: bytes) -> bytes:
        """The container's answer. InvalidData when the container itself said 4xx; everything else is Unavailable."""
        try:
            answer = self._client.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=JSON, Accept=JSON)
            with answer["Body"] as reply:  # closed also when it breaks off, or its connection would stay open
                return bytes(reply.read())
        except ClientError as error:
            if aws.code_of(error) == "ModelError":
                raise _model_error(error) from error
            known = aws.service_error(error, dependency=DEPENDENCY)
            if known is None:
                raise
            # A missing endpoint or a refused call is no fault of the record either: it must be tried again later.
            said = (
                f"no model is in service on {endpoint}; deploy one." if isinstance(known, NotFound) else known.message
            )
            raise Unavailable(f"{NOT_SCORED}: {said}", dependency=DEPENDENCY) from error
        except aws.UNREACHABLE as error:
            raise Unavailable(f"{NOT_SCORED}: it is not reachable.", dependency=DEPENDENCY) from error


def _model_error(error: ClientError) -> InvalidData | Unavailable:
    try:
        status = int(error.response.get("OriginalStatusCode", 500))
    except (TypeError, ValueError):
        status = 500
    if 400 <= status < 500 and status not in _BUSY:
        said = str(error.response.get("OriginalMessage") or aws.message_of(error))
        return InvalidData(f"The model refused these rows: {' '.join(said.split())[:300]}")
    return Unavailable(f"{NOT_SCORED}: it failed with status {status}.", dependency=DEPENDENCY)
